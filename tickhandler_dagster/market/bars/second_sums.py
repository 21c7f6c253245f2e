"""Sums over chosen seconds of each bar.

What does not belong here: which seconds, and what of them (`realised.py`, `impact_regression.py`).
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.bars.quotes import BoolArray
from tickhandler_dagster.market.bars.segments import run_lengths, run_starts
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.family import DayGrid


class SecondSums:
    """The chosen seconds of a day, by bar.

    Most instruments are quiet, and sums over the few seconds they have cost nothing; sums over all
    seconds of a day, most of them empty, cost more than everything else done for such a day.

    Args:
        is_chosen: For each second of the day whether it takes part. Shape: (86,400,).
        grid: The bars.

    Attributes:
        seconds: The chosen seconds, rising.
    """

    def __init__(self, is_chosen: BoolArray, grid: DayGrid) -> None:
        self.seconds = np.flatnonzero(is_chosen)
        bars = self.seconds // (grid.timeframe.us // US_PER_SECOND)
        self._starts = run_starts(bars)
        self._bars = bars[self._starts]
        self._size = grid.bars

    def count(self) -> Float64Array:
        """Chosen seconds of each bar. Shape: (bars,)."""
        return self._dense(run_lengths(self._starts, len(self.seconds)).astype(np.float64))

    def sum(self, values: Float64Array) -> Float64Array:
        """Sum over each bar of the values, one per chosen second. Shape: (bars,)."""
        if not len(values):
            return np.zeros(self._size)
        return self._dense(np.add.reduceat(values, self._starts))

    def _dense(self, values: Float64Array) -> Float64Array:
        sums = np.zeros(self._size)
        sums[self._bars] = values
        return sums
