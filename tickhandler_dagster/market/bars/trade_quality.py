"""What a day's trades say of the feed and of single trades: the dense part of their columns.

What belongs here: the family's day from its parts, and the counts that need no other part. What
does not: prices, volumes and times between trades (`base.py`), which are kept per traded bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.bars.exact import LateTrades
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.large_trades import LargeCarry, LargeTrades
from tickhandler_dagster.market.bars.quantiles import Quantile, QuantileDay
from tickhandler_dagster.market.bars.status import merged_spans
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.trade_delays import LeastDelays, TradeDelays
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_sequence import SequenceCarry, TradeSequence
from tickhandler_dagster.market.bars.trade_slice import DenseColumns, TradeSlice, trade_slice
from tickhandler_dagster.market.bars.trade_tally import TradeTally
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.features.family import DayGrid, FamilyDay
from tickhandler_dagster.market.timeframes import Timeframe

SIZE_QUANTILES: Mapping[str, Quantile] = MappingProxyType(
    {
        "size_p50": Quantile(0.50, 1),
        "size_p90": Quantile(0.90, 10),
        "size_p99": Quantile(0.99, 100),
    }
)


@dataclass(frozen=True, slots=True)
class QualityCarry:
    """What one window's trades say for the next.

    Attributes:
        least_delays_us: Of the last base bars.
        sequence: Of the last trades.
        large: What is large on this day.
    """

    least_delays_us: LeastDelays | None = None
    sequence: SequenceCarry | None = None
    large: LargeCarry | None = None


class TradeQuality:
    """Columns of the families `latency` and `trades` that are kept for every bar of the day.

    Args:
        grid: Bars of the day.
        has_known_units: Base quantities and quote values can be computed.
        has_exchange_clock: The venue gives exchange times; where it does not, nothing is known of
            delays.
        has_dense_ids: The venue numbers its trades one by one.
        memory: What is remembered of the days before; None for nothing.
        gaps: Outages the vendor reports, of the whole day. One that is there in the day's first
            moment began before the day, whether it is cut off there or not: it does not begin again
            at midnight.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self,
        grid: DayGrid,
        *,
        has_known_units: bool,
        has_exchange_clock: bool = True,
        has_dense_ids: bool = False,
        memory: TradeMemory | None = None,
        gaps: Sequence[Span] = (),
        carried: QualityCarry | None = None,
    ) -> None:
        self._grid = grid
        known = carried or QualityCarry()
        self._delays = TradeDelays(
            grid, has_exchange_clock=has_exchange_clock, carried=known.least_delays_us
        )
        self._sequence = TradeSequence(grid, has_dense_ids=has_dense_ids, carried=known.sequence)
        self._large = LargeTrades(
            grid, memory, has_known_units=has_known_units, carried=known.large
        )
        self._sizes = QuantileDay(grid, SIZE_QUANTILES)
        self._late = LateTrades(grid)
        self._tally = TradeTally.none(is_sized=has_known_units)
        self._events = DenseColumns(grid, sums=("duplicate_id_count", "disconnect_count"))
        starts = [span.start for span in merged_spans(gaps) if span.start > grid.day_start_us]
        if starts:
            self._count_events("disconnect_count", np.array(starts, dtype=np.int64))

    def prime(self, ticks: TradeTicks) -> None:
        """Take over the last trade before the day: the last of these, in total order."""
        self._sequence.prime(ticks)

    def add(self, ticks: TradeTicks, sizes: Sizes | None) -> None:
        """Take the trades of a span of whole bars that follows the spans before it.

        Args:
            ticks: In total order.
            sizes: Their true sizes; None where the contract's units are unknown.

        Raises:
            IndexError: a trade is not in the day.
        """
        if not len(ticks):
            return
        part = trade_slice(ticks, sizes, self._grid)
        self._delays.add(part)
        self._sequence.add(part)
        self._large.add(part)
        self._late.add(ticks)
        self._tally = TradeTally.total([self._tally, TradeTally.of(part)])
        if sizes is not None:
            self._sizes.add(ticks.timestamp, sizes.base)
        self._events.stands_on(part.bars, _latest(part))

    def add_duplicates(self, timestamp: Int64Array, local_timestamp: Int64Array) -> None:
        """Take the times of rows that were left out because an earlier row has their id.

        Args:
            timestamp: Exchange times, in any order; those outside the day do not count.
            local_timestamp: Their arrivals: the count is known when the repeat came.
        """
        bars = self._count_events("duplicate_id_count", timestamp)
        inside = bars >= 0
        np.maximum.at(self._events.last_arrival, bars[inside], local_timestamp[inside])

    def finish(self) -> FamilyDay:
        """The columns of the day."""
        parts = (self._delays.finish(), self._sequence.finish(), self._large.finish(), self._events)
        last_arrival = self._events.last_arrival
        for part in parts:
            last_arrival = np.maximum(last_arrival, part.last_arrival)
        return FamilyDay(
            statistics={name: column for part in parts for name, column in part.columns.items()},
            last_arrival=last_arrival,
            exact=self._exact(),
        )

    def carry(self) -> QualityCarry:
        """What the next window takes over."""
        return QualityCarry(self._delays.carry(), self._sequence.carry(), self._large.carry())

    def tally(self) -> TradeTally:
        """What these trades add to the memory of their day; call after the last slice."""
        return self._tally

    def _exact(self) -> Mapping[Timeframe, Mapping[str, Float64Array]]:
        delays, sizes = self._delays.quantiles(), self._sizes.finish()
        return {
            timeframe: {**delays[timeframe], **sizes[timeframe], "late_count": late}
            for timeframe, late in self._late.finish().items()
        }

    def _count_events(self, name: str, moments: Int64Array) -> Int64Array:
        """Count what happened at these moments; gives each one's bar, -1 outside the day."""
        grid = self._grid
        is_inside = (moments >= grid.start_us) & (moments < grid.end_us)
        bars = np.where(is_inside, (moments - grid.start_us) // grid.timeframe.us, -1)
        self._events.columns[name] += np.bincount(bars[is_inside], minlength=grid.bars)
        return bars


def _latest(part: TradeSlice) -> Int64Array:
    return np.asarray(np.maximum.reduceat(part.ticks.local_timestamp, part.starts))
