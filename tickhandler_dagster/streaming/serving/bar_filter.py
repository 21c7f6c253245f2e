"""Which bars, and which columns of them, a subscriber wants.

What belongs here: the filter as a value, applied to frames. What does not: reading one from a
request (`requested.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.serving.live_bar import IDENTITY

EVERY_TIMEFRAME = frozenset(Timeframe)
EVERY_STAGE = frozenset(LiveStage)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFilter:
    """What a subscriber wants; the default is everything.

    Attributes:
        instruments: Canonical keys; `*`, `?` and `[...]` stand for any text, letter or one of.
        timeframes: Lengths of bars.
        columns: Beside those of `IDENTITY`; None is all there are.
        stages: Publications.

    Example:
        >>> perpetuals = BarFilter(instruments=("*:PERPETUAL:BTC-*",), columns=("close",))
        >>> perpetuals.wants("DERIBIT:PERPETUAL:BTC-USD"), perpetuals.wants("X:FUTURE:BTC-USD")
        (True, False)
    """

    instruments: tuple[str, ...] = ("*",)
    timeframes: frozenset[Timeframe] = EVERY_TIMEFRAME
    columns: tuple[str, ...] | None = None
    stages: frozenset[LiveStage] = EVERY_STAGE

    def wants(self, instrument_key: str) -> bool:
        """A pattern fits the key; letters count as they are written."""
        return any(fnmatchcase(instrument_key, pattern) for pattern in self.instruments)

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that are wanted, with all columns; timeframes are looked at by the caller."""
        return self.of_stages(self.of_instruments(frame))

    def of_instruments(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of instruments that are wanted."""
        if self.instruments != ("*",):
            keys = frame["instrument_key"].unique()
            wanted = keys.filter([self.wants(key) for key in keys])
            if wanted.len() < keys.len():
                return frame.filter(pl.col("instrument_key").is_in(wanted.implode()))
        return frame

    def of_stages(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of publications that are wanted."""
        if self.stages == EVERY_STAGE:
            return frame
        return frame.filter(pl.col("stage").is_in(sorted(self.stages)))

    def pick(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows and columns that are wanted; a column that is not there is left out."""
        return self.rows(frame.select(self.present(frame)))

    def present(self, frame: pl.DataFrame) -> list[str]:
        """The columns that are wanted and there, those of `IDENTITY` first."""
        wanted = frame.columns if self.columns is None else self.columns
        there = set(frame.columns)
        return [*IDENTITY, *(name for name in wanted if name in there and name not in IDENTITY)]
