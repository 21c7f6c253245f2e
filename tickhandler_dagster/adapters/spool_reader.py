"""Reading the spool: what came since a place, what arrived in a span, what the feed said.

What belongs here: files, whole lines and places. What does not: which lines are rows
(`spool_lines.py`), what rows become (`streaming/`).

A reader changes nothing and needs no word from the writer: a last line without its end is waited
for while its segment is the newest, and is put aside once a later segment is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import zip_longest
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.spool import (
    SETTING,
    SPOOL_START,
    Segment,
    SpoolPosition,
    folder_of,
    segments_in,
    spool_bytes,
    spooled_types,
    spooled_venues,
)
from tickhandler_dagster.adapters.spool_lines import (
    DeadLetter,
    DeadLetterBox,
    LineParser,
    empty_rows,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.live.feed_events import FeedEvent, parse_feed_event
from tickhandler_dagster.market.venues import VenueId

BATCH_BYTES = 4 * 1024 * 1024
"""Text taken at once: some 40,000 rows, a few times as much memory while it is parsed."""

DISORDER_US = 5 * US_PER_SECOND
"""How far a row's arrival may lie before that of the row its segment is named after."""

_Take = Callable[[Segment, int, bytes], None]


class SpoolReader:
    """Reads a spool that somebody else writes.

    Args:
        root: The spool's folder.
        dead_letters: Takes the lines that are no rows; without it they are counted only.
        batch_bytes: Text taken at once; at least as long as the longest line.
    """

    def __init__(
        self,
        root: Path,
        *,
        dead_letters: DeadLetterBox | None = None,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._root = root
        self._dead_letters = dead_letters
        self._batch_bytes = batch_bytes
        self._parsers: dict[tuple[VenueId, DataType], LineParser] = {}
        self._headers: dict[LineParser, tuple[str, bool]] = {}
        self.dead_lines = 0
        """Lines put aside since this reader was made."""

    @property
    def root(self) -> Path:
        """The spool's folder."""
        return self._root

    def venues(self) -> list[VenueId]:
        """The venues there is anything of."""
        return spooled_venues(self._root)

    def data_types(self, venue: VenueId) -> list[DataType]:
        """The data types there is anything of."""
        return spooled_types(self._root, venue)

    def size_bytes(self) -> int:
        """Size of the whole spool."""
        return spool_bytes(self._root)

    def first_arrival_us(self, venue: VenueId, data_type: DataType) -> int | None:
        """Arrival from which on the spool has the rows; None where it has none.

        Units: microseconds.
        """
        segments = segments_in(folder_of(self._root, venue, data_type))
        return segments[0].start_us if segments else None

    def end(self, venue: VenueId, data_type: DataType | None) -> SpoolPosition:
        """The place after the last whole line there is; without a type, of the events.

        What is appended later is what `tail` then gives.
        """
        segments = segments_in(folder_of(self._root, venue, data_type))
        if not segments:
            return SPOOL_START
        byte = segments[-1].size
        with storage_errors(segments[-1].path, setting=SETTING), segments[-1].path.open("rb") as f:
            while byte:
                start = max(0, byte - self._batch_bytes)
                f.seek(start)
                cut = f.read(byte - start).rfind(b"\n") + 1
                byte = start + cut
                if cut:
                    break
        return SpoolPosition(segments[-1].name, byte)

    def position_at(
        self, venue: VenueId, data_type: DataType | None, arrival_us: int
    ) -> SpoolPosition:
        """A place before which no row of that arrival or a later one lies."""
        before = [
            segment
            for segment in segments_in(folder_of(self._root, venue, data_type))
            if segment.start_us <= arrival_us - DISORDER_US
        ]
        return SpoolPosition(before[-1].name, 0) if before else SPOOL_START

    def tail(
        self, venue: VenueId, data_type: DataType, position: SpoolPosition = SPOOL_START
    ) -> tuple[pl.DataFrame, SpoolPosition]:
        """The next rows after a place, and the place after them.

        At most about `batch_bytes` of text: call again until the place stays.

        Shape:
            `symbol` and the stored columns of the data type, in order of arrival; no rows where
            there are none yet.
        """
        parser = self._parser(venue, data_type)
        frames: list[pl.DataFrame] = []

        def take(segment: Segment, byte: int, block: bytes) -> None:
            frame = self._rows(parser, segment, byte, block)
            if not frame.is_empty():
                frames.append(frame)

        after = self._walk(venue, data_type, position, take)
        return (pl.concat(frames) if frames else empty_rows(data_type)), after

    def events(
        self, venue: VenueId, position: SpoolPosition = SPOOL_START
    ) -> tuple[list[FeedEvent], SpoolPosition]:
        """The next events after a place, and the place after them.

        A line that is no event is counted in `dead_lines`.
        """
        found: list[FeedEvent] = []

        def take(_segment: Segment, _byte: int, block: bytes) -> None:
            for line in block.splitlines():
                try:
                    found.append(parse_feed_event(line))
                except CorruptData:
                    self.dead_lines += 1

        return found, self._walk(venue, None, position, take)

    def rows_between(
        self,
        venue: VenueId,
        data_type: DataType,
        start_us: int,
        end_us: int,
        symbols: Collection[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows that arrived in `[start_us, end_us)`, in order of arrival, batch by batch.

        A row is found where its arrival lies at most `DISORDER_US` before that of the first row of
        its segment. A clock set back further hides what arrived after.

        Args:
            venue: Whose rows.
            data_type: Their type.
            start_us: First arrival wanted.
            end_us: First arrival not wanted.
            symbols: The symbols wanted; all where None.

        Shape: as `tail`; no frame is empty.
        """
        wanted = (
            pl.col("local_timestamp")
            .to_physical()
            .is_between(pl.lit(start_us), pl.lit(end_us), closed="left")
        )
        if symbols is not None:
            wanted = wanted & pl.col("symbol").is_in(list(symbols))
        last = end_us + DISORDER_US
        place = self.position_at(venue, data_type, start_us)
        while True:
            frame, after = self.tail(venue, data_type, place)
            kept = frame.filter(wanted)
            if not kept.is_empty():
                yield kept
            if after == place or _start_us(after) >= last:
                return
            place = after

    def _walk(
        self, venue: VenueId, data_type: DataType | None, place: SpoolPosition, take: _Take
    ) -> SpoolPosition:
        """Give whole lines to `take`, segment after segment, until the batch is full."""
        # Looked up before anything is read: a segment with a later one beside it is complete now.
        segments = [
            segment
            for segment in segments_in(folder_of(self._root, venue, data_type))
            if segment.name >= place.segment
        ]
        left = self._batch_bytes
        for segment, later in zip_longest(segments, segments[1:]):
            byte = place.byte if segment.name == place.segment else 0
            byte, left = self._read(segment, byte, left, take)
            place = SpoolPosition(segment.name, byte)
            if later is None or left <= 0:
                break
            self._put_torn_aside(venue, data_type, segment, byte)
        return place

    def _read(self, segment: Segment, byte: int, left: int, take: _Take) -> tuple[int, int]:
        """Read whole lines of a segment from a byte on; the byte after them, and what is left."""
        with storage_errors(segment.path, setting=SETTING):
            try:
                with segment.path.open("rb") as file:
                    file.seek(byte)
                    block = file.read(left)
            except FileNotFoundError:  # deleted between the look and the read
                return byte, left
        end = block.rfind(b"\n") + 1
        if end:
            take(segment, byte, block[:end])
        elif len(block) == self._batch_bytes:
            raise CorruptData(
                f"spool {segment.path}",
                "a line longer than a batch",
                was=f"more than {self._batch_bytes} bytes from byte {byte}",
                remedy="Move the segment away; what else it holds is lost to the consumers",
            )
        # a block filled to the brim has more after it
        return byte + end, (left - end if len(block) < left else 0)

    def _rows(self, parser: LineParser, segment: Segment, byte: int, block: bytes) -> pl.DataFrame:
        if not self._has_header(parser, segment):
            self._put_aside([parser.dead(segment.name, byte, "another header", block)])
            return parser.empty()
        skipped = len(parser.header) if byte == 0 else 0
        frame, dead = parser.rows(block[skipped:], segment.name, byte + skipped)
        self._put_aside(dead)
        return frame

    def _has_header(self, parser: LineParser, segment: Segment) -> bool:
        """The segment begins with the type's header; looked at once per segment."""
        name, is_right = self._headers.get(parser, ("", False))
        if name != segment.name:
            with storage_errors(segment.path, setting=SETTING), segment.path.open("rb") as file:
                is_right = file.read(len(parser.header)) == parser.header
            self._headers[parser] = (segment.name, is_right)
        return is_right

    def _put_torn_aside(
        self, venue: VenueId, data_type: DataType | None, segment: Segment, byte: int
    ) -> None:
        if segment.size <= byte:
            return
        if data_type is None:
            self.dead_lines += 1
            return
        with storage_errors(segment.path, setting=SETTING):
            torn = segment.path.read_bytes()[byte:]
        parser = self._parser(venue, data_type)
        self._put_aside([parser.dead(segment.name, byte, "a line cut off", torn)])

    def _put_aside(self, letters: list[DeadLetter]) -> None:
        self.dead_lines += len(letters)
        if letters and self._dead_letters is not None:
            self._dead_letters(letters)

    def _parser(self, venue: VenueId, data_type: DataType) -> LineParser:
        key = (venue, data_type)
        if key not in self._parsers:
            self._parsers[key] = LineParser(venue, data_type)
        return self._parsers[key]


def _start_us(place: SpoolPosition) -> int:
    return int(place.segment.partition("-")[0] or 0)
