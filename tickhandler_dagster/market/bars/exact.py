"""Late trades: rows that came when their bar was already taken to be known.

What belongs here: the watermark and the counts, which do not merge, since a trade that is late for
its 15 s bar can be in time for its hour. What does not: quantiles, which do not merge either
(`quantiles.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array, TradeTicks
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import Timeframe

WATERMARK_US = 200_000
"""How long after its end, or its last arrival, a bar is taken to be known."""


class LateTrades:
    """Counts, per bar of every timeframe, trades that came after its end plus watermark.

    Args:
        grid: The day; the length of its bars does not matter.
    """

    def __init__(self, grid: DayGrid) -> None:
        self._start_us = grid.start_us
        self._counts = {
            timeframe: np.zeros(grid.bars_of(timeframe)) for timeframe in grid.timeframes
        }

    def add(self, ticks: TradeTicks) -> None:
        """Take trades of the day, in any order."""
        # a bar ends after its trades, so a trade that took no longer than the watermark is in time
        suspects = np.flatnonzero(ticks.local_timestamp - ticks.timestamp > WATERMARK_US)
        since_us = ticks.timestamp[suspects] - self._start_us
        arrived_us = ticks.local_timestamp[suspects] - self._start_us
        # a larger bar ends after those in it: what is in time for one is in time for all larger
        for timeframe, known in self._counts.items():
            if not len(since_us):
                return
            bars = since_us // timeframe.us
            is_late = arrived_us > (bars + 1) * timeframe.us + WATERMARK_US
            since_us, arrived_us = since_us[is_late], arrived_us[is_late]
            self._counts[timeframe] = known + np.bincount(bars[is_late], minlength=len(known))

    def finish(self) -> Mapping[Timeframe, Float64Array]:
        """The counts of every timeframe that fills the day or window.

        Shape: one element per bar of the day.
        """
        return self._counts
