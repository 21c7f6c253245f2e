"""One venue's rows out of the spool: micro-batches in, tails, watermarks and places out.

What belongs here: reading on from a place, leaving out repeated trades and strangers' rows, how far
time has come, and which place a restart has to read from. What does not: which bars are due
(`closing.py`) and what they are built of (`windows.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.spool import SPOOL_START, SpoolPosition
from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.live.clock_skew import ClockSkewMeter
from tickhandler_dagster.market.live.feed_events import FeedEvent
from tickhandler_dagster.market.live.watermark import GUARD_US, Watermark, newest_guarded
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.book_starts import BookStarts
from tickhandler_dagster.streaming.duplicates import SeenIds
from tickhandler_dagster.streaming.latest_rows import LatestRows
from tickhandler_dagster.streaming.tails import SYMBOL, RowTail
from tickhandler_dagster.streaming.tick_blocks import SymbolRows

BOOK_TYPES = frozenset(
    {
        DataType.BOOK_SNAPSHOT_5,
        DataType.BOOK_SNAPSHOT_25,
        DataType.QUOTES,
        DataType.BOOK_TICKER,
    }
)
"""Types whose rows are states of a book: their first one is what it was, not a change."""

_CLOCK_MEMORY_US = 300 * US_PER_SECOND
"""How long a venue's clock counts as it was; the host's own is not held against a watermark."""

PRIMED_TYPES = BOOK_TYPES | {DataType.TRADES}
"""Types of which a day begins from the latest row of the day before, however old it is."""


class Spool(Protocol):
    """What is read of a spool (`adapters/spool_reader.py`)."""

    def tail(
        self, venue: VenueId, data_type: DataType, position: SpoolPosition = SPOOL_START
    ) -> tuple[pl.DataFrame, SpoolPosition]:
        """The next rows after a place, and the place after them."""

    def events(
        self, venue: VenueId, position: SpoolPosition = SPOOL_START
    ) -> tuple[list[FeedEvent], SpoolPosition]:
        """The next events after a place, and the place after them."""

    def rows_between(
        self,
        venue: VenueId,
        data_type: DataType,
        start_us: int,
        end_us: int,
        symbols: Collection[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows that arrived in a span, in order of arrival."""

    def position_at(
        self, venue: VenueId, data_type: DataType | None, arrival_us: int
    ) -> SpoolPosition:
        """A place before which no row of that arrival or a later one lies."""

    def size_bytes(self) -> int:
        """Size of the whole spool."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the spool: so many rows after a position.

    Attributes:
        position: The position.
        skipped: Rows after it that are before this place.
    """

    position: SpoolPosition = SPOOL_START
    skipped: int = 0


@dataclass(slots=True)
class _Read:
    """A micro-batch that was read: from where, how much, and the newest time in it."""

    place: Place
    rows: int
    newest_us: int


class TypeReader:
    """Reads one data type on and on; knows the way back to rows of a given age.

    Args:
        spool: The spool.
        venue: Whose rows.
        data_type: Their type.
        place: Where to begin.
    """

    def __init__(
        self, spool: Spool, venue: VenueId, data_type: DataType, place: Place = Place()
    ) -> None:
        self._spool = spool
        self._venue, self._type = venue, data_type
        self._place = place
        self._pending: pl.DataFrame | None = None
        self._after = place.position
        self._history: deque[_Read] = deque()
        self.rows = 0
        """Rows read since the start."""
        self.is_caught_up = False
        """The last reading found nothing more."""

    def next(self, at_most: int | None = None) -> pl.DataFrame:
        """The next micro-batch; no rows where there are none yet."""
        frame = self._fetched()
        self.is_caught_up = frame.is_empty()
        if frame.is_empty():
            self._pending = None
            self._place = Place(self._after, self._place.skipped)
            return frame
        taken = frame if at_most is None else frame.head(at_most)
        newest = taken.select(pl.col("timestamp", "local_timestamp").to_physical().max()).row(0)
        self._history.append(_Read(self._place, taken.height, max(newest, default=0)))
        self.rows += taken.height
        if taken.height < frame.height:
            self._pending = frame.slice(taken.height)
            self._place = Place(self._place.position, self._place.skipped + taken.height)
        else:
            self._pending, self._place = None, Place(self._after)
        return taken

    def floor(self, moment_us: int) -> tuple[Place, int]:
        """A place from which on every row of the moment or later lies, and the rows read since."""
        history = self._history
        while history and history[0].newest_us < moment_us:
            history.popleft()
        if not history:
            return self._place, 0
        return history[0].place, sum(read.rows for read in history)

    @property
    def read_since_floor(self) -> int:
        """Rows read since the place that `floor` last named."""
        return sum(read.rows for read in self._history)

    def _fetched(self) -> pl.DataFrame:
        """What lies at the place: rows put back, or rows newly read, less those to skip."""
        if self._pending is not None:
            return self._pending
        while True:
            frame, after = self._spool.tail(self._venue, self._type, self._after)
            skipped = self._place.skipped
            if frame.is_empty() and after == self._after:
                return frame
            self._after = after
            if frame.height > skipped:
                return frame.slice(skipped)
            self._place = Place(after, skipped - frame.height)


class Intake:
    """Takes one venue's rows in.

    Args:
        spool: The spool.
        venue: The venue.
        data_types: What is read.
        symbols: Whose rows are kept.
    """

    def __init__(
        self,
        spool: Spool,
        venue: VenueId,
        data_types: Sequence[DataType],
        symbols: Collection[str],
    ) -> None:
        self._spool, self._venue = spool, venue
        self._symbols = pl.Series(sorted(symbols), dtype=pl.String)
        self._seen = {name: SeenIds() for name in data_types if RAW_TABLES[name].has_ids}
        self._repeated_of: set[str] = set()
        self._bound: dict[DataType, int] = {}
        self.starts = {name: BookStarts() for name in data_types if name in BOOK_TYPES}
        self.readers = {name: TypeReader(spool, venue, name) for name in data_types}
        self.latest = {
            name: LatestRows(kept_columns(name).drop(SYMBOL))
            for name in data_types
            if name in PRIMED_TYPES
        }
        self.tails = {
            name: RowTail(kept_columns(name), self.latest.get(name)) for name in data_types
        }
        self.repeated = RowTail(kept_columns(DataType.TRADES))
        self.exchange, self.arrival = Watermark(_CLOCK_MEMORY_US), Watermark()
        self.has_read = False
        """The last reading brought rows, be they of other instruments."""
        self.first_us: int | None = None
        """From when on rows are seen: the first moment by which a row had happened and arrived."""
        self.is_beginning = True
        """Types are read one after the other: the first row of all may be read after others."""
        self.last_arrival_us: int | None = None
        self.skew = ClockSkewMeter()

    def begin_at(
        self, places: Mapping[DataType, Place], firsts: Mapping[DataType, Mapping[str, int]]
    ) -> None:
        """Read from these places on; the first rows of books are known by arrival."""
        for name, place in places.items():
            if name in self.readers:
                self.readers[name] = TypeReader(self._spool, self._venue, name, place)
        for name, known in firsts.items():
            if name in self.starts:
                self.starts[name].restore(known)

    def begin_after(self, arrival_us: int) -> None:
        """Read from a place on before which no row of that arrival or a later one lies."""
        for name in self.readers:
            place = Place(self._spool.position_at(self._venue, name, arrival_us))
            self.readers[name] = TypeReader(self._spool, self._venue, name, place)

    def read(
        self, elapsed: Callable[[], int], at_most: Mapping[DataType, int] | None = None
    ) -> dict[DataType, pl.DataFrame]:
        """Take a micro-batch of each type; the rows that are new.

        Args:
            elapsed: The time passed, by a clock that never goes back. It is asked when rows are
                there: some of them came while they were read, and would else seem to be ahead of
                time, and close bars too early from then on.
            at_most: Rows of each type to take at most; None for no limit.
        """
        found = {}
        self.has_read = False
        for name, reader in self.readers.items():
            limit = None if at_most is None else at_most.get(name, 0)
            if limit == 0:
                continue
            rows = reader.next(limit)
            if rows.height:
                self.has_read = True
                found[name] = self._taken(name, rows, elapsed())
        return {name: rows for name, rows in found.items() if rows.height}

    @property
    def is_caught_up(self) -> bool:
        """Nothing more was there when the types were read last."""
        return all(reader.is_caught_up for reader in self.readers.values())

    def watermark(self, elapsed_us: int, grace_us: int) -> int | None:
        """Exchange time, and arrival, up to which every row is in; None before the first row.

        A type that has more rows waiting holds time up at its newest row: else the bars of a
        restart would close while books are read and trades are not yet.
        """
        marks = [self.exchange.at(elapsed_us), self.arrival.at(elapsed_us)]
        if any(mark is None for mark in marks):
            return None
        held = [
            self._bound.get(name, 0)
            for name, reader in self.readers.items()
            if not reader.is_caught_up
        ]
        return min(*(mark for mark in marks if mark is not None), *held) - grace_us

    def take_repeated(self) -> set[str]:
        """Symbols of which repeated trades came since this was asked last."""
        found, self._repeated_of = self._repeated_of, set()
        return found

    def seal(self) -> None:
        """Make what came visible to `rows_of`."""
        for tail in (*self.tails.values(), self.repeated):
            tail.seal()

    def forget_before(self, moment_us: int, of_type: Mapping[DataType, int]) -> None:
        """Drop rows of before the moment; those of some types of before another one."""
        for name, tail in self.tails.items():
            tail.forget_before(of_type.get(name, moment_us))
        self.repeated.forget_before(moment_us)

    def latest_of(self, symbol: str, midnight_us: int) -> dict[DataType, pl.DataFrame]:
        """By type the latest rows of a symbol before a midnight that are kept no more."""
        return {name: rows.before(midnight_us, symbol) for name, rows in self.latest.items()}

    def rows_of(self, symbol: str) -> dict[DataType, SymbolRows]:
        """The instrument's rows that are kept, in order of arrival."""
        return {name: tail.rows_of(symbol) for name, tail in self.tails.items()}

    def _taken(self, name: DataType, rows: pl.DataFrame, elapsed_us: int) -> pl.DataFrame:
        self._observe(name, rows, elapsed_us)
        rows = rows.filter(pl.col(SYMBOL).is_in(self._symbols.implode()))
        if name in self._seen and rows.height:
            rows, repeated = self._seen[name].split(rows)
            if name is DataType.TRADES and repeated.height:
                self.repeated.add(repeated)
                self._repeated_of |= set(repeated.get_column(SYMBOL).to_list())
        if name in self.starts and rows.height:
            rows = self.starts[name].marked(rows)
        self.tails[name].add(rows)
        return rows

    def _observe(self, name: DataType, rows: pl.DataFrame, elapsed_us: int) -> None:
        clocks = rows.select(pl.col("timestamp", "local_timestamp").to_physical())
        timestamp, local = (clocks[column].to_numpy() for column in clocks.columns)
        newest, newest_arrival = newest_guarded(timestamp, local), int(local.max())
        self._bound[name] = min(newest_arrival, newest_arrival if newest is None else newest)
        self.arrival.observe(newest_arrival, elapsed_us)
        self.last_arrival_us = max(self.last_arrival_us or 0, newest_arrival)
        self.skew.take(timestamp, local)
        if newest is None:
            return
        self.exchange.observe(newest, elapsed_us)
        if self.is_beginning:
            agree = np.abs(timestamp - local) < GUARD_US
            first = int(np.maximum(timestamp, local)[agree].min())
            self.first_us = first if self.first_us is None else min(self.first_us, first)


def kept_columns(name: DataType) -> pl.DataFrame:
    """No rows, with the columns that are kept of a type."""
    empty = empty_rows(name)
    return empty.with_columns(is_start=pl.lit(value=False)) if name in BOOK_TYPES else empty
