"""Bars of many instruments made in one go are those that each gives alone, to the last bit."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from tickhandler_dagster.market.bars.facts import Sources
from tickhandler_dagster.market.bars.frame import candle_frames, candle_frames_of_many
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.timeframes import Timeframe

NAMES = ("perpetual", "future", "inverse", "unknown units")
HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def days(bars, building):
    """Facts and parts of days that differ in everything a bar depends on besides its ticks."""
    found = []
    for name in NAMES:
        instrument = bars.instrument(name)
        around = bars.surroundings(instrument)
        day = building.Build(bars.markets.own, instrument, around=around, gaps=bars.gaps).day
        parts = day.parts(tuple(Timeframe))
        found.append((dataclasses.replace(day.facts, instrument_key=name), parts))
    return [*found, *_odd_ones(*found[0])]


def _odd_ones(facts, parts):
    start, end = facts.day.start, facts.day.end
    gap = Span(start + 11 * HOUR + 7, start + 12 * HOUR)
    changes = (
        {"gaps": (gap,), "book_gaps": {Channel.LEVELS: (gap,)}, "previous": None},
        {"book_gaps": {Channel.TOP: (gap,), Channel.LEVELS: ()}, "quote_source": None},
        {"listed": Span(start + 5 * HOUR, end - 3 * HOUR), "book_source": None},
        {"listed": Span(start, start), "has_memory": False, "clock": "local"},
        {
            "sources": Sources(previous=("a",), own=("b",), following=("c", "d")),
            "closing": Closing(facts.day, has_previous=False, has_next=False),
        },
        {"is_ingested": False},
    )
    for number, change in enumerate(changes):
        named = dataclasses.replace(facts, instrument_key=f"odd {number}", **change)
        yield named, parts
    yield facts, dataclasses.replace(parts, traded=dict.fromkeys(parts.traded), found={})
    yield facts, dataclasses.replace(parts, surface={})


def test_together_they_are_what_each_is_alone(days):
    together = candle_frames_of_many(days)
    alone = [candle_frames(*day) for day in days]
    assert list(together) == list(Timeframe)
    for timeframe, frame in together.items():
        assert frame.equals(pl.concat([one[timeframe] for one in alone])), timeframe


def test_the_order_of_instruments_is_that_in_which_they_are_given(days):
    frame = candle_frames_of_many(days[3::-1])[Timeframe.H1]
    keys = frame["instrument_key"].unique(maintain_order=True).to_list()
    assert keys == [facts.instrument_key for facts, _ in days[3::-1]]


@pytest.mark.parametrize("length_us", [15_000_000, 60_000_000, HOUR], ids=str)
def test_windows_of_many_instruments_are_rows_of_their_days(bars, building, length_us):
    """One bar of each instrument in one frame, which no neighbour in it may touch."""
    start = bars.start_us + 11 * HOUR
    timeframe = next(one for one in Timeframe if one.us == length_us)
    found, expected = [], []
    for name in NAMES:
        instrument = bars.instrument(name)
        around = dataclasses.replace(
            bars.surroundings(instrument), reference=None, near=None, surface=None
        )
        windows = building.Windows(bars.markets.own, instrument, gaps=bars.gaps)
        edges = (bars.start_us, start, start + length_us)
        before, window = windows.built(edges, [around, around])
        assert before.facts.day.end == window.facts.day.start == start
        found.append((window.facts, window.parts((timeframe,))))
        day = building.Build(bars.markets.own, instrument, around=around, gaps=bars.gaps)
        rows = day.finish((timeframe,))[timeframe]
        expected.append(rows.filter(pl.col("ts_open").to_physical() == start))
    assert candle_frames_of_many(found)[timeframe].equals(pl.concat(expected))


def test_of_no_instrument_there_are_no_frames():
    assert candle_frames_of_many([]) == {}


def test_an_instrument_that_is_not_listed_then_has_no_rows(days):
    facts, parts = days[0]
    nothing = dataclasses.replace(parts, traded=dict.fromkeys(parts.traded), found={})
    gone = dataclasses.replace(facts, listed=Span(facts.day.end, facts.day.end))
    frames = candle_frames_of_many([(gone, nothing), (facts, parts)])
    assert frames[Timeframe.H24].height == 1
    assert candle_frames(gone, nothing)[Timeframe.S15].is_empty()
    assert facts.day.end - facts.day.start == US_PER_DAY
