"""What a feed says besides ticks."""

from __future__ import annotations

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.live.feed_events import (
    FEED_EVENT_MEANINGS,
    FeedEvent,
    FeedEventKind,
    feed_gaps,
    parse_feed_event,
)
from tickhandler_dagster.market.venues import VenueId

UP, DOWN = FeedEventKind.CONNECTED, FeedEventKind.DISCONNECTED


def event(kind, at, connection="a", **fields):
    return FeedEvent(kind=kind, venue=VenueId.DERIBIT, at_us=at, connection=connection, **fields)


def spans(*events):
    return [(gap.start_us, gap.end_us) for gap in feed_gaps(events)]


def test_every_kind_of_event_has_a_meaning():
    assert set(FEED_EVENT_MEANINGS) == set(FeedEventKind)


@pytest.mark.parametrize("kind", FeedEventKind)
def test_an_event_is_the_line_it_was_written_as(kind):
    said = event(
        kind, 7, data_types=(DataType.TRADES,), symbols=("X",), last_arrival_us=0, rows=3, text="y"
    )
    assert parse_feed_event(said.as_line()) == said
    assert said.as_line().endswith(b"}\n")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"kind":"connected"}',
        b'{"kind":"fine","venue":"deribit","at_us":1}',
        b'{"kind":"connected","venue":"nowhere","at_us":1}',
        b'{"kind":"connected","venue":"deribit","at_us":"1"}',
        b'{"kind":"connected","venue":"deribit","at_us":true}',
        b'{"kind":"connected","venue":"deribit","at_us":1,"symbols":"X"}',
        b'{"kind":"connected","venue":"deribit","at_us":1,"data_types":["x"]}',
        b"\xff",
    ],
)
def test_a_line_that_says_no_event_is_named(line):
    with pytest.raises(CorruptData, match="feed event: not an event"):
        parse_feed_event(line)


def test_a_word_about_all_connections_opens_a_hole_in_each_that_was_up():
    lost = event(DOWN, 50, connection="", last_arrival_us=45)
    events = [event(UP, 1), event(UP, 2, "b"), lost, event(UP, 60), event(UP, 70, "b")]
    assert spans(*events) == [(None, 1), (None, 2), (45, 60), (45, 70)]


def test_a_hole_that_lasts_is_open_to_the_right_and_touches_what_its_connection_carried():
    events = [
        event(UP, 1, data_types=(DataType.TRADES,), symbols=("X",)),
        event(DOWN, 9, last_arrival_us=8),
    ]
    gap = feed_gaps(events)[-1]
    assert (gap.start_us, gap.end_us) == (8, None)
    assert gap.touches(DataType.TRADES, "X")
    assert not gap.touches(DataType.TRADES, "Y")
    assert not gap.touches(DataType.QUOTES, "X")


def test_a_word_said_twice_counts_once():
    events = [event(UP, 1), event(DOWN, 9, last_arrival_us=8), event(UP, 12)]
    twice = [said for said in events for _ in range(2)]
    assert spans(*twice) == spans(*events) == [(None, 1), (8, 12)]


def test_a_hole_of_rows_that_were_given_up_is_told_from_one_of_a_lost_connection():
    given_up = event(FeedEventKind.OVERFLOW, 30, last_arrival_us=20, rows=3)
    lost, found = event(DOWN, 50, last_arrival_us=45), event(UP, 60)
    gaps = feed_gaps([event(UP, 10), given_up, lost, found])
    assert [(gap.start_us, gap.is_overflow) for gap in gaps] == [
        (None, False),
        (20, True),
        (45, False),
    ]
