"""Volume of large trades, and the memory of trade sizes that says what is large.

What belongs here: the columns and the building of today's part of the memory. What does not: the
memory's form and its quantile (`trade_memory.py`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tickhandler_dagster.market.bars.segments import run_lengths
from tickhandler_dagster.market.bars.trade_memory import TradeDay, TradeMemory, bucket_counts
from tickhandler_dagster.market.bars.trade_slice import DenseColumns, TradeSlice
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid


class LargeTrades:
    """Trades above the threshold that the days before set.

    Args:
        grid: Bars of the day.
        memory: What is remembered of the days before; None for nothing.
        has_known_units: Base quantities and quote values can be computed.
    """

    def __init__(self, grid: DayGrid, memory: TradeMemory | None, *, has_known_units: bool) -> None:
        self._grid = grid
        self._is_sized = has_known_units
        self._memory = (TradeMemory() if memory is None else memory).before(grid.start_us)
        self._threshold = self._memory.large_trade_threshold() if has_known_units else None
        is_known = self._threshold is not None
        large = ("large_trade_volume_sum",)
        self._dense = DenseColumns(
            grid,
            sums=large if is_known else (),
            values=("large_trade_threshold", *(() if is_known else large)),
        )
        self._totals = DenseColumns(grid, sums=("trades", "volume", "notional"))
        self._buckets: Counter[int] = Counter()

    def add(self, part: TradeSlice) -> None:
        """Take the trades of a slice."""
        starts = part.starts
        self._totals.put(part.bars, trades=run_lengths(starts, len(part.ticks)))
        self._totals.stands_on(part.bars, np.maximum.reduceat(part.ticks.local_timestamp, starts))
        if part.sizes is None:
            return
        base, quote = part.sizes.base, part.sizes.quote
        self._totals.put(
            part.bars,
            volume=np.add.reduceat(base, starts),
            notional=np.add.reduceat(quote, starts),
        )
        self._buckets.update(bucket_counts(quote))
        if self._threshold is not None:
            large = base * (quote >= self._threshold)
            self._dense.put(part.bars, large_trade_volume_sum=np.add.reduceat(large, starts))

    def finish(self) -> DenseColumns:
        """The columns, for all bars of the day."""
        if self._threshold is not None:
            self._dense.columns["large_trade_threshold"].fill(self._threshold)
            arrival = self._memory.last_arrival()
            self._dense.last_arrival.fill(NO_ARRIVAL if arrival is None else arrival)
        return self._dense

    def memory(self) -> TradeMemory:
        """The memory of the day after this one."""
        columns, last = self._totals.columns, int(self._totals.last_arrival.max())
        today = TradeDay(
            start_us=self._grid.start_us,
            trades=int(columns["trades"].sum()),
            volume=float(columns["volume"].sum()) if self._is_sized else None,
            notional=float(columns["notional"].sum()) if self._is_sized else None,
            buckets=tuple(sorted(self._buckets.items())),
            last_arrival_us=None if last == NO_ARRIVAL else last,
        )
        return self._memory.with_day(today)
