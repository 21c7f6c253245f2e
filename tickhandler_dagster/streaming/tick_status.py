"""How a session that stores ticks is doing, in the engine's terms.

What belongs here: a status of what sinks and the feed's events say. What does not: the sinks
(`sinks/tick_sinks.py`) and the engine's own status (`engine.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from tickhandler_dagster.adapters.spool import SPOOL_START, SpoolPosition
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_recovery import last_arrival_us
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import Clock, FeedStatus, LiveStatus
from tickhandler_dagster.streaming.process_memory import resident_bytes
from tickhandler_dagster.streaming.sinks.tick_sink import SinkStatus, TickStream
from tickhandler_dagster.streaming.starting import SessionStart


class _Connections:
    """What one venue's feed has said so far."""

    def __init__(self) -> None:
        self.position: SpoolPosition = SPOOL_START
        self.up: set[str] = set()
        self.gaps = 0
        self.overflows = 0

    def take(self, events: Sequence[FeedEvent]) -> None:
        for event in events:
            if event.kind is FeedEventKind.CONNECTED:
                self.up.add(event.connection)
            elif event.kind is FeedEventKind.DISCONNECTED:
                self.gaps += bool(self.up)
                self.up = self.up - {event.connection} if event.connection else set()
            elif event.kind is FeedEventKind.OVERFLOW:
                self.overflows += event.rows


class TickStatus:
    """Makes the status of a session without bars.

    Args:
        reader: Of the spool.
        venues: Of the session.
        clock: Of this process.
    """

    def __init__(self, reader: SpoolReader, venues: Sequence[VenueId], clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._start = SessionStart(clock.now_us(), clock.elapsed_us())
        self._feeds = {venue: _Connections() for venue in venues}

    def status(self, sinks: Mapping[TickStream, SinkStatus]) -> LiveStatus:
        """How it is now."""
        now_us = self._clock.now_us()
        return LiveStatus(
            at=dt.datetime.fromtimestamp(now_us / US_PER_SECOND, dt.UTC),
            feeds=[self._feed(venue, sinks, now_us) for venue in self._feeds],
            bars={},
            newest_close_us={},
            amended=0,
            late_rows=0,
            publish_delay_us=None,
            spool_bytes=self._reader.size_bytes(),
            memory_bytes=resident_bytes(),
        )

    def _feed(
        self, venue: VenueId, sinks: Mapping[TickStream, SinkStatus], now_us: int
    ) -> FeedStatus:
        said = self._feeds[venue]
        events, said.position = self._reader.events(venue, said.position)
        said.take(events)
        own = {stream.data_type: one for stream, one in sinks.items() if stream.venue is venue}
        newest = last_arrival_us(self._reader.root, venue)
        return FeedStatus(
            venue=venue,
            is_connected=bool(said.up),
            last_arrival_us=newest,
            lag_us=None if newest is None else max(now_us - newest, 0),
            skew_us=None,
            watermark_us=None,
            rows={data_type.value: one.rows + one.waiting for data_type, one in own.items()},
            gaps=said.gaps,
            overflows=said.overflows,
            is_starting=self._start.is_starting(newest, self._clock.elapsed_us()),
        )
