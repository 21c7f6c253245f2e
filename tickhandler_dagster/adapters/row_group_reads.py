"""Reading the row groups of a tick file that can hold rows of some spans, and no others.

What belongs here: which row groups, and their columns. What does not: which files and spans
(`client/ticks.py`). A file's rows are in order of arrival, so that its statistics bound either
clock closely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.counted_file import CountedFile
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import CorruptData


@dataclass(frozen=True, slots=True)
class NeededGroups:
    """What of a file is read.

    Attributes:
        groups: Numbers of row groups.
        skipped: Row groups that are not needed.
        rows: Rows in the groups.
        bytes: Compressed bytes of the columns in them.
    """

    groups: tuple[int, ...]
    skipped: int
    rows: int
    bytes: int


class RowGroupFile:
    """A Parquet file of which row groups are read by time.

    Args:
        file: The bytes.
        path: Its name in the lake.
        clock: The column of times that spans are of.

    Raises:
        CorruptData: not a readable Parquet file.
    """

    def __init__(self, file: CountedFile, path: str, clock: str) -> None:
        self._path = path
        self._clock = clock
        try:
            self._file = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise self._broken() from error
        self.names: list[str] = list(self._file.schema_arrow.names)

    def needed(self, spans: Sequence[Span], columns: Sequence[str]) -> NeededGroups:
        """The row groups that can hold rows of any of the spans, by their statistics."""
        place = self.names.index(self._clock)
        wanted = {*columns, self._clock}
        numbers, rows, size = [], 0, 0
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            if not group.num_rows or not _meets(group.column(place), spans):
                continue
            numbers.append(number)
            rows += group.num_rows
            size += sum(
                column.total_compressed_size
                for column in map(group.column, range(group.num_columns))
                if column.path_in_schema.partition(".")[0] in wanted
            )
        skipped = self._file.num_row_groups - len(numbers)
        return NeededGroups(tuple(numbers), skipped, rows, size)

    def parts(self) -> list[tuple[int, int, int, int]]:
        """Of each row group its first and last moment, its first byte and the first after it."""
        place, found = self.names.index(self._clock), []
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            columns = [group.column(one) for one in range(group.num_columns)]
            times = columns[place].statistics
            if not group.num_rows or times is None:
                continue
            starts = [
                column.dictionary_page_offset or column.data_page_offset for column in columns
            ]
            ends = [
                start + column.total_compressed_size
                for start, column in zip(starts, columns, strict=True)
            ]
            first, last = cast("tuple[int, int]", (times.min_raw, times.max_raw))
            found.append((first, last, min(starts), max(ends)))
        return found

    def read(self, spans: Sequence[Span], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of the spans in file order, one frame for each row group.

        Raises:
            CorruptData: bytes that cannot be decoded.
        """
        for number in self.needed(spans, columns).groups:
            try:
                table = self._file.read_row_group(number, columns=[*columns, *self._extra(columns)])
            except (pa.ArrowException, OSError) as error:
                raise self._broken() from error
            frame = cast("pl.DataFrame", pl.from_arrow(table))
            yield frame.filter(_in_spans(self._clock, spans)).select(columns)

    def _extra(self, columns: Sequence[str]) -> list[str]:
        return [] if self._clock in columns else [self._clock]

    def _broken(self) -> CorruptData:
        return CorruptData(
            self._path,
            "the raw tick file cannot be read",
            remedy="Materialize its raw_ticks partition again with force",
        )


def _meets(column: pq.ColumnChunkMetaData, spans: Sequence[Span]) -> bool:
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return True
    first, last = cast("tuple[int, int]", (statistics.min_raw, statistics.max_raw))
    return any(first < span.end and span.start <= last for span in spans)


def _in_spans(clock: str, spans: Sequence[Span]) -> pl.Expr:
    time = pl.col(clock).to_physical()
    return pl.any_horizontal([(time >= span.start) & (time < span.end) for span in spans])
