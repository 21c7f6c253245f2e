"""What a killed writer left: a line cut off is put aside, a connection it had is said to be lost.

What belongs here: the first act of whoever takes over the right to write an exchange. What does
not: that right (`spool.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.spool import (
    DEAD_LETTERS,
    SETTING,
    Segment,
    arrival_of,
    folder_of,
    segment_name,
    segments_in,
    spooled_types,
)
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.live.feed_events import (
    FeedEvent,
    FeedEventKind,
    parse_feed_event,
)
from tickhandler_dagster.market.venues import VenueId

_TAIL_BYTES = 1 << 20


def recover(root: Path, venue: VenueId, *, says_lost: bool = True) -> int:
    """Make the exchange's part whole again; the bytes cut off.

    The caller holds the right to write it. Torn lines go to `dead_letters/` under the segment's
    name. Where the last word was not that all connections are lost, that is said now, with the
    arrival of the last row there is: a killed writer cannot say it.

    Args:
        root: The spool's folder.
        venue: Whose part.
        says_lost: Say so; not where the same rows go on without a loss.

    Raises:
        StorageDenied: the folder may not be written.
    """
    with storage_errors(root / venue, setting=SETTING):
        cut = sum(
            _cut(segments[-1], root / venue / DEAD_LETTERS)
            for data_type in (None, *spooled_types(root, venue))
            if (segments := segments_in(folder_of(root, venue, data_type)))
        )
        if says_lost:
            _say_lost(root, venue)
    return cut


def last_arrival_us(root: Path, venue: VenueId) -> int | None:
    """Arrival of the newest row of an exchange; None where there is none.

    Units: microseconds.
    """
    newest: int | None = None
    for data_type in spooled_types(root, venue):
        for segment in reversed(segments_in(folder_of(root, venue, data_type))):
            arrival = _last_arrival(segment)
            if arrival is not None:
                newest = arrival if newest is None else max(newest, arrival)
                break
    return newest


def _cut(segment: Segment, aside: Path) -> int:
    size = segment.size
    with segment.path.open("r+b") as file:
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        tail = file.read()
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return 0
        aside.mkdir(parents=True, exist_ok=True)
        (aside / f"torn-{segment.path.parent.name}-{segment.name}").write_bytes(torn)
        file.truncate(size - len(torn))
    return len(torn)


def _say_lost(root: Path, venue: VenueId) -> None:
    folder = folder_of(root, venue, None)
    up, last_us = _connections_up(folder)
    if not up:
        return
    arrival = last_arrival_us(root, venue)
    event = FeedEvent(
        kind=FeedEventKind.DISCONNECTED,
        venue=venue,
        at_us=max(last_us, arrival or 0),
        last_arrival_us=arrival,
        text="the feed ended without a word",
    )
    start_us = max(event.at_us, segments_in(folder)[-1].start_us + 1)
    with (folder / segment_name(start_us, "recovery", suffix="jsonl")).open("xb") as file:
        file.write(event.as_line())
        file.flush()
        os.fsync(file.fileno())


def _connections_up(folder: Path) -> tuple[bool, int]:
    """Some connection was up at the end; and the time of the last word."""
    up: set[str] = set()
    last_us = 0
    for segment in segments_in(folder):
        for line in segment.path.read_bytes().splitlines():
            try:
                event = parse_feed_event(line)
            except CorruptData:
                continue  # the reader puts it to the dead letters; here it only says nothing
            last_us = max(last_us, event.at_us)
            if event.kind is FeedEventKind.CONNECTED:
                up.add(event.connection)
            elif event.kind is FeedEventKind.DISCONNECTED:
                up = up - {event.connection} if event.connection else set()
    return bool(up), last_us


def _last_arrival(segment: Segment) -> int | None:
    with segment.path.open("rb") as file:
        file.seek(max(0, segment.size - _TAIL_BYTES))
        lines = file.read().splitlines()
    return next((at for line in reversed(lines) if (at := arrival_of(line)) is not None), None)
