"""The live engine: rows of all venues in, bars to all sinks, again and again.

What belongs here: the loop, the order of work in a step, and what is told of it. What does not: one
venue's bars (`venue.py`).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tickhandler_dagster.adapters.spool import SpoolPosition
from tickhandler_dagster.adapters.spool_retention import Folder
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.bar_records import WIDTH_US
from tickhandler_dagster.streaming.closing import Due
from tickhandler_dagster.streaming.day_memories import MemoryOf
from tickhandler_dagster.streaming.delivery import Delivery
from tickhandler_dagster.streaming.instruments import LiveInstrument
from tickhandler_dagster.streaming.intake import Spool
from tickhandler_dagster.streaming.larger_rounds import Completer
from tickhandler_dagster.streaming.ports import BarBatch, BarSink, Clock, LiveStatus, StatusSink
from tickhandler_dagster.streaming.process_memory import resident_bytes
from tickhandler_dagster.streaming.venue import VenueEngine, VenueOptions

_SIZE_EVERY_US = 10 * US_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How the engine works.

    Attributes:
        checkpoints: Folder of what survives the process.
        poll_us: How long a step is apart from the next.
        venue: How a venue's bars are made.
        venues: The same of single venues, where they differ.
    """

    checkpoints: Path
    poll_us: int = 250_000
    venue: VenueOptions = field(default_factory=VenueOptions)
    venues: Mapping[VenueId, VenueOptions] = field(default_factory=dict)


class CandleEngine:
    """Makes live bars.

    Args:
        instruments: Whose bars.
        spool: Where rows are.
        sinks: Where bars go.
        clock: The time.
        options: How it works.
        memory: What is known of an instrument on the days before a date.
        completer: Builds complete larger bars; without one they stay provisional.
        reports: Who is told how it is doing, after every step of `run`.
    """

    def __init__(
        self,
        instruments: Sequence[LiveInstrument],
        spool: Spool,
        sinks: Sequence[BarSink],
        clock: Clock,
        options: EngineOptions,
        *,
        memory: MemoryOf = lambda _date, _key: None,
        completer: Completer | None = None,
        reports: Sequence[StatusSink] = (),
    ) -> None:
        self._completer = completer
        self._spool, self._clock, self._options = spool, clock, options
        self._reports = reports
        self._delivery = Delivery(sinks)
        self._unsettled: list[VenueEngine] = []
        self._venues = [
            VenueEngine(
                venue,
                [one for one in instruments if one.venue is venue],
                spool,
                options.venues.get(venue, options.venue),
                memory=memory,
                folder=options.checkpoints,
                elapsed_us=clock.elapsed_us(),
                now_us=clock.now_us(),
            )
            for venue in sorted({one.venue for one in instruments})
        ]
        self._bars: dict[Timeframe, int] = {}
        self._newest: dict[Timeframe, int] = {}
        self._delay_us: int | None = None
        self._spool_bytes, self._sized_at = 0, -_SIZE_EVERY_US

    def step(self) -> LiveStatus:
        """Take what came, publish what is due, write down how far it is."""
        for venue in self._venues:
            venue.read(self._clock.elapsed_us)
        if self._is_settled():
            self._make()
            self._complete()
            self._is_settled()
        return self.status()

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop, then publish what is due once more.

        A backlog is left to the next session: what was made of it is durable, and written down.
        """
        while not stop.is_set():
            began_us = self._clock.elapsed_us()
            status = self.step()
            for report in self._reports:
                report.report(status)
            stop.wait(self.pause_us(began_us) / US_PER_SECOND)
        if self.is_behind:
            self._is_settled()
        else:
            self.step()

    def pause_us(self, began_us: int) -> int:
        """How long the next step can wait: for the poll's turn, or for the next bar's.

        A bar is not to wait for the poll. While what was made is not durable none is made either.

        Args:
            began_us: The time passed when the last step began.
        """
        now_us = self._clock.elapsed_us()
        pauses = [began_us + self._options.poll_us - now_us]
        if not self._unsettled:
            asked = (venue.pause_us(now_us) for venue in self._venues)
            pauses += [pause for pause in asked if pause is not None]
        return max(min(pauses), 0)

    @property
    def is_behind(self) -> bool:
        """More bars are due than the last round made."""
        return any(venue.is_behind for venue in self._venues)

    @property
    def places(self) -> dict[Folder, SpoolPosition]:
        """Where a restart would read on: what the spool has to keep for bars."""
        return {
            (venue.venue, name): position
            for venue in self._venues
            for name, position in venue.places.items()
        }

    @property
    def trouble(self) -> str:
        """Why bars that were made are not durable yet; empty where they are."""
        return self._delivery.trouble

    def status(self) -> LiveStatus:
        """How the engine is doing."""
        now_us, elapsed_us = self._clock.now_us(), self._clock.elapsed_us()
        if elapsed_us - self._sized_at >= _SIZE_EVERY_US:
            self._spool_bytes, self._sized_at = self._spool.size_bytes(), elapsed_us
        return LiveStatus(
            at=dt.datetime.fromtimestamp(now_us / US_PER_SECOND, dt.UTC),
            feeds=[venue.status(now_us, elapsed_us) for venue in self._venues],
            bars=dict(self._bars),
            newest_close_us=dict(self._newest),
            amended=sum(venue.amended for venue in self._venues),
            late_rows=sum(venue.late_rows for venue in self._venues),
            publish_delay_us=self._delay_us,
            spool_bytes=self._spool_bytes,
            memory_bytes=resident_bytes(),
        )

    def _make(self) -> None:
        """The bars that are due; those that nobody has seen yet before all others."""
        due = {venue: found for venue in self._venues if (found := self._due(venue))}
        for venue, found in due.items():
            for batch in venue.begin(found, self._clock.now_us()):
                self._put(batch)
                mark = venue.watermark(self._clock.elapsed_us())
                if mark is not None:
                    self._delay_us = mark - found.provisional[-1] - WIDTH_US
        for venue in due:
            for batch in venue.finish():
                self._put(batch)

    def _due(self, venue: VenueEngine) -> Due | None:
        """What is due of a venue; while that is nothing, its next bar is prepared."""
        due = venue.due(self._clock.elapsed_us())
        if due:
            self._unsettled.append(venue)
        else:
            venue.prepare(self._clock.elapsed_us)
        return due

    def _complete(self) -> None:
        """The larger bars that were built from ticks."""
        if self._completer is None:
            return
        for venue in self._venues:
            for batch in venue.completed(self._completer, self._clock.now_us()):
                if venue not in self._unsettled:
                    self._unsettled.append(venue)
                self._put(batch)

    def _put(self, batch: BarBatch) -> None:
        self._delivery.put([batch])
        self._count(batch)

    def _is_settled(self) -> bool:
        """All that was made is durable, and written down as such."""
        if not self._delivery.settle():
            return False
        for venue in self._unsettled:
            venue.settled(self._clock.now_us(), self._clock.elapsed_us())
        self._unsettled.clear()
        return True

    def _count(self, batch: BarBatch) -> None:
        timeframe = batch.timeframe
        self._bars[timeframe] = self._bars.get(timeframe, 0) + batch.bars.height
        newest = batch.bars.get_column("ts_close").to_physical().max()
        if isinstance(newest, int):
            self._newest[timeframe] = max(self._newest.get(timeframe, 0), newest)
