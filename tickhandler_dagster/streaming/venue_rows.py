"""One venue's rows and events as they come, and how far its time and its bars are by them.

What belongs here: reading on, live and after a restart, and what is known from reading alone: the
watermark, holes of the feed, edges of the bars. What does not: a micro-batch (`intake.py`), making
bars and writing down where they are (`venue.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from tickhandler_dagster.adapters.spool import SPOOL_START
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.closing import AMEND_US, Edges
from tickhandler_dagster.streaming.feed_gaps import VenueGaps, touched_by
from tickhandler_dagster.streaming.instruments import LiveInstrument, types_of
from tickhandler_dagster.streaming.intake import Intake, Spool
from tickhandler_dagster.streaming.ports import FeedStatus
from tickhandler_dagster.streaming.starting import SessionStart
from tickhandler_dagster.streaming.tick_blocks import SymbolRows
from tickhandler_dagster.streaming.time_bridge import ClockWarnings, TimeBridge
from tickhandler_dagster.streaming.venue_state import VenueState
from tickhandler_dagster.streaming.windows import PRIMING_US

Rows = Mapping[DataType, pl.DataFrame]


class VenueRows:
    """Reads one venue's part of the spool.

    Args:
        venue: The venue.
        instruments: Whose rows are kept.
        spool: Where rows are.
    """

    def __init__(self, venue: VenueId, instruments: Sequence[LiveInstrument], spool: Spool) -> None:
        self._venue, self._instruments, self._spool = venue, instruments, spool
        self.types = types_of(instruments)
        self.intake = Intake(spool, venue, self.types, [one.symbol for one in instruments])
        self.edges: Edges | None = None
        """How far bars are; None before the first row."""
        self._gaps = VenueGaps()
        self._events_at = SPOOL_START
        self._has_events = False
        self._warnings, self._bridge = ClockWarnings(venue), TimeBridge()
        self._split: dict[str, tuple[Mapping[DataType, SymbolRows], pl.DataFrame]] = {}

    @property
    def firsts(self) -> Mapping[DataType, Mapping[str, int]]:
        """By type and symbol the arrival of the day's first row of a book."""
        return {name: starts.firsts for name, starts in self.intake.starts.items()}

    # ---- reading ---------------------------------------------------------------------------

    def read(self, elapsed: Callable[[], int], reads: int) -> Iterator[Rows]:
        """The rows that came since the last time, so many micro-batches at most."""
        self._read_events()
        for _ in range(reads):
            rows = self.intake.read(elapsed)
            has_rows, is_caught_up = self.intake.has_read, self.intake.is_caught_up
            self._bridge.read(has_rows=has_rows, is_caught_up=is_caught_up)
            self._notice(rows)
            yield rows
            if is_caught_up:
                break
        self._warnings.take(self.intake.skew.skew())

    def read_up_to(self, rows: Mapping[DataType, int], elapsed_us: int) -> None:
        """Read on until so many rows since the floor of the checkpoint have been read."""
        while left := self._left(rows):
            found = self.intake.read(lambda: elapsed_us, left)
            self._notice(found)
            if not self.intake.has_read:
                return

    def go_on_from(self, state: VenueState, now_us: int, elapsed_us: int) -> None:
        """Read again what was read before a checkpoint, without taking any of it for late."""
        self.intake.begin_at(state.places, state.firsts)
        while left := self._left(state.handled):
            self.intake.read(lambda: elapsed_us, left)
            if not self.intake.has_read:
                break
        self.edges, self.intake.is_beginning = state.edges, False
        self._bridge.begin(state.seen, now_us, elapsed_us)

    def _left(self, rows: Mapping[DataType, int]) -> dict[DataType, int]:
        """Rows of each type that are still to be read of so many; nothing where all have been."""
        left = {
            name: max(rows.get(name, 0) - reader.read_since_floor, 0)
            for name, reader in self.intake.readers.items()
        }
        return left if any(left.values()) else {}

    def _read_events(self) -> None:
        is_first, self._has_events = not self._has_events, True  # an earlier process knew these
        events, self._events_at = self._spool.events(self._venue, self._events_at)
        changed = self._gaps.take(events)
        if self.edges is None or is_first:
            return
        for gap in changed:
            self.edges.notice_gap(gap, touched_by(gap, self._instruments))

    def _notice(self, rows: Rows) -> None:
        first_us = self.intake.first_us
        if self.edges is None:
            if first_us is None:
                return
            self.edges = Edges.at(first_us)
        elif self.intake.is_beginning and first_us is not None:
            self.intake.is_beginning = self.edges.begin_at(first_us)
        for name, frame in rows.items():
            self.edges.notice(name, frame)

    # ---- what is known by it ---------------------------------------------------------------

    def watermark(self, elapsed_us: int, grace_us: int) -> int | None:
        """Exchange time up to which every row is in; None before the first row."""
        mark = self.intake.watermark(elapsed_us, grace_us)
        return None if mark is None else self._bridge.joined(mark, elapsed_us, grace_us)

    def holes(self, edges: Edges) -> list[FeedGap]:
        """The holes since the midnight before all bars to come: a bar can be a day long."""
        since = (edges.complete_us - AMEND_US - 2 * PRIMING_US) // US_PER_DAY * US_PER_DAY
        found = self._gaps.since(since)
        return [FeedGap(None, edges.began_us), *found] if edges.first_us >= since else found

    def seal(self) -> None:
        """Make what came visible to `of`."""
        self.intake.seal()
        self.let_go()

    def of(self, instrument: LiveInstrument) -> tuple[Mapping[DataType, SymbolRows], pl.DataFrame]:
        """An instrument's rows by type, and its repeated trades; kept for who asks again."""
        symbol = instrument.symbol
        if symbol not in self._split:
            repeated = self.intake.repeated.rows_of(symbol).frame()
            self._split[symbol] = self.intake.rows_of(symbol), repeated
        return self._split[symbol]

    def let_go(self) -> None:
        """Keep rows of instruments no more; they are split off again for who asks."""
        self._split = {}

    def status(
        self, now_us: int, watermark_us: int | None, *, start: SessionStart, elapsed_us: int
    ) -> FeedStatus:
        """How the feed is doing."""
        last, skew = self.intake.last_arrival_us, self.intake.skew.skew()
        return FeedStatus(
            venue=self._venue,
            is_connected=self._gaps.is_connected,
            last_arrival_us=last,
            lag_us=None if last is None else max(now_us - last, 0),
            skew_us=None if skew is None else skew.least_us,
            watermark_us=watermark_us,
            rows={name.value: reader.rows for name, reader in self.intake.readers.items()},
            gaps=self._gaps.interruptions,
            overflows=self._gaps.overflows,
            is_starting=start.is_starting(last, elapsed_us),
        )
