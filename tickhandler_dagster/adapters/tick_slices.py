"""Slices of exchange time out of raw tick files, whose rows are in order of arrival.

What belongs here: which row groups a slice needs, and reading each about once. What does not: what
the rows become (`market/bars`).

Sorting a whole day would need the day in memory; a row group's statistics say which exchange times
it holds, so a slice reads the row groups that meet it and keeps the rows that lie in it. However
rows are out of order, every row comes in the slice of its exchange time; disorder costs repeated
reading and never a row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.object_store import storage_error
from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import CorruptData

SLICE_ROWS = 524_288
"""Rows a slice aims at: about 30 MB of columns, of which the kernel needs a few times as much."""

_TIME = "timestamp"
_ARRIVAL = "local_timestamp"
_KEPT_ROWS = 262_144
_FEW_VALUES = ("side",)  # read as codes: half the time of reading texts
_ANY_TIME = Span(-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group and the exchange times it holds.

    Attributes:
        number: Position in the file.
        rows: Number of rows.
        times: Half-open span of microseconds that holds all its exchange times.
    """

    number: int
    rows: int
    times: Span

    def meets(self, span: Span) -> bool:
        """It can hold rows of the span."""
        return self.times.start < span.end and span.start < self.times.end


class TickFile:
    """A raw tick file, read by row group.

    Args:
        uri: Address under which the object store gives it.
        columns: What to read, `timestamp` among them.

    Raises:
        CorruptData: not a readable Parquet file.
    """

    def __init__(self, uri: str, columns: Sequence[str]) -> None:
        self._uri = uri
        self._columns = list(columns)
        with self._readable():
            filesystem, path = pafs.FileSystem.from_uri(uri)
            self._file = pq.ParquetFile(
                path,
                filesystem=filesystem,
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
        return frame

    def _group(self, number: int) -> RowGroup:
        group = self._file.metadata.row_group(number)
        index = self._file.schema_arrow.get_field_index(_TIME)
        statistics = group.column(index).statistics
        if statistics is None or not statistics.has_min_max:
            return RowGroup(number, group.num_rows, _ANY_TIME)
        first, last = cast("tuple[int, int]", (statistics.min_raw, statistics.max_raw))
        return RowGroup(number, group.num_rows, Span(first, last + 1))

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise storage_error(error, self._uri) from error
            # Arrow reports bytes it cannot decode as either, and then without a number
            raise CorruptData(
                self._uri,
                "the raw tick file cannot be read",
                remedy="Materialize its raw_ticks partition again with force",
            ) from error


@dataclass(slots=True)
class _Reader:
    """Reads row groups of one file, keeping what the next slice will want where that is little."""

    file: TickFile
    kept: dict[int, pl.DataFrame]

    def rows(self, span: Span) -> pl.DataFrame | None:
        found = [self._rows(group, span) for group in self.file.groups if group.meets(span)]
        return pl.concat(found) if found else None

    def _rows(self, group: RowGroup, span: Span) -> pl.DataFrame:
        kept = self.kept.pop(group.number, None)
        frame = self.file.read(group) if kept is None else kept
        if span.start <= group.times.start and group.times.end <= span.end:
            return frame
        time = pl.col(_TIME).to_physical()
        later = frame.filter(time >= span.end)
        if later.height <= _KEPT_ROWS - sum(other.height for other in self.kept.values()):
            self.kept[group.number] = later
        return frame.filter((time >= span.start) & (time < span.end))


def read_slices(
    files: Sequence[TickFile], span: Span, *, step_us: int, slice_rows: int = SLICE_ROWS
) -> Iterator[list[pl.DataFrame]]:
    """The rows of the span in slices of ascending exchange time.

    Args:
        files: In the order of arrival.
        span: Exchange times wanted; a multiple of `step_us` long.
        step_us: Slices begin and end on multiples of this.
        slice_rows: Rows a slice aims at; more where one step holds more.

    Shape: per slice one frame for each file, in the order of `files`, rows in file order.
    """
    readers = [_Reader(file, {}) for file in files]
    groups = [group for file in files for group in file.groups]
    for part in plan_slices(groups, span, step_us=step_us, slice_rows=slice_rows):
        found = [reader.rows(part) for reader in readers]
        yield [pl.DataFrame() if rows is None else rows for rows in found]


def plan_slices(
    groups: Sequence[RowGroup], span: Span, *, step_us: int, slice_rows: int
) -> list[Span]:
    """Consecutive spans that cover the part of `span` in which the groups can have rows.

    Example:
        >>> groups = [RowGroup(0, 60, Span(0, 11)), RowGroup(1, 60, Span(12, 20))]
        >>> plan_slices(groups, Span(0, 30), step_us=5, slice_rows=100)
        [Span(start=0, end=10), Span(start=10, end=30)]
    """
    met = sorted(
        (group for group in groups if group.meets(span)), key=lambda group: group.times.start
    )
    if not met:
        return []
    edges = [span.start]
    rows = 0
    for group in met:
        cut = group.times.start // step_us * step_us
        if rows + group.rows > slice_rows and cut > edges[-1]:
            edges.append(cut)
            rows = 0
        rows += group.rows
    return [Span(start, end) for start, end in zip(edges, [*edges[1:], span.end], strict=True)]


def last_trade_before(files: Sequence[TickFile], moment_us: int) -> PreviousTrade | None:
    """The latest trade with an exchange time before the moment; None where the files have none.

    Reads the row groups whose statistics allow them to hold it: one or two.
    """
    earlier = [
        (file, group) for file in files for group in file.groups if group.times.start < moment_us
    ]
    # each group holds a row at its first time, and one at its last: the best of these is a lower
    # bound
    bound = max((_latest_known(group, moment_us) for _, group in earlier), default=0)
    found = [
        file.read(group)
        .filter(pl.col(_TIME).to_physical() < moment_us)
        .filter(pl.col(_TIME) == pl.col(_TIME).max())
        .select(pl.col(_TIME).first().to_physical(), pl.col(_ARRIVAL).max().to_physical())
        .row(0)
        for file, group in earlier
        if group.times.end > bound
    ]
    trades = [PreviousTrade(*row) for row in found if row[0] is not None]
    return max(trades, key=lambda trade: (trade.timestamp_us, trade.arrival_us), default=None)


def _latest_known(group: RowGroup, moment_us: int) -> int:
    last = group.times.end - 1
    return last if last < moment_us else group.times.start
