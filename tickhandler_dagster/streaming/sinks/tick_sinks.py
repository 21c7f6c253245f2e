"""The tick sinks of a process: one per folder of the spool, each in a thread of its own.

What belongs here: running them beside each other, and telling the spool what it may forget. What
does not: what one does (`tick_sink.py`).

A thread each, since one target's table that does not answer must not hold up the others; they wait
for the network and the disk most of the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tickhandler_dagster.adapters.spool import SpoolPosition
from tickhandler_dagster.adapters.spool_dead_letters import DeadLetterFile
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_retention import Folder, SpoolCursors
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import Clock
from tickhandler_dagster.streaming.sinks.cursor import CursorFile
from tickhandler_dagster.streaming.sinks.tick_sink import SinkStatus, TickSink, TickStream
from tickhandler_dagster.streaming.sinks.tick_target import TickTarget

_FOLDER = "sinks"

Keys = Callable[[VenueId], Mapping[str, str]]
"""Gives a venue's instrument keys by symbol."""


class TickSinks:
    """Moves folders of a spool into a target.

    Args:
        root: The spool's folder; cursors lie under it as well.
        streams: Which folders.
        name: Of the consumer, such as `ticks-lake`: one per target.
        make_target: Makes the target of one folder; connections are not shared.
        keys: Gives instrument keys.
        clock: Of this process.
    """

    def __init__(
        self,
        root: Path,
        streams: Sequence[TickStream],
        *,
        name: str,
        make_target: Callable[[], TickTarget],
        keys: Keys,
        clock: Clock,
    ) -> None:
        self._name = name
        self._cursors = SpoolCursors(root)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._letters = [DeadLetterFile(root, name) for _ in streams]
        self._sinks = [
            TickSink(
                stream,
                SpoolReader(root, dead_letters=letters),
                make_target(),
                CursorFile(cursor_path(root, name, stream)),
                keys=_keys_of(keys, stream.venue),
                clock=clock,
            )
            for stream, letters in zip(streams, self._letters, strict=True)
        ]
        self._threads = [
            threading.Thread(
                target=sink.run,
                args=(self._stop,),
                kwargs={"after": self._save_places},
                name=f"{name} {sink.stream.venue} {sink.stream.data_type}",
                daemon=True,
            )
            for sink in self._sinks
        ]

    @property
    def statuses(self) -> Mapping[TickStream, SinkStatus]:
        """How each is doing."""
        return {sink.stream: sink.status for sink in self._sinks}

    @property
    def dead_lines(self) -> int:
        """Lines of the spool that are no rows, met since the start."""
        return sum(letters.count for letters in self._letters)

    def start(self) -> None:
        """Begin, after saying what the spool has to keep."""
        self._save_places()
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 60.0) -> bool:
        """Deliver what waits and end; false where a target did not take it, or not in time.

        Nothing is lost then: the spool keeps the rows for the next start.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)
        is_whole = not any(sink.status.waiting for sink in self._sinks)
        return is_whole and not any(thread.is_alive() for thread in self._threads)

    def _save_places(self) -> None:
        with self._lock:
            places: dict[Folder, SpoolPosition] = {
                (sink.stream.venue, sink.stream.data_type): sink.position for sink in self._sinks
            }
            self._cursors.save(self._name, places)


def cursor_path(root: Path, name: str, stream: TickStream) -> Path:
    """Where the cursor of a consumer's sink is."""
    return root / _FOLDER / name / f"{stream.venue}-{stream.data_type.value.lower()}.json"


def _keys_of(keys: Keys, venue: VenueId) -> Callable[[], Mapping[str, str]]:
    return lambda: keys(venue)
