"""Windows that have a bar, and these bars as rows.

What belongs here: which of the windows of a moment have a bar, and one frame of all of them. What
does not: when they are made (`preparation.py`, `rounds.py`) and what a publication adds
(`live_rows.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.bars.frame import candle_frames_of_many
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME
from tickhandler_dagster.streaming.live_rows import digests
from tickhandler_dagster.streaming.windows import Built


@dataclass(frozen=True, slots=True)
class BarRows:
    """The windows that have a bar, and these bars: one row each.

    Attributes:
        built: The windows.
        bars: Their rows of `CANDLE_TABLE`.
        digests: The content of each row as a number.
    """

    built: Sequence[Built]
    bars: pl.DataFrame
    digests: Sequence[int]

    @classmethod
    def of(cls, built: Sequence[Built]) -> BarRows:
        """The rows of all windows, in one frame: its columns have a price, whatever they hold."""
        with_bar = [one for one in built if one.has_bar]
        frames = candle_frames_of_many([(one.facts, one.parts) for one in with_bar])
        bars = frames.get(BASE_TIMEFRAME, pl.DataFrame())
        return cls(with_bar, bars, digests(bars) if with_bar else [])

    def only(self, numbers: Sequence[int]) -> BarRows:
        """Some of the rows, in the order of their numbers."""
        if len(numbers) == len(self.built):
            return self
        if not numbers:
            return BarRows([], self.bars.clear(), [])
        return BarRows(
            [self.built[number] for number in numbers],
            self.bars[numbers],
            [self.digests[number] for number in numbers],
        )
