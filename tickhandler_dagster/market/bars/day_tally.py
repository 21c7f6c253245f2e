"""What a window adds to the memory of its day: tallies of windows add up to that of the day.

What belongs here: the families' parts put together, their sum, and the memory that follows from a
whole day's. What does not: what each part means (`trade_tally.py`, `flow_tally.py`,
`micro_price_fit.py`) and what goes from window to window (`carry.py`).

Everything in it is a whole number, an exact sum or a row of a minute: the sum is the same to the
last bit wherever a day is cut. So a session that sees a day as 5,760 windows remembers what a batch
remembers that sees it at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.flow_loading import OrderFlowMemory, fitted_loading
from tickhandler_dagster.market.bars.flow_tally import FlowTally
from tickhandler_dagster.market.bars.micro_price_fit import MicroPriceMemory, Moves, fitted_table
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_tally import TradeTally
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTally:
    """What a day, or a window of one, adds to what is remembered of the day.

    Attributes:
        start_us: First moment of the span, microseconds since the epoch.
        end_us: First moment after it.
        trades: Of the trades; None where the day's trades were not ingested.
        moves: Of the best quotes (`Moves.counts`); None where the instrument has none.
        flows: Of book snapshots; None where it has none, or units are unknown.
        is_seen: Whoever looked had begun before the span, and gave up no row of it.
    """

    start_us: int
    end_us: int
    trades: TradeTally | None
    moves: Counts | None
    flows: FlowTally | None
    is_seen: bool = True

    @property
    def is_whole_day(self) -> bool:
        """It is a day's, and not a part's."""
        return self.start_us % US_PER_DAY == 0 and self.end_us == self.start_us + US_PER_DAY

    def __add__(self, other: DayTally) -> DayTally:
        return self.total([self, other])

    @classmethod
    def total(cls, parts: Sequence[DayTally]) -> DayTally:
        """The sum of windows of one day that follow each other; at least one.

        Raises:
            InvalidInput: they do not follow each other.
        """
        for one, following in pairwise(parts):
            if one.end_us != following.start_us:
                raise InvalidInput(
                    "tallies of windows",
                    "not of windows that follow each other",
                    was=f"{following.start_us} after {one.end_us} µs",
                    remedy="Add the tallies of a day's windows in order",
                )
        start_us, end_us = parts[0].start_us, parts[-1].end_us
        trades = [one.trades for one in parts if one.trades is not None]
        moves = [one.moves for one in parts if one.moves is not None]
        flows = [one.flows for one in parts if one.flows is not None]
        return cls(
            start_us=start_us,
            end_us=end_us,
            trades=TradeTally.total(trades) if trades else None,
            moves=Counts.total(moves) if moves else None,
            flows=FlowTally.total(flows, start_us, end_us) if flows else None,
            is_seen=all(one.is_seen for one in parts),
        )


def memory_of(tally: DayTally, before: DayMemory | None, carry: Carry) -> DayMemory:
    """What the day after a day remembers.

    Args:
        tally: Of the whole day.
        before: What the day itself remembered; None for nothing.
        carry: The state at its end.

    Raises:
        InvalidInput: the tally is that of a window.
    """
    if not tally.is_whole_day:
        raise InvalidInput(
            "memory of a day",
            "a window leaves no memory to the next day",
            was=f"[{tally.start_us}, {tally.end_us}) µs",
            remedy="Add the tallies of all windows of the day",
        )
    known = before or DayMemory()
    return DayMemory(
        trades=_trades(tally, known.trades),
        flow_toxicity=carry.trades.toxicity,
        micro_price=_micro_price(tally) or known.micro_price,
        order_flow=_order_flow(tally) or known.order_flow,
        ticker=known.ticker if carry.ticker is None else carry.ticker.funding,
    )


def memory_over(day_start_us: int, before: DayMemory | None) -> DayMemory | None:
    """What the day after a day remembers that was not ingested, or not seen whole.

    Args:
        day_start_us: First moment of the day.
        before: What the day itself would have remembered.

    Nulls: None where nothing is known of the days before either.
    """
    if before is None:
        return None
    return dataclasses.replace(before, trades=_trades_over(day_start_us, before.trades))


def _trades(tally: DayTally, known: TradeMemory | None) -> TradeMemory | None:
    """The memory with the day, which has no place in it where its trades were not ingested."""
    if tally.trades is None:
        return _trades_over(tally.start_us, known)
    return (known or TradeMemory()).with_day(tally.trades.day(tally.start_us))


def _trades_over(day_start_us: int, known: TradeMemory | None) -> TradeMemory | None:
    return None if known is None else known.before(day_start_us + US_PER_DAY)


def _micro_price(tally: DayTally) -> MicroPriceMemory | None:
    """The day's fit; None where it has no quotes, or too few moves."""
    return None if tally.moves is None else fitted_table(Moves.of(tally.moves), tally.start_us)


def _order_flow(tally: DayTally) -> OrderFlowMemory | None:
    """The day's fit; None where it has no snapshots, or is too thin."""
    return None if tally.flows is None else fitted_loading(tally.flows.whole, tally.start_us)
