"""Reading the raw files of one channel around a day: slices of the day, and what lay before it.

What belongs here: opening files and choosing columns. What does not: which files there are
(`candle_channels.py`), and what the rows become (`market/bars`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.adapters.tick_arrivals import ArrivalReader, arrival_slices, rows_before
from tickhandler_dagster.adapters.tick_slices import latest_rows_before, read_slices
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.quotes import TOP_COLUMNS
from tickhandler_dagster.market.bars.ticks import TICK_COLUMNS
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RawTickFile
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME

SNAPSHOT_DEPTHS = {DataType.BOOK_SNAPSHOT_5: 5, DataType.BOOK_SNAPSHOT_25: 25}

# Cells a slice aims at: memory follows cells, not rows.
_SLICE_CELLS = 3_000_000


@dataclass(frozen=True, slots=True)
class ChannelReader:
    """The files of one channel around a day, in the order of arrival.

    Attributes:
        files: The opened files.
        rows: Their manifest rows.
        columns: What is read of them.
    """

    files: Sequence[TickFile]
    rows: Sequence[ManifestRow]
    columns: tuple[str, ...]

    def slices(self, day: Span) -> Iterator[Sequence[pl.DataFrame]]:
        """The day's rows by exchange time: per slice one frame for each file, in arrival order."""
        slice_rows = max(_SLICE_CELLS // len(self.columns), 1)
        return read_slices(self.files, day, step_us=BASE_TIMEFRAME.us, slice_rows=slice_rows)

    def by_arrival(self, day: Span) -> Iterator[pl.DataFrame]:
        """The rows that arrived in the day, in order, cut at multiples of the smallest bar."""
        return arrival_slices(self.files, day, step_us=BASE_TIMEFRAME.us)

    def before(self, moment_us: int, *, reach_us: int) -> pl.DataFrame | None:
        """Rows stamped within `reach_us` before the moment, else the latest before; arrival order.

        Nulls: None where the files have no earlier row.
        """
        span = Span(moment_us - reach_us, moment_us)
        recent = [
            part
            for parts in read_slices(self.files, span, step_us=max(reach_us, 1))
            for part in parts
            if part.height
        ]
        return pl.concat(recent) if recent else latest_rows_before(self.files, moment_us)

    def arrived_before(self, moment_us: int, *, reach_us: int) -> pl.DataFrame | None:
        """Rows that arrived within `reach_us` before the moment, in order; None where none did."""
        return rows_before(self.files, moment_us, reach_us=reach_us)

    def arrivals_from(self, moment_us: int) -> ArrivalReader:
        """A reader of row groups in order of arrival, from the one that holds the moment on."""
        return ArrivalReader(self.files, moment_us)


def open_channel(
    lake: Lake, rows: Sequence[ManifestRow], columns: Sequence[str], *, marks_start: bool = False
) -> ChannelReader:
    """The reader of the files that manifest rows of one data type name.

    Raises:
        MissingUpstream: a file that a manifest names is not in the lake.
        CorruptData: a file is not readable.
    """
    files = [TickFile(stored_ticks(lake, row), columns, marks_start=marks_start) for row in rows]
    return ChannelReader(files, rows, tuple(columns))


def trade_columns(*, has_dense_ids: bool) -> list[str]:
    """What bars read of trades; texts of ids only where they order trades."""
    return [name for name in TICK_COLUMNS if has_dense_ids or name != "id"]


def top_columns(data_type: DataType) -> tuple[str, ...]:
    """The columns of the best quotes, under the names they have in files of that type."""
    if data_type in SNAPSHOT_DEPTHS:
        prices = (f"{side}_{field}_1" for field in ("price", "volume") for side in ("bid", "ask"))
        return ("timestamp", "local_timestamp", *prices)
    return TOP_COLUMNS


def as_top(frame: pl.DataFrame, data_type: DataType) -> pl.DataFrame:
    """The best quotes under their own names."""
    names = dict(zip(top_columns(data_type), TOP_COLUMNS, strict=True))
    return frame.rename({old: new for old, new in names.items() if old in frame.columns})


def stored_ticks(lake: Lake, row: ManifestRow) -> Path:
    """The file of the raw ticks that a manifest row names.

    Raises:
        MissingUpstream: it is not in the lake.
    """
    item = RawTickFile(row.date, row.data_type, row.instrument_key)
    local = lake.local(item)
    if local is None:
        cell = f"{row.date}|{row.venue}"
        raise MissingUpstream(
            item.path,
            "named by the manifest and not in the lake",
            remedy=f"Run: {materialize(f'raw_ticks/{row.data_type}', cell)}",
        )
    return local
