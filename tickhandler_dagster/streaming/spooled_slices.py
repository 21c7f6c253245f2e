"""Spooled rows of some instruments as the bar kernel takes them: slices of ascending time.

What belongs here: from rows in order of arrival to slices of exchange time, of several instruments
in one reading. What does not: files (`adapters/spool_reader.py`) and what slices become
(`completion_build.py`).

A row's exchange time can lie minutes before its arrival. A slice is therefore given only when rows
that arrive later than `LATE_US` after its end come by: memory is that of a slice and of `LATE_US`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import polars as pl

from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.book_starts import BookStarts
from tickhandler_dagster.streaming.duplicates import SeenIds
from tickhandler_dagster.streaming.intake import BOOK_TYPES
from tickhandler_dagster.streaming.tails import SYMBOL

LATE_US = 300 * US_PER_SECOND
"""How long after its bar's end a row may arrive; what comes later is left to the batch."""

SLICE_US = 300 * US_PER_SECOND
"""How much time is given at once."""

LEAD_US = 130 * US_PER_SECOND
"""How long before a window reading begins: a minute of states, and a minute of ids before it."""

CLOCKS_US = 5 * US_PER_SECOND
"""How long before its exchange time a row may arrive, by a clock that is behind."""

BY_EXCHANGE, BY_ARRIVAL = "timestamp", "local_timestamp"


_LONG = 2**62


class SpooledRows(Protocol):
    """Where rows are read from again: the spool, or a lake's raw files."""

    def rows_between(
        self,
        venue: VenueId,
        data_type: DataType,
        start_us: int,
        end_us: int,
        symbols: Collection[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows that arrived in `[start_us, end_us)`, in order of arrival, with `symbol`."""


class SlicedRows:
    """One data type's rows of some symbols around a window.

    Args:
        rows: Where they are read from.
        venue: Whose rows.
        data_type: Their type.
        symbols: Whose rows are wanted.
        firsts: Arrival of the first row of the window's day by symbol, as far as it is known
            (`BookStarts.firsts`).
    """

    def __init__(
        self,
        rows: SpooledRows,
        venue: VenueId,
        data_type: DataType,
        symbols: Collection[str],
        firsts: Mapping[str, int],
    ) -> None:
        self._rows = rows
        self._venue, self._type = venue, data_type
        self._symbols = symbols
        self._firsts = firsts
        self.repeated: list[pl.DataFrame] = []
        """Rows kept out because their id was there already; filled while slices are read."""
        self.late_rows = 0
        """Rows kept out because they arrived too late; counted while slices are read."""
        self._given_us = -_LONG

    def slices(
        self, window: Span, *, clock: str = BY_EXCHANGE, lead_us: int = LEAD_US
    ) -> Iterator[pl.DataFrame]:
        """The rows before the window, of the window and after it, in spans of ascending time.

        Args:
            window: The window; slices begin and end at its edges.
            clock: The column that rows are cut by.
            lead_us: How long before the window reading begins.

        Shape:
            Each slice holds the rows of all symbols in order of arrival. The first are those of
            before the window, the last those of after it.
        """
        self._given_us = -_LONG
        lateness_us = LATE_US if clock == BY_EXCHANGE else 0
        edges = deque([*range(window.start, window.end, SLICE_US), window.end])
        waiting = [self._nothing()]
        for rows in self._arriving(window.start - lead_us, window.end + lateness_us):
            waiting.append(rows)
            newest_us = int(rows[BY_ARRIVAL].to_physical()[-1])
            while edges and newest_us >= edges[0] + lateness_us:
                ready, waiting = self._cut(waiting, clock, edges.popleft())
                yield ready
        for edge in edges:
            ready, waiting = self._cut(waiting, clock, edge)
            yield ready
        rest = pl.concat(waiting)
        yield rest.filter(rest[clock].to_physical() >= window.end)

    def arrived(self, first_us: int, last_us: int) -> pl.DataFrame:
        """The rows that arrived from `first_us` to `last_us` inclusive, in order of arrival."""
        return pl.concat([empty_rows(self._type), *self._read(first_us, last_us + 1)])

    def _arriving(self, start_us: int, end_us: int) -> Iterator[pl.DataFrame]:
        """The rows that arrived, repeated ones left out and first rows of a day marked."""
        seen = SeenIds() if RAW_TABLES[self._type].has_ids else None
        starts = BookStarts() if self._type in BOOK_TYPES else None
        if starts is not None:
            starts.restore(self._firsts)
        for frame in self._read(start_us, end_us):
            rows = frame
            if seen is not None:
                rows, repeated = seen.split(rows)
                self.repeated.append(repeated)
            if starts is not None:
                rows = starts.marked(rows)
            if rows.height:
                yield rows

    def _read(self, start_us: int, end_us: int) -> Iterator[pl.DataFrame]:
        return self._rows.rows_between(self._venue, self._type, start_us, end_us, self._symbols)

    def _cut(
        self, waiting: Sequence[pl.DataFrame], clock: str, edge_us: int
    ) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """The slice that ends at the moment, and what follows it.

        What arrived too late for it is kept out, whatever batch it came in: a slice may not depend
        on how the rows were read.
        """
        rows = pl.concat(waiting)
        moments, arrivals = rows[clock].to_physical(), rows[BY_ARRIVAL].to_physical()
        is_before = moments < edge_us
        is_late = is_before & ((arrivals >= edge_us + LATE_US) | (moments < self._given_us))
        self.late_rows += int(is_late.sum())
        self._given_us = edge_us
        return rows.filter(is_before & ~is_late), [rows.filter(~is_before)]

    def _nothing(self) -> pl.DataFrame:
        empty = empty_rows(self._type)
        if self._type in BOOK_TYPES:
            return empty.with_columns(is_start=pl.lit(value=False))
        return empty


def by_symbol(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Each symbol's rows, in their order."""
    parts = rows.partition_by(SYMBOL, maintain_order=True, as_dict=True)
    return {str(key[0]): part for key, part in parts.items()}


def between(
    rows: pl.DataFrame, start_us: int, end_us: int, *, clock: str = BY_EXCHANGE
) -> pl.DataFrame:
    """The rows of `[start_us, end_us)` by that clock."""
    moment = pl.col(clock).to_physical()
    return rows.filter((moment >= start_us) & (moment < end_us))
