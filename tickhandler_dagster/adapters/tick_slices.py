"""Slices of exchange time out of raw tick files, whose rows are in order of arrival.

What belongs here: which row groups a slice needs, and reading each about once. What does not: what
the rows become (`market/bars`).

Sorting a whole day would need the day in memory; a row group's statistics say which exchange times
it holds, so a slice reads the row groups that meet it and keeps the rows that lie in it. However
rows are out of order, every row comes in the slice of its exchange time; disorder costs repeated
reading and never a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.row_groups import RowGroup, TickFile
from tickhandler_dagster.market.bars.grid import Span

SLICE_ROWS = 524_288
"""Rows a slice aims at: about 30 MB of columns, of which the kernel needs a few times as much."""

_TIME = "timestamp"
_KEPT_ROWS = 262_144


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


def latest_rows_before(files: Sequence[TickFile], moment_us: int) -> pl.DataFrame | None:
    """The rows of the latest exchange time before the moment, in order of files and arrival.

    Reads the row groups whose statistics allow them to hold it: one or two.

    Nulls: None where the files have no earlier row.
    """
    earlier = [
        (file, group) for file in files for group in file.groups if group.times.start < moment_us
    ]
    # each group holds a row at its first time, and one at its last: the best of these is a lower
    # bound
    bound = max((_latest_known(group, moment_us) for _, group in earlier), default=0)
    found = [
        file.read(group).filter(pl.col(_TIME).to_physical() < moment_us)
        for file, group in earlier
        if group.times.end > bound
    ]
    if not any(frame.height for frame in found):
        return None
    rows = pl.concat(found)
    return rows.filter(pl.col(_TIME) == pl.col(_TIME).max())


def _latest_known(group: RowGroup, moment_us: int) -> int:
    last = group.times.end - 1
    return last if last < moment_us else group.times.start
