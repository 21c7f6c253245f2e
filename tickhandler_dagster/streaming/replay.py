"""Playing recorded ticks into a spool, as if they came now.

What belongs here: pace, shift, events and the feed's life. What does not: where the rows come from
(`replay_sources.py`) and their order (`replay_merge.py`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import InvalidInput, TickhandlerError
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.feeds import HostClock
from tickhandler_dagster.streaming.ports import Clock
from tickhandler_dagster.streaming.replay_merge import MergedReplay, RowFolder
from tickhandler_dagster.streaming.replay_sources import ReplaySource
from tickhandler_dagster.streaming.replay_state import ReplayState, ReplayStateFile

_STEP_US = 10 * US_PER_SECOND
"""Most time of arrival that is appended at once."""

_NAME = "replay"
_NEVER_US = 2**62
_PAUSE_S = 0.05
_STEPS_PER_SAVE = 20
"""Rows appended since the last save are counted when a killed replay goes on."""

_CLOCKS = ("timestamp", "local_timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How to play.

    Attributes:
        speed: Seconds of arrival per second; None for as fast as possible.
        to_now: Shift both clocks so that the first row arrives now; at speed 1.
        start_us: First arrival to play; all from the beginning where None.
        end_us: First arrival not to play; all to the end where None.
        max_bytes: Size of the spool at which the replay ends with an error; None for no limit.
    """

    speed: float | None = 1.0
    to_now: bool = False
    start_us: int | None = None
    end_us: int | None = None
    max_bytes: int | None = None


class ReplayFeed:
    """A `Feed` of recorded ticks; one that was killed goes on with the row after its last.

    Where the source has recorded events they are played too; else the spool says that the feed came
    up with a venue's first row and went down at the end.

    Args:
        source: What to play.
        root: The spool to play into.
        options: How.
        clock: The time.

    Raises:
        InvalidInput: the options contradict each other.
    """

    def __init__(
        self,
        source: ReplaySource,
        root: Path,
        *,
        options: ReplayOptions,
        clock: Clock | None = None,
    ) -> None:
        if options.speed is not None and options.speed <= 0:
            raise InvalidInput("speed", "not above 0", was=options.speed, remedy="Choose another")
        if options.to_now and options.speed != 1:
            raise InvalidInput(
                "speed",
                "ticks that are to arrive now play as fast as time goes",
                was="no limit" if options.speed is None else options.speed,
                expected="1",
                remedy="Play at speed 1, or leave the clocks as they are",
            )
        self._source = source
        self._root = root
        self._options = options
        self._clock = clock or HostClock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: TickhandlerError | None = None

    @property
    def is_alive(self) -> bool:
        """Rows are still to come."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failure(self) -> TickhandlerError | None:
        """What ended it; None while it goes on, and after its end."""
        return self._failure

    def start(self) -> None:
        """Begin to play, in a thread."""
        self._thread = threading.Thread(target=self._run_caught, name=_NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, with what was played in the spool."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Play to the end, or until stopped, in this thread.

        Raises:
            TickhandlerError: the source cannot be read or the spool not be written.
        """
        with SpoolWriter(
            self._root, writer=_NAME, max_bytes=self._options.max_bytes, is_resumed=True
        ) as writer:
            for venue in sorted({stream.venue for stream in self._source.streams}):
                writer.take_over(venue)
            _Replay(self._source, self._root, writer, self._options, clock=self._clock).play(
                self._stop
            )

    def _run_caught(self) -> None:
        try:
            self.run()
        except TickhandlerError as error:
            self._failure = error


class _Replay:
    """One run of a replay."""

    def __init__(
        self,
        source: ReplaySource,
        root: Path,
        writer: SpoolWriter,
        options: ReplayOptions,
        *,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._options = options
        self._clock = clock
        first_us = -_NEVER_US if options.start_us is None else options.start_us
        self._end_us = _NEVER_US if options.end_us is None else options.end_us
        self._merged = MergedReplay(source.streams, first_us)
        self._events = sorted(source.events, key=lambda event: event.at_us)
        self._speakers = {event.venue for event in source.events}
        self._file = ReplayStateFile(root)
        self._state = self._file.read(source.name) or self._first_state(source)
        self._folders = list(self._state.ends)
        self._to_skip = dict(self._state.rows)
        self._base: tuple[int, int] | None = None
        self._last_us: dict[VenueId, int] = {}
        self._steps = 0

    def play(self, stop: threading.Event) -> None:
        """Append step after step until the end."""
        while not stop.is_set():
            next_us = self._merged.next_us()
            if next_us is None or next_us >= self._end_us:
                self._say_recorded(self._end_us)
                break
            horizon_us = min(
                self._horizon(next_us),
                next_us + _STEP_US,
                self._end_us,
                self._next_connection(next_us),
            )
            if next_us < horizon_us:
                self._step(next_us, horizon_us)
            else:
                stop.wait(_PAUSE_S)
        self._end("the replay was stopped" if stop.is_set() else "the replay is over")

    def _first_state(self, source: ReplaySource) -> ReplayState:
        next_us = self._merged.next_us()
        shift = self._clock.now_us() - next_us if self._options.to_now and next_us else 0
        folders = sorted({(stream.venue, stream.data_type) for stream in source.streams})
        state = ReplayState(
            source=source.name,
            shift_us=shift,
            rows=dict.fromkeys(folders, 0),
            ends=self._file.ends(folders),
        )
        self._file.save(state)
        return state

    def _horizon(self, next_us: int) -> int:
        """Arrival before which rows are due."""
        if self._options.speed is None or any(self._to_skip.values()):
            return _NEVER_US
        if self._options.to_now:
            return self._clock.now_us() - self._state.shift_us
        if self._base is None:
            self._base = (next_us, self._clock.elapsed_us())
        first_us, since_us = self._base
        return first_us + int((self._clock.elapsed_us() - since_us) * self._options.speed)

    def _next_connection(self, after_us: int) -> int:
        """When a recorded connection came up next: its rows are to follow that word."""
        later = (
            event.at_us
            for event in self._events[self._state.events :]
            if event.kind is FeedEventKind.CONNECTED and event.at_us > after_us
        )
        return next(later, _NEVER_US)

    def _step(self, next_us: int, horizon_us: int) -> None:
        self._say_recorded(next_us + 1)
        batches = [
            (folder, self._fresh(folder, rows)) for folder, rows in self._merged.until(horizon_us)
        ]
        self._say_up([(venue, rows) for (venue, _), rows in batches if rows.height])
        for (venue, data_type), rows in batches:
            self._writer.append(venue, data_type, rows)
            self._state.rows[venue, data_type] += rows.height
        self._say_recorded(horizon_us)
        self._steps += 1
        if self._steps % _STEPS_PER_SAVE == 0:
            self._save()

    def _say_recorded(self, before_us: int) -> None:
        """Say what was recorded before a moment."""
        while (
            self._state.events < len(self._events)
            and self._events[self._state.events].at_us < before_us
        ):
            self._say(self._events[self._state.events])
            self._state.events += 1

    def _fresh(self, folder: RowFolder, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are not in the spool yet, by the clocks they get there."""
        skipped = min(self._to_skip[folder], rows.height)
        self._to_skip[folder] -= skipped
        return self._shifted(rows[skipped:])

    def _say_up(self, batches: list[tuple[VenueId, pl.DataFrame]]) -> None:
        """Say of venues without recorded events that their rows come from here on."""
        first_us: dict[VenueId, int] = {}
        for venue, rows in batches:
            arrivals = rows.get_column("local_timestamp").to_physical()
            first_us[venue] = min(first_us.get(venue, _NEVER_US), int(arrivals[0]))
            self._last_us[venue] = max(self._last_us.get(venue, 0), int(arrivals[-1]))
        for venue, at_us in first_us.items():
            if venue not in self._speakers and venue not in self._state.up:
                self._writer.event(
                    FeedEvent(
                        kind=FeedEventKind.CONNECTED, venue=venue, at_us=at_us, connection=_NAME
                    )
                )
                self._state.up.add(venue)

    def _shifted(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self._state.shift_us:
            return rows
        return rows.with_columns(
            pl.col(name) + pl.duration(microseconds=self._state.shift_us, time_unit="us")
            for name in _CLOCKS
        )

    def _say(self, event: FeedEvent) -> None:
        shift = self._state.shift_us
        last = event.last_arrival_us
        self._writer.event(
            FeedEvent(
                kind=event.kind,
                venue=event.venue,
                at_us=event.at_us + shift,
                connection=event.connection,
                data_types=event.data_types,
                symbols=event.symbols,
                last_arrival_us=None if last is None else last + shift,
                rows=event.rows,
                text=event.text,
            )
        )

    def _end(self, text: str) -> None:
        for venue in sorted(self._state.up):
            last_us = self._last_us.get(venue)
            self._writer.event(
                FeedEvent(
                    kind=FeedEventKind.DISCONNECTED,
                    venue=venue,
                    at_us=last_us or 0,
                    connection=_NAME,
                    last_arrival_us=last_us,
                    text=text,
                )
            )
        self._state.up.clear()
        self._save()

    def _save(self) -> None:
        self._state.ends = self._file.ends(self._folders)
        self._file.save(self._state)
