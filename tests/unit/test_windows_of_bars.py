"""What a window of bars refuses, and which bars it has when the listing is not the whole day."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId

START = 19_943 * US_PER_DAY
DAY = Span(START, START + US_PER_DAY)
HOUR_US, WINDOW_US = Timeframe.H1.us, Timeframe.H4.us
BAR_US = BASE_TIMEFRAME.us


def facts(span=DAY, listed=DAY):
    return DayFacts(
        instrument_key="BINANCE:SPOT_PAIR:BTC-USDT",
        venue=VenueId.BINANCE,
        day=span,
        listed=listed,
        terms=ContractTerms(1.0),
        closing=Closing(DAY, has_previous=True, has_next=True),
    )


def trades(*moments):
    times = np.array(moments, dtype=np.int64)
    ones = np.ones(len(times))
    sides = ones.astype(np.int8)
    return TradeTicks(times, times + 5_000, np.arange(len(times)), sides, 100 * ones, ones)


def built(span, listed, moments, carry=None):
    bars = DayBars(facts(span, listed), carry=carry)
    inside = [moment for moment in moments if span.start <= moment < span.end]
    if inside:
        bars.add_trades(trades(*inside))
    return bars


def in_windows(listed, moments):
    """The 15 s bars of the day out of windows of four hours."""
    frames, carry = [], None
    for start, end in pairwise(range(START, DAY.end + WINDOW_US, WINDOW_US)):
        bars = built(Span(start, end), listed, moments, carry)
        frames.append(bars.finish([BASE_TIMEFRAME])[BASE_TIMEFRAME])
        carry = bars.carry()
    return pl.concat(frames)


@pytest.mark.parametrize(
    "moments",
    [(), (11.5,), (3.0, 11.99), (12.0, 14.2), (9.7, 13.0, 17.9), (18.5,)],
    ids=lambda hours: " and ".join(map(str, hours)) or "no trade",
)
def test_windows_know_that_a_trade_before_the_listing_began_it(moments):
    listed = Span(START + 12 * HOUR_US, DAY.end)
    times = [START + int(hour * HOUR_US) for hour in moments]
    whole = built(DAY, listed, times).finish([BASE_TIMEFRAME])[BASE_TIMEFRAME]
    assert whole.equals(in_windows(listed, times), null_equal=True)


def test_bars_end_with_the_listing():
    listed = Span(START + 2 * HOUR_US + 7, START + 5 * HOUR_US + 7)
    times = [START + 3 * HOUR_US]
    whole = built(DAY, listed, times).finish([BASE_TIMEFRAME])[BASE_TIMEFRAME]
    assert whole.equals(in_windows(listed, times), null_equal=True)
    assert whole.height == 3 * HOUR_US // BAR_US + 1


@pytest.mark.parametrize(
    "span",
    [
        Span(START + 1, START + 1 + BAR_US),
        Span(START, START + BAR_US + 1),
        Span(START, START),
        Span(START, START - BAR_US),
        Span(DAY.end - BAR_US, DAY.end + BAR_US),
    ],
    ids=["begins inside a bar", "ends inside a bar", "empty", "backwards", "over midnight"],
)
def test_a_window_is_whole_bars_of_one_day(span):
    with pytest.raises(InvalidInput, match="not a span of whole 15s bars inside a UTC day"):
        DayBars(facts(span))


def test_a_window_takes_over_the_carry_of_its_own_first_moment():
    carry = DayBars(facts(Span(START, START + BAR_US))).carry()
    assert carry.at_us == START + BAR_US
    late = Span(START + 2 * BAR_US, START + 3 * BAR_US)
    with pytest.raises(InvalidInput, match=f"the carry is that of {carry.at_us} µs"):
        DayBars(facts(late), carry=carry)


def test_a_day_takes_over_no_carry():
    carry = DayBars(facts(Span(DAY.end - BAR_US, DAY.end))).carry()
    following = Span(DAY.end, DAY.end + BAR_US)
    with pytest.raises(InvalidInput, match="a day takes nothing over but memory"):
        DayBars(facts(following), carry=carry)


def test_a_window_has_no_memory():
    bars = DayBars(facts(Span(START, START + HOUR_US)))
    with pytest.raises(InvalidInput, match="a window leaves no memory to the next day"):
        bars.memory()


def test_a_window_with_a_carry_does_not_look_at_the_rows_before_it():
    first = built(Span(START, START + BAR_US), DAY, [START + 5])
    span, moments = Span(START + BAR_US, START + 2 * BAR_US), [START + BAR_US + 9]
    primed, plain = (DayBars(facts(span), carry=first.carry()) for _ in range(2))
    other = trades(START + 7)
    primed.prime_trades(dataclasses.replace(other, price=other.price * 2))
    for bars in (primed, plain):
        bars.add_trades(trades(*moments))
    frames = [bars.finish()[BASE_TIMEFRAME] for bars in (primed, plain)]
    assert frames[0].equals(frames[1], null_equal=True)


def test_a_carry_without_anything_survives_its_text():
    carry = DayBars(facts(Span(START, START + BAR_US))).carry()
    assert Carry.from_json(carry.to_json()) == carry


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, US_PER_DAY, tuple(Timeframe)),
        (0, BAR_US, (Timeframe.S15,)),
        (BAR_US, Timeframe.M1.us, (Timeframe.S15,)),
        (HOUR_US, HOUR_US, tuple(Timeframe)[:5]),
        (HOUR_US, 4 * HOUR_US, tuple(Timeframe)[:5]),
        (8 * HOUR_US, 8 * HOUR_US, tuple(Timeframe)[:6]),
    ],
)
def test_a_timeframe_fills_a_window_that_begins_and_ends_with_its_bars(start, length, expected):
    grid = DayGrid(START + start, length_us=length)
    assert grid.timeframes == expected
    assert grid.day_start_us == START
    assert [grid.bars_of(one) for one in expected] == [length // one.us for one in expected]
