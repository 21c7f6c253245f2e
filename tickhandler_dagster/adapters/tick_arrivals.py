"""Raw tick files read in order of arrival: for joins across channels and for states as of a moment.

What belongs here: reading on from where the last reading ended. What does not: what the rows become
(`market/bars`). Files are in the order of their days and rows in a file are in order of arrival, so
nothing is sorted and no row is read twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import polars as pl

from tickhandler_dagster.adapters.row_groups import RowGroup, TickFile
from tickhandler_dagster.market.bars.grid import Span

_ARRIVAL = "local_timestamp"


class ArrivalReader:
    """Gives row groups once each, in order of arrival.

    Args:
        files: In the order of their days.
        start_us: Row groups that ended before this arrival are never read.
    """

    def __init__(self, files: Sequence[TickFile], start_us: int) -> None:
        self._waiting: deque[tuple[TickFile, RowGroup]] = deque(
            (file, group)
            for file in files
            for group in file.groups
            if group.arrivals.end > start_us
        )

    def until(self, end_us: int) -> Iterator[pl.DataFrame]:
        """The row groups not yet given that can hold arrivals before `end_us`, in order."""
        while self._waiting and self._waiting[0][1].arrivals.start < end_us:
            file, group = self._waiting.popleft()
            yield file.read(group)


def arrival_slices(
    files: Sequence[TickFile], span: Span, *, step_us: int
) -> Iterator[pl.DataFrame]:
    """The rows that arrived in the span, in order, cut at multiples of `step_us`.

    Args:
        files: In the order of their days.
        span: Arrivals wanted; a multiple of `step_us` long.
        step_us: No slice ends inside a step, unless it is the last.
    """
    arrival = pl.col(_ARRIVAL).to_physical()
    rest: pl.DataFrame | None = None
    for frame in ArrivalReader(files, span.start).until(span.end):
        inside = frame.filter((arrival >= span.start) & (arrival < span.end))
        waiting = inside if rest is None else pl.concat([rest, inside])
        if not waiting.height:
            continue
        cut = waiting[_ARRIVAL].to_physical()[-1] // step_us * step_us
        whole, rest = waiting.filter(arrival < cut), waiting.filter(arrival >= cut)
        if whole.height:
            yield whole
    if rest is not None and rest.height:
        yield rest


def rows_before(files: Sequence[TickFile], moment_us: int, *, reach_us: int) -> pl.DataFrame | None:
    """The rows that arrived within `reach_us` before the moment, in order; None where none did."""
    frames = ArrivalReader(files, moment_us - reach_us).until(moment_us)
    arrival = pl.col(_ARRIVAL).to_physical()
    found = [
        frame.filter((arrival >= moment_us - reach_us) & (arrival < moment_us)) for frame in frames
    ]
    rows = pl.concat(found) if found else None
    return rows if rows is not None and rows.height else None
