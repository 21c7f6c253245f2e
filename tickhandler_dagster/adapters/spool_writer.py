"""Appending to the spool: segments in order, whole lines, a limit to its size, recovery at start.

What belongs here: the writing side in Python, for replays and for what a supervisor has to say.
What does not: the live feed's own writer, which is the Node process of `streaming/sidecar`; it
follows the same rules.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from tickhandler_dagster.adapters.object_store import storage_error, storage_errors
from tickhandler_dagster.adapters.spool import (
    SETTING,
    arrival_of,
    claim,
    folder_of,
    segment_name,
    segments_in,
    spool_bytes,
)
from tickhandler_dagster.adapters.spool_recovery import last_arrival_us, recover
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import InvalidInput, StorageFull
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId

ROLL_US = 60 * US_PER_SECOND
"""A segment's length in time of arrival: what a reader of a span opens at least."""

_WRITER = re.compile(r"[a-z0-9]+")


class SpoolWriter:
    """Appends rows and events; holds the right to write each exchange it wrote to.

    Args:
        root: The spool's folder.
        writer: Stands in the names of segments; lower case letters and digits.
        roll_us: A segment begun this long ago, in time of arrival, is closed.
        max_bytes: Size at which nothing is taken any more; None for no limit.
        is_resumed: It goes on exactly where an earlier writer was killed, so that no loss is said.
    """

    def __init__(
        self,
        root: Path,
        *,
        writer: str | None = None,
        roll_us: int = ROLL_US,
        max_bytes: int | None = None,
        is_resumed: bool = False,
    ) -> None:
        self._root = root
        self._writer = writer or f"py{os.getpid()}"
        if not _WRITER.fullmatch(self._writer):
            raise InvalidInput(
                f"writer '{self._writer}'",
                "not a name",
                expected="lower case letters and digits",
                remedy="Choose another name",
            )
        self._roll_us = roll_us
        self._max_bytes = max_bytes
        self._is_resumed = is_resumed
        self._claims: dict[VenueId, io.BufferedWriter] = {}
        self._open: dict[tuple[VenueId, DataType | None], _OpenSegment] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, venue: VenueId, data_type: DataType, rows: pl.DataFrame | bytes) -> int:
        """Append rows in order of arrival; the bytes written.

        Args:
            venue: Whose rows.
            data_type: Their type.
            rows: The columns that `SpoolReader.tail` gives, or whole lines without a header.

        Raises:
            StorageFull: the spool has reached its limit, or the device has no space left; nothing
                of the rows stays.
            ConcurrentWrite: another process writes this exchange.
        """
        lines = rows if isinstance(rows, bytes) else csv_lines(venue, data_type, rows)
        if not lines:
            return 0
        arrival_us = arrival_of(lines[: lines.find(b"\n")])
        if arrival_us is None or not lines.endswith(b"\n"):
            raise InvalidInput(
                f"lines for {venue} {data_type}",
                "the first line is no row" if arrival_us is None else "the last line does not end",
                was=lines[:100].decode(errors="replace"),
                remedy="Append whole lines of the vendor's form",
            )
        header = ",".join(RAW_TABLES[data_type].header).encode() + b"\n"
        return self._append(venue, data_type, arrival_us, (header, lines))

    def event(self, event: FeedEvent) -> None:
        """Append an event.

        Raises:
            StorageFull: the device has no space left.
            ConcurrentWrite: another process writes this exchange.
        """
        self._append(event.venue, None, event.at_us, (b"", event.as_line()))

    def take_over(self, venue: VenueId) -> None:
        """Take the right to write an exchange and clear up after the writer before, once.

        Raises:
            ConcurrentWrite: another process writes this exchange.
        """
        if venue not in self._claims:
            self._claims[venue] = claim(self._root, venue)
            recover(self._root, venue, says_lost=not self._is_resumed)

    def close(self) -> None:
        """Close all segments and let go of the exchanges."""
        for segment in self._open.values():
            segment.close()
        for held in self._claims.values():
            held.close()
        self._open.clear()
        self._claims.clear()

    def _append(
        self, venue: VenueId, data_type: DataType | None, at_us: int, text: tuple[bytes, bytes]
    ) -> int:
        header, lines = text
        self.take_over(venue)
        segment = self._open.get((venue, data_type))
        if segment is None or at_us >= segment.start_us + self._roll_us:
            if data_type is not None:
                self._check_limit(venue, at_us)
            if segment is not None:
                segment.close()
            segment = self._next(venue, data_type, at_us)
            self._open[venue, data_type] = segment
            segment.write(header)
        segment.write(lines)
        return len(lines)

    def _next(self, venue: VenueId, data_type: DataType | None, at_us: int) -> _OpenSegment:
        folder = folder_of(self._root, venue, data_type)
        before = segments_in(folder)
        start_us = max(at_us, before[-1].start_us + 1) if before else at_us
        suffix = "jsonl" if data_type is None else "csv"
        return _OpenSegment(folder / segment_name(start_us, self._writer, suffix=suffix), start_us)

    def _check_limit(self, venue: VenueId, at_us: int) -> None:
        if self._max_bytes is None:
            return
        size = spool_bytes(self._root)
        if size < self._max_bytes:
            return
        full = StorageFull(
            f"spool {self._root}",
            "its limit is reached, capture stops",
            was=f"{size:,} bytes",
            expected=f"less than {self._max_bytes:,} bytes",
            remedy="Let the consumers catch up, or raise STREAMING_SPOOL_LIMIT_GB",
        )
        last_us = last_arrival_us(self._root, venue)
        for kind in (FeedEventKind.SPOOL_FULL, FeedEventKind.DISCONNECTED):
            self.event(
                FeedEvent(
                    kind=kind, venue=venue, at_us=at_us, last_arrival_us=last_us, text=str(full)
                )
            )
        raise full


class _OpenSegment:
    """A segment being written; every write is whole or not there."""

    def __init__(self, path: Path, start_us: int) -> None:
        self.start_us = start_us
        self._path = path
        with storage_errors(path, setting=SETTING):
            path.parent.mkdir(parents=True, exist_ok=True)
            # unbuffered: what was appended can be read, and outlives this process
            self._file = path.open("xb", buffering=0)
        self._size = 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise storage_error(error, self._path, setting=SETTING) from error
        self._size += len(data)

    def close(self) -> None:
        self._file.close()


def csv_lines(venue: VenueId, data_type: DataType, rows: pl.DataFrame) -> bytes:
    """Rows as lines of the vendor's files.

    Args:
        venue: What the first cell says.
        data_type: Whose columns `rows` has, after `symbol`.
        rows: Typed rows; other columns are left out.
    """
    if rows.is_empty():
        return b""
    buffer = io.BytesIO()
    rows.select(
        pl.lit(str(venue)).alias("exchange"),
        "symbol",
        *(
            pl.col(column.stored.name).to_physical()
            if column.stored.dtype == TIMESTAMP
            else pl.col(column.stored.name)
            for column in RAW_TABLES[data_type].columns
        ),
    ).write_csv(buffer, include_header=False, quote_style="never")
    return buffer.getvalue()
