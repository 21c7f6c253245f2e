"""The newest bars, so that a subscriber starts with history and resumes without a hole.

What belongs here: which publications are remembered. What does not: who gets them
(`broadcast.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.serving.bar_filter import BarFilter
from tickhandler_dagster.streaming.serving.live_bar import IDENTITY

DEFAULT_BARS = 240
REMEMBERED = (
    "status", "open", "high", "low", "close", "volume", "notional", "trade_count", "price_vwap",
    "trade_flow_imbalance", "spread_tw_bps", "queue_imbalance_tw", "mid_price", "mark_price",
    "gap_ms", "coverage", "rows_after_first", "published_at",
)  # fmt: skip
"""Columns that are remembered unless told otherwise.

All 329 of 200 instruments over 240 bars of seven timeframes would take 0.9 GB, these take 0.06 GB.
Whoever needs the others reads what the sinks have stored.
"""

SEQUENCE = "_sequence"
_MAX_FRAMES = 64


@dataclass(frozen=True, slots=True)
class Remembered:
    """Frames that were remembered at one moment; they do not change afterwards."""

    frames: tuple[pl.DataFrame, ...]
    bars: int

    def newest(self, wanted: BarFilter) -> pl.DataFrame:
        """One row per wanted bar, its highest revision, by instrument and `ts_open`."""
        if not self.frames:
            return pl.DataFrame()
        # Instruments before anything is sorted, since one of hundreds is the usual wish; stages
        # afterwards: a bar that was completed since is no longer provisional.
        rows = wanted.of_instruments(pl.concat(self.frames, how="diagonal"))
        return wanted.of_stages(_settled(rows, self.bars))


class BarMemory:
    """Bars of each timeframe that opened within the newest `bars` lengths of it.

    A limit in time rather than a count per instrument, since instruments that expire would stay
    for ever. It is not safe to use from several threads: `Broadcast` holds its lock around it.

    Args:
        bars: How many bars of each series are kept.
        columns: Which columns, beside those that identify a bar.
    """

    def __init__(self, bars: int = DEFAULT_BARS, columns: tuple[str, ...] = REMEMBERED) -> None:
        self._bars = bars
        self._columns = columns
        self._frames: dict[Timeframe, list[pl.DataFrame]] = {}

    def add(self, sequence: int, batch: BarBatch) -> None:
        """Remember a batch; the frame's columns are shared, not copied."""
        there = set(batch.bars.columns)
        names = [*IDENTITY, *(name for name in self._columns if name in there)]
        rows = batch.bars.select(*names, pl.lit(sequence, pl.Int64).alias(SEQUENCE))
        frames = self._frames.setdefault(batch.timeframe, [])
        frames.append(rows)
        if len(frames) > _MAX_FRAMES:
            frames[:] = [_settled(pl.concat(frames, how="diagonal"), self._bars)]

    def remembered(self, timeframe: Timeframe) -> Remembered:
        """What is known of a timeframe now."""
        return Remembered(tuple(self._frames.get(timeframe, ())), self._bars)


def _settled(rows: pl.DataFrame, bars: int) -> pl.DataFrame:
    length = (pl.col("ts_close") - pl.col("ts_open")).first()
    return (
        rows.filter(pl.col("ts_open") > pl.col("ts_open").max() - bars * length)
        .sort("instrument_key", "ts_open", "revision", SEQUENCE)
        .unique(["instrument_key", "ts_open"], keep="last", maintain_order=True)
    )
