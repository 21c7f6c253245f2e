"""Holes of one venue's feed, as spans that the bars of an instrument are told of.

What belongs here: from a feed's events to spans per instrument and channel, as the batch's
`candle_gaps.py` makes them of audited holes. What does not: what an event means
(`market/live/feed_events.py`) and what a bar makes of a hole.

Holes are spans of arrival and bars are cut by exchange time: both clocks agree to the delay of a
feed, and no better time of a row that never came is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import merged_spans
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.live.feed_events import (
    FeedEvent,
    FeedEventKind,
    FeedGap,
    feed_gaps,
)
from tickhandler_dagster.streaming.instruments import LiveInstrument

KEPT_EVENTS = 10_000
"""Connections made and lost that are remembered: those of weeks of a bad line."""

_BOOK = (Channel.TOP, Channel.LEVELS)
_EVER = 2**62


class VenueGaps:
    """The holes of one venue's feed, as its events come."""

    def __init__(self) -> None:
        self._events: list[FeedEvent] = []
        self._gaps: list[FeedGap] = []
        self.is_connected = False
        self.interruptions = 0
        self.overflows = 0

    def take(self, events: Iterable[FeedEvent]) -> list[FeedGap]:
        """Take the events that came since the last time; what they change of the holes."""
        found = list(events)
        self.overflows += sum(event.rows for event in found if event.kind is FeedEventKind.OVERFLOW)
        telling = [event for event in found if event.kind in _TELLING]
        if not telling:
            return []
        lost = [event for event in telling if event.kind is FeedEventKind.DISCONNECTED]
        self.interruptions += len(lost)
        lines = [event for event in telling if event.kind is not FeedEventKind.OVERFLOW]
        if lines:
            self.is_connected = lines[-1].kind is FeedEventKind.CONNECTED
        self._events = [*self._events, *telling][-KEPT_EVENTS:]
        before, self._gaps = self._gaps, feed_gaps(self._events)
        return _changed(before, self._gaps)

    def since(self, moment_us: int) -> list[FeedGap]:
        """The holes that last beyond the moment."""
        return [gap for gap in self._gaps if gap.end_us is None or gap.end_us > moment_us]


_TELLING = frozenset({FeedEventKind.CONNECTED, FeedEventKind.DISCONNECTED, FeedEventKind.OVERFLOW})


def _changed(before: Sequence[FeedGap], after: Sequence[FeedGap]) -> list[FeedGap]:
    """Holes that are new, and of those that end elsewhere the part between both ends."""
    known = set(before)
    ends = {(gap.start_us, gap.data_types, gap.symbols): gap.end_us for gap in before}
    found = []
    for gap in after:
        place = (gap.start_us, gap.data_types, gap.symbols)
        if gap in known:
            continue
        if place in ends:
            one, other = sorted(_EVER if end is None else end for end in (ends[place], gap.end_us))
            found.append(FeedGap(one, other, gap.data_types, gap.symbols))
        else:
            found.append(gap)
    return found


def touched_by(gap: FeedGap, instruments: Iterable[LiveInstrument]) -> set[str]:
    """Symbols of the instruments whose rows may be missing."""
    return {
        one.symbol
        for one in instruments
        if any(gap.touches(name, one.symbol) for name in one.channels.values())
    }


def is_seen(gaps: Sequence[FeedGap], instrument: LiveInstrument, window: Span) -> bool:
    """The feed had begun before a window, and gave up no row of it.

    A connection that was lost is another matter: a recorder that keeps files loses it too, and the
    day counts as seen.
    """
    return not any(
        (gap.start_us is None or (gap.is_overflow and gap.start_us < window.end))
        and (gap.end_us is None or gap.end_us > window.start)
        and any(gap.touches(name, instrument.symbol) for name in instrument.channels.values())
        for gap in gaps
    )


def spans_of(
    gaps: Sequence[FeedGap], data_type: DataType, symbol: str, window: Span
) -> tuple[Span, ...]:
    """The holes of an instrument's rows of one type inside a window, disjoint and in order."""
    spans = [
        Span(
            0 if gap.start_us is None else gap.start_us,
            _EVER if gap.end_us is None else gap.end_us,
        ).clipped_to(window)
        for gap in gaps
        if gap.touches(data_type, symbol)
    ]
    return tuple(merged_spans(spans))


def book_spans(
    gaps: Sequence[FeedGap], instrument: LiveInstrument, window: Span
) -> dict[Channel, tuple[Span, ...]]:
    """The holes of the best quotes and of the book levels, as far as they are in use."""
    return {
        channel: spans_of(gaps, instrument.channels[channel], instrument.symbol, window)
        for channel in _BOOK
        if channel in instrument.channels
    }
