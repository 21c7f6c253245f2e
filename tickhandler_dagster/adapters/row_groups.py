"""A raw tick file as row groups, with the times each of them holds.

What belongs here: opening a file, what its statistics say, reading one group. What does not: which
groups are read for a span of exchange time (`tick_slices.py`) or of arrival (`tick_arrivals.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.object_store import storage_error
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import CorruptData

_TIME = "timestamp"
_ARRIVAL = "local_timestamp"
_FEW_VALUES = ("side",)  # read as codes: half the time of reading texts
ANY_TIME = Span(-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group and the exchange times it holds.

    Attributes:
        number: Position in the file.
        rows: Number of rows.
        times: Half-open span of microseconds that holds all its exchange times.
        arrivals: The same of its times of arrival.
    """

    number: int
    rows: int
    times: Span
    arrivals: Span = ANY_TIME

    def meets(self, span: Span) -> bool:
        """It can hold rows of the span."""
        return self.times.start < span.end and span.start < self.times.end


class TickFile:
    """A raw tick file, read by row group.

    Args:
        path: The file.
        columns: What to read, `timestamp` among them.
        marks_start: Add the column `is_start`, true in the file's first row alone.

    Raises:
        CorruptData: not a readable Parquet file.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, marks_start: bool = False) -> None:
        self._path = path
        self._marks_start = marks_start
        self._columns = list(columns)
        with self._readable():
            self._file = pq.ParquetFile(
                path,
                pre_buffer=False,
                read_dictionary=[name for name in columns if name in _FEW_VALUES],
            )
        groups = (self._group(number) for number in range(self._file.num_row_groups))
        self.groups = tuple(group for group in groups if group.rows)

    def read(self, group: RowGroup) -> pl.DataFrame:
        """The row group's rows in file order.

        Raises:
            CorruptData: the bytes cannot be decoded.
        """
        with self._readable():
            table = self._file.read_row_group(
                group.number, columns=self._columns, use_threads=False
            )
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  (a table never becomes a series)
        return self._marked(frame, group) if self._marks_start else frame

    @staticmethod
    def _marked(frame: pl.DataFrame, group: RowGroup) -> pl.DataFrame:
        is_first = pl.int_range(pl.len()) == (0 if group.number == 0 else -1)
        return frame.with_columns(is_start=is_first)

    def _group(self, number: int) -> RowGroup:
        group = self._file.metadata.row_group(number)
        return RowGroup(
            number, group.num_rows, self._span(group, _TIME), self._span(group, _ARRIVAL)
        )

    def _span(self, group: pq.RowGroupMetaData, column: str) -> Span:
        index = self._file.schema_arrow.get_field_index(column)
        statistics = group.column(index).statistics
        if statistics is None or not statistics.has_min_max:
            return ANY_TIME
        first, last = cast("tuple[int, int]", (statistics.min_raw, statistics.max_raw))
        return Span(first, last + 1)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise storage_error(error, str(self._path)) from error
            # Arrow reports bytes it cannot decode as either, and then without a number
            raise CorruptData(
                str(self._path),
                "the raw tick file cannot be read",
                remedy="Materialize its raw_ticks partition again with force",
            ) from error
