"""One instrument's bars: raw files go through the kernel in slices, every row accounted for.

What belongs here: reading and building. What does not: what is read (`candle_inputs.py`) and what
becomes of the bars (`candle_files.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.tick_slices import TickFile, last_trade_before, read_slices
from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.ticks import TICK_COLUMNS, concatenated, trade_ticks
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RawTickFile
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay


@dataclass(frozen=True, slots=True)
class BuiltDay:
    """An instrument's bars and where their trades came from.

    Attributes:
        frames: Bars by timeframe, of `CANDLE_TABLE`.
        previous_rows: Rows used of the file of the day before.
        own_rows: Rows used of the day's file.
        next_rows: Rows used of the file of the day after.
    """

    frames: Mapping[Timeframe, pl.DataFrame]
    previous_rows: int
    own_rows: int
    next_rows: int

    @property
    def rows(self) -> int:
        """Rows used of all files."""
        return self.previous_rows + self.own_rows + self.next_rows


def build_instrument(
    inputs: InstrumentDay, *, lake: Lake, timeframes: Sequence[Timeframe]
) -> BuiltDay:
    """The bars of an instrument's day.

    Raises:
        CorruptData: a raw file cannot be read, or rows and manifest or rows and bars do not add up.
        MissingUpstream: a raw file that a manifest names is not in the lake.
    """
    has_dense_ids = VENUES[inputs.facts.venue].has_dense_trade_ids
    columns = [name for name in TICK_COLUMNS if has_dense_ids or name != "id"]
    files = [TickFile(_uri(lake, row), columns) for row in inputs.files]
    day = inputs.facts.day
    earlier = [
        file
        for file, row in zip(files, inputs.files, strict=True)
        if row in (inputs.previous, inputs.own)
    ]
    facts = dataclasses.replace(inputs.facts, previous=last_trade_before(earlier, day.start))
    bars = DayBars(facts, capacity=sum(_expected(inputs).values()))
    used = [0] * len(files)
    for parts in read_slices(files, day, step_us=BASE_TIMEFRAME.us):
        used = [total + part.height for total, part in zip(used, parts, strict=True)]
        ticks = [trade_ticks(part, has_dense_ids=has_dense_ids) for part in parts if part.height]
        if ticks:
            bars.add(concatenated(ticks))
    by_date = dict(zip((row.date for row in inputs.files), used, strict=True))
    frames = bars.finish(timeframes)
    _check_conservation(inputs, by_date, frames)
    return BuiltDay(
        frames,
        previous_rows=_rows_of(inputs.previous, by_date),
        own_rows=_rows_of(inputs.own, by_date),
        next_rows=_rows_of(inputs.following, by_date),
    )


def _uri(lake: Lake, row: ManifestRow) -> str:
    item = RawTickFile(row.date, DataType.TRADES, row.instrument_key)
    if not lake.exists(item):
        cell = f"{row.date}|{row.venue}"
        raise MissingUpstream(
            item.path,
            "named by the manifest and not in the lake",
            remedy=f"Run: {materialize('raw_ticks/trades', cell)}",
        )
    return lake.store.uri(item.path)


def _expected(inputs: InstrumentDay) -> dict[dt.date, int]:
    """Rows of the day in each file, by the manifests."""
    expected = {}
    for row in inputs.files:
        if row is inputs.own:
            expected[row.date] = row.rows - row.rows_before_day - row.rows_after_day
        else:
            expected[row.date] = (
                row.rows_after_day if row is inputs.previous else row.rows_before_day
            )
    return expected


def _rows_of(row: ManifestRow | None, by_date: Mapping[dt.date, int]) -> int:
    return 0 if row is None else by_date[row.date]


def _check_conservation(
    inputs: InstrumentDay, used: Mapping[dt.date, int], frames: Mapping[Timeframe, pl.DataFrame]
) -> None:
    """Every row of the day was read, and every row read is in one bar of each timeframe."""
    key = inputs.facts.instrument_key
    for date, expected in _expected(inputs).items():
        if used[date] != expected:
            raise CorruptData(
                f"{key}: trades file of {date}",
                "rows of the day and the manifest do not add up",
                was=used[date],
                expected=str(expected),
                remedy=f"Materialize raw_ticks/trades of {date} again with force",
            )
    for timeframe, bars in frames.items():
        counted = int(bars["trade_count"].sum())
        if counted != sum(used.values()):
            raise CorruptData(
                f"{key}: bars of {timeframe}",
                "trades in bars and rows read do not add up",
                was=counted,
                expected=str(sum(used.values())),
                remedy="Report it: the bar kernel lost or repeated a trade",
            )
