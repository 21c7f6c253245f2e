"""Effective spread, realised spread and price impact of trades against the mids around them.

What belongs here: the money-weighted sums of each bar. What does not: the join itself
(`arrival_join.py`), the averages (`market/features/spreads.py`, `delayed_spreads.py`) and the mids
of the one-second grid (`second_grid.py`).

Trades and quotes are joined by arrival, because only the recorder's clock is common to both: venues
stamp their trades and their books with different clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.bars.arrival_join import JOIN_AGE_US, ArrivalJoin
from tickhandler_dagster.market.bars.blocks import whole_bar_blocks
from tickhandler_dagster.market.bars.quotes import BoolArray, TopTicks
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

HORIZONS_US: Mapping[str, int] = MappingProxyType(
    {"1s": US_PER_SECOND, "5s": 5 * US_PER_SECOND, "30s": 30 * US_PER_SECOND}
)
"""How long after a trade its realised spread and impact are measured, by the columns' suffix."""

_BPS_TWICE = 2e4  # a spread is twice the distance from the mid


@dataclass(frozen=True, slots=True)
class ImpactDay:
    """What `TradeImpact` found.

    Attributes:
        spreads: What is known when the bar closes.
        delayed: What is known a horizon later, by the horizon's suffix (`HORIZONS_US`).
    """

    spreads: FamilyDay
    delayed: Mapping[str, FamilyDay]


class TradeImpact:
    """Money-weighted spreads and impacts of the bars of a day.

    `m⁻` is the last mid that arrived strictly before the trade, `m(t+h)` the last that arrived up
    to `h` after it; each must have arrived at most 5 s before the moment it stands for. One rule of
    age for both: a book that has been silent for longer at `t+h` may be an outage, and to take its
    last mid would report an outage as "no impact".

    Args:
        grid: The bars.
        is_sized: The contract's units are known; on a day without trades nothing else says so.
    """

    def __init__(self, grid: DayGrid, *, is_sized: bool = True) -> None:
        self._grid = grid
        self._is_sized = is_sized
        self._spreads = _Sums(grid, ("signed_notional", "mid_matched_notional", *_EFFECTIVE))
        self._delayed = {
            tag: _Sums(grid, tuple(f"{name}_{tag}" for name in _DELAYED)) for tag in HORIZONS_US
        }

    @staticmethod
    def needed_arrivals(ticks: TradeTicks) -> tuple[int, int]:
        """First and last arrival of the mids that these trades can ask for, both included.

        Raises:
            ValueError: there are no trades.
        """
        local = ticks.local_timestamp
        return int(local.min()) - JOIN_AGE_US, int(local.max()) + max(HORIZONS_US.values())

    def add(
        self,
        ticks: TradeTicks,
        sizes: Sizes | None,
        mids: TopTicks,
        *,
        known_until_us: int | None = None,
    ) -> None:
        """Take the trades of a slice.

        Args:
            ticks: Trades in total order.
            sizes: Their true sizes; None where the contract's units are unknown.
            mids: Normal states in order of arrival that cover `needed_arrivals`.
            known_until_us: First moment of arrival whose states are not known, as where the next
                day's file is not there; None where all are. A trade whose horizon ends there or
                later has no mid at its end, rather than the last one that happens to be known.
        """
        self._is_sized &= sizes is not None
        if sizes is None:
            return
        until = np.iinfo(np.int64).max if known_until_us is None else known_until_us
        for block in whole_bar_blocks(ticks.timestamp, self._grid.timeframe.us):
            trades = ticks.take(block)
            needed = _between(mids, *self.needed_arrivals(trades))
            self._add_block(trades, sizes.quote[block], needed, until)

    def _add_block(
        self, ticks: TradeTicks, quote: Float64Array, mids: TopTicks, known_until_us: int
    ) -> None:
        starts, opens = bar_starts(ticks.timestamp, self._grid.timeframe.us)
        runs = _Runs(starts, (opens - self._grid.start_us) // self._grid.timeframe.us)
        join = ArrivalJoin(ticks.local_timestamp, mids)
        mid, is_fresh = join.before()
        is_signed = ticks.side != 0
        has_mid = is_fresh & is_signed
        trades = _Matched(ticks, quote * has_mid, mid)
        signed = quote * is_signed
        self._spreads.put(runs, [signed, trades.notional, trades.effective], ticks.local_timestamp)
        for tag, horizon_us in HORIZONS_US.items():
            later, is_known = join.until(horizon_us)
            is_known &= ticks.local_timestamp < known_until_us - horizon_us
            self._delayed[tag].put(
                runs, trades.at_horizon(later, is_known), ticks.local_timestamp + horizon_us
            )

    def finish(self) -> ImpactDay:
        """The day's sums.

        Nulls: all sums where the contract's units are unknown.

        The arrival of a delayed sum is that of its trades plus the horizon: only then is it certain
        that no later mid replaces the one that was found.
        """
        return ImpactDay(
            self._spreads.day(is_known=self._is_sized),
            {tag: sums.day(is_known=self._is_sized) for tag, sums in self._delayed.items()},
        )


_EFFECTIVE = ("effective_spread_sum",)
_DELAYED = (
    "matched_notional",
    "matched_effective_spread_sum",
    "realized_spread_sum",
    "price_impact_sum",
)


def _between(mids: TopTicks, first_us: int, last_us: int) -> TopTicks:
    arrivals = mids.local_timestamp
    begin = int(np.searchsorted(arrivals, first_us))
    return mids.take(slice(begin, int(np.searchsorted(arrivals, last_us, side="right"))))


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Where each traded bar's trades begin, and which bar of the day it is."""

    starts: Int64Array
    bars: Int64Array


class _Matched:
    """Trades with their money, 0 for those without side or mid, and the mid before each."""

    def __init__(self, ticks: TradeTicks, notional: Float64Array, mid: Float64Array) -> None:
        self.notional = notional
        self._price, self._mid = ticks.price, mid
        self._weight = ticks.side * notional * _BPS_TWICE / mid
        self.effective = self._weight * (ticks.price - mid)

    def at_horizon(self, later: Float64Array, is_known: BoolArray) -> list[Float64Array]:
        """Money, effective spread, realised spread and impact of those with a mid at the end."""
        weight, notional, effective = self._weight, self.notional, self.effective
        if not is_known.all():
            weight, notional = weight * is_known, notional * is_known
            effective = effective * is_known
        return [notional, effective, weight * (self._price - later), weight * (later - self._mid)]


class _Sums:
    """Sums of the bars of a day and the latest arrival of their rows."""

    def __init__(self, grid: DayGrid, names: tuple[str, ...]) -> None:
        self._values = {name: np.zeros(grid.bars) for name in names}
        self._arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def put(self, runs: _Runs, rows: list[Float64Array], arrival: Int64Array) -> None:
        for values, row in zip(self._values.values(), rows, strict=True):
            values[runs.bars] = np.add.reduceat(row, runs.starts)
        self._arrival[runs.bars] = np.maximum.reduceat(arrival, runs.starts)

    def day(self, *, is_known: bool) -> FamilyDay:
        if is_known:
            return FamilyDay(self._values, self._arrival)
        unknown = {name: np.full_like(values, np.nan) for name, values in self._values.items()}
        return FamilyDay(unknown, self._arrival)
