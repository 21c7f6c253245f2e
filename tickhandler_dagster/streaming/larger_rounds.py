"""The larger bars of one venue: provisional ones from 15 s bars, complete ones from ticks.

What belongs here: which larger bars are due, their revisions, the states they start from. What does
not: merging (`larger_bars.py`) and building from ticks (`completion.py`).

A larger bar is published provisionally with the last 15 s bar in it. It is asked for from ticks
once that one is complete, and again for the instruments whose 15 s bars were amended since.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.completion_process import FailedRequest
from tickhandler_dagster.streaming.completion_request import (
    CompletedBars,
    CompletionRequest,
    LargerWindow,
)
from tickhandler_dagster.streaming.instruments import LiveInstrument
from tickhandler_dagster.streaming.larger_bars import LargerBars
from tickhandler_dagster.streaming.larger_records import LargerRecord, Place
from tickhandler_dagster.streaming.live_rows import Publication, live_rows
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.rounds import VenueBars, date_of
from tickhandler_dagster.streaming.windows import Built, larger_facts

_log = logging.getLogger(__name__)

_COMPLETE = 2
"""The revision that is complete: the first one was provisional."""


class Completer(Protocol):
    """Builds complete larger bars, now or later (`completion.py`)."""

    def submit(self, request: CompletionRequest) -> bool:
        """Ask for bars; False where too many requests wait."""

    def results(self, venue: VenueId | None = None) -> list[CompletedBars]:
        """What has been built since the last time, of one venue or of all."""

    def take_failed(self, venue: VenueId | None = None) -> list[FailedRequest]:
        """What was given up since the last time, of one venue or of all."""


class LargerRounds:
    """Makes one venue's larger bars.

    Args:
        venue: The venue.
        bars: Its 15 s bars.
        timeframes: Which larger bars are made.
        firsts: By type and symbol the arrival of the day's first row of a book.
    """

    def __init__(
        self,
        venue: VenueId,
        bars: VenueBars,
        timeframes: Sequence[Timeframe],
        firsts: Mapping[DataType, Mapping[str, int]],
    ) -> None:
        self._venue, self._bars, self._firsts = venue, bars, firsts
        self._timeframes = [one for one in timeframes if one is not BASE_TIMEFRAME]
        self._instruments = {one.key: one for one in bars.instruments}
        self.merged = LargerBars(self._facts)
        self.records: dict[Place, LargerRecord] = {}

    def take(
        self, built: Sequence[Built], published_us: int, *, is_complete: bool
    ) -> Iterator[BarBatch]:
        """Take 15 s bars as they are made; gives the larger ones that end with them."""
        if not self._timeframes or not built:
            return
        frames = self.merged.add([(one.facts, one.parts) for one in built])
        for timeframe, frame in frames.items():
            if timeframe not in self._timeframes:
                continue
            if frame.is_empty():
                continue
            record = self._record((timeframe, built[-1].span.end - timeframe.us))
            record.revisions |= dict.fromkeys(frame["instrument_key"].to_list(), 1)
            ones, none = [1] * frame.height, [0] * frame.height
            publication = Publication(LiveStage.PROVISIONAL, ones, none, published_us)
            yield BarBatch(timeframe, live_rows(frame, timeframe, publication))
        if is_complete:
            self._note(built)

    def late(self, key: str, open_us: int, rows: int, *, is_amended: bool) -> None:
        """Rows of a 15 s bar came after it was published; amended ones change larger bars too."""
        for timeframe in self._timeframes:
            record = self.records.get((timeframe, open_us - open_us % timeframe.us))
            if record is not None:
                record.late[key] = record.late.get(key, 0) + rows
                if is_amended and record.is_asked:
                    record.wanted.add(key)

    def ask(self, completer: Completer, complete_us: int) -> None:
        """Ask for what is complete now and was not asked for."""
        for timeframe, open_us in sorted(self.records, key=lambda place: (place[0].us, place[1])):
            record = self.records[timeframe, open_us]
            if open_us + timeframe.us > complete_us:
                continue
            if not record.is_asked:
                record.wanted |= record.revisions.keys()
                record.is_asked = True
            wanted = record.wanted - record.awaited
            if wanted and completer.submit(self._request(timeframe, open_us, wanted)):
                record.wanted -= wanted
                record.awaited |= wanted

    def results(self, found: Sequence[CompletedBars], published_us: int) -> Iterator[BarBatch]:
        """The bars that were built from ticks, of the instruments that were asked for."""
        for done in found:
            record = self.records.get((done.timeframe, done.span.start))
            if record is None:
                continue
            bars = done.bars.filter(done.bars["instrument_key"].is_in(sorted(record.awaited)))
            record.awaited.clear()
            if not bars.height:
                continue
            keys = bars["instrument_key"].to_list()
            for key in keys:
                record.revisions[key] = record.revisions.get(key, 0) + 1
            revisions = [record.revisions[key] for key in keys]
            stage = LiveStage.COMPLETE if max(revisions) <= _COMPLETE else LiveStage.AMENDED
            late = [record.late.get(key, 0) for key in keys]
            publication = Publication(stage, revisions, late, published_us)
            yield BarBatch(done.timeframe, live_rows(bars, done.timeframe, publication))

    def give_up(self, failed: Sequence[FailedRequest]) -> None:
        """Leave bars that cannot be built provisional: the batch will have them."""
        for one in failed:
            request = one.request
            record = self.records.get((request.timeframe, request.span.start))
            if record is not None:
                record.awaited -= {window.instrument.key for window in request.windows}
            _log.error(
                "%s: bars of %s from %d us stay provisional: %s",
                request.venue,
                request.timeframe,
                request.span.start,
                one.reason,
            )

    def forget_before(self, moment_us: int) -> None:
        """Drop bars that ended before the moment and wait for nothing."""
        self.records = {
            (timeframe, open_us): record
            for (timeframe, open_us), record in self.records.items()
            if open_us + timeframe.us >= moment_us or record.wanted or record.awaited
        }

    def as_json(self) -> list[Any]:
        """The records as JSON holds them; what is awaited will be asked for again."""
        return [
            [timeframe, open_us, record.as_json()]
            for (timeframe, open_us), record in self.records.items()
        ]

    def restore(self, found: Sequence[Any], merged: bytes) -> None:
        """Go on from where a checkpoint stands."""
        self.merged.restore(merged)
        self.records = {
            (Timeframe(timeframe), open_us): LargerRecord.of_json(record)
            for timeframe, open_us, record in found
        }

    def _record(self, place: Place) -> LargerRecord:
        return self.records.setdefault(place, LargerRecord())

    def _note(self, built: Sequence[Built]) -> None:
        """Keep the states from which larger bars start, and whose there is a bar after all.

        A trade outside the listing makes a bar; one that comes after the larger bar was published
        for the first time makes one that was not in it.
        """
        for timeframe in self._timeframes:
            for one in built:
                place = (timeframe, one.span.start - one.span.start % timeframe.us)
                if one.has_bar and place in self.records:
                    self.records[place].revisions.setdefault(one.instrument.key, 0)
                if one.span.end % timeframe.us == 0 and one.span.end % US_PER_DAY:
                    place = (timeframe, one.span.end)
                    self._record(place).start_from(one.instrument.key, one.carry)

    def _request(self, timeframe: Timeframe, open_us: int, keys: set[str]) -> CompletionRequest:
        related = self._bars.relations_on(open_us)
        legs = {related.near[key] for key in keys if key in related.near}
        others = keys - {related.reference}
        needed = keys | legs | ({related.reference} if others and related.reference else set())
        span = Span(open_us, open_us + timeframe.us)
        carries = self._record((timeframe, open_us)).carries
        return CompletionRequest(
            venue=self._venue,
            timeframe=timeframe,
            span=span,
            windows=tuple(
                self._window(one, span, carries.get(one.key))
                for one in self._bars.instruments
                if one.key in needed
            ),
            relations=related,
        )

    def _window(self, instrument: LiveInstrument, span: Span, carry: Carry | None) -> LargerWindow:
        return LargerWindow(
            instrument=instrument,
            facts=self._facts(instrument.key, span),
            carry=carry,
            memory=self._bars.memories.of(date_of(span.start), instrument.key),
            firsts={
                name: known[instrument.symbol]
                for name, known in self._firsts.items()
                if instrument.symbol in known
            },
            latest=self._bars.latest_before(instrument, span.start),
        )

    def _facts(self, key: str, span: Span) -> DayFacts:
        facts = larger_facts(self._instruments[key], span, self._bars.gaps)
        has_memory = self._bars.memories.of(date_of(span.start), key) is not None
        return dataclasses.replace(
            facts, has_memory=has_memory, clock=self._bars.clocks.get(key, facts.clock)
        )
