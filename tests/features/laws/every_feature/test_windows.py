"""A day in windows is the day: the same bars and memory to the last bit, wherever it is cut.

What belongs here: the law over cuts, instruments and feeds. What does not: what a window refuses
and what its listing is (`tests/unit/test_windows_of_bars.py`).
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.day import Surroundings
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_tally import memory_of
from tickhandler_dagster.market.bars.frame import candle_frames_of_many
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

BAR_US = BASE_TIMEFRAME.us
BARS = US_PER_DAY // BAR_US
CARRY_BYTES = 4_096
GRACE_US = US_PER_SECOND

INSTRUMENTS = ["perpetual", "future", "inverse", "unknown units"]
FEEDS = ["linear", "inverse", "spot", "without dense ids"]
CHANNELS = {
    "trades alone": (DataType.TRADES,),
    "no trades": (DataType.QUOTES, DataType.DERIVATIVE_TICKER),
    "quotes of snapshots": (DataType.TRADES, DataType.BOOK_SNAPSHOT_5),
    "quotes alone": (DataType.TRADES, DataType.QUOTES, DataType.LIQUIDATIONS),
}
BUSY = ((0, 600), (42_250, 42_450), (46_000, 46_200), (50_300, 50_600), (86_000, 86_400))
"""Seconds of both ends of the day, of its busiest minutes, of a calm and of the outage's start."""


def edges_of(start_us, cuts):
    """Moments from numbers of bars, both ends of the day among them."""
    inside = {bar for bar in cuts if 0 < bar < BARS}
    return [start_us + bar * BAR_US for bar in sorted({0, BARS, *inside})]


def every_bar_of(spans):
    return [bar for start, end in spans for bar in range(start // 15, end // 15 + 1)]


def frames_of(windows, timeframes):
    found = candle_frames_of_many([(one.facts, one.parts(timeframes)) for one in windows])
    return {timeframe: frame.sort("ts_open") for timeframe, frame in found.items()}


def added(tallies):
    """Their sum, in another grouping than one after the other."""
    if len(tallies) == 1:
        return tallies[0]
    middle = (len(tallies) + 1) // 3 or 1
    return added(tallies[:middle]) + added(tallies[middle:])


class Cut:
    """A market whose day is cut into windows, its bars and its memory.

    Args:
        building: How bars are built.
        rows: Rows of the instrument.
        instrument: What it is.
        around: What its bars look at besides.
        others: Rows of the reference instrument and of the near future.
        gaps: Reported outages.
    """

    def __init__(self, building, rows, instrument, around=None, *, others=None, gaps=()):
        self._building, self._rows, self._instrument = building, rows, instrument
        self._around, self._others, self._gaps = around or Surroundings(), others, gaps
        self.start_us = building.start_us
        build = building.Build(rows, instrument, around=self._around, gaps=gaps)
        self.day, self.memory = build.finish(), build.memory().to_json()

    def windows(self, edges, carry=None, **options):
        """The windows, with what windows of the other instruments say."""
        own = self._building.Windows(
            self._rows, self._instrument, start_us=self.start_us, gaps=self._gaps
        )
        return list(own.built(edges, self._arounds(edges), carry, **options))

    def check(self, edges, differing):
        """The windows' bars, of all timeframes that fill each, and their memory are the day's."""
        timeframes = [one for one in Timeframe if all(edge % one.us == 0 for edge in edges)]
        windows = self.windows(edges)
        frames = frames_of(windows, timeframes)
        assert set(frames) == set(timeframes)
        for timeframe, frame in frames.items():
            assert differing(self.day[timeframe], frame) == {}, timeframe
            assert self.day[timeframe].equals(frame, null_equal=True)
        tally = added([one.tally() for one in windows])
        memory = memory_of(tally, self._around.memory, windows[-1].carry())
        assert memory.to_json() == self.memory

    def _arounds(self, edges):
        if self._others is None:
            return [self._around] * (len(edges) - 1)
        references = [one.seconds() for one in self._of_others(self._others.reference, edges)]
        nears = [None] * len(references)
        if self._around.near is not None:
            expiry_us = self._building.near_expiry_us
            nears = [
                one.near_mark() for one in self._of_others(self._others.near, edges, expiry_us)
            ]
        return [
            dataclasses.replace(self._around, reference=reference, near=near)
            for reference, near in zip(references, nears, strict=True)
        ]

    def _of_others(self, rows, edges, expiry_us=None):
        other = self._building.Instrument(expiry_us=expiry_us)
        windows = self._building.Windows(rows, other, start_us=self.start_us)
        return windows.built(edges, [Surroundings()] * (len(edges) - 1))


@pytest.fixture(scope="session")
def hand_made(bars, building):
    known = {}

    def made(name="perpetual", rows=None):
        if (name, rows) not in known:
            instrument = bars.instrument(name)
            known[name, rows] = Cut(
                building,
                bars.rows.with_only(*CHANNELS[rows]) if rows else bars.rows,
                instrument,
                bars.surroundings(instrument),
                others=bars.markets,
                gaps=bars.gaps,
            )
        return known[name, rows]

    return made


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_windows_of_one_bar_give_the_bars_of_the_day(hand_made, differing, name):
    cut = hand_made(name)
    cut.check(edges_of(cut.start_us, every_bar_of(BUSY)), differing)


@pytest.mark.parametrize("rows", CHANNELS)
def test_windows_of_fewer_channels_give_the_bars_of_the_day(hand_made, differing, rows):
    cut = hand_made(rows=rows)
    cut.check(edges_of(cut.start_us, every_bar_of(BUSY[:2])), differing)


@pytest.mark.parametrize("timeframe", [Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.H24])
def test_windows_of_one_length_give_the_bars_of_the_day(hand_made, differing, timeframe):
    cut = hand_made()
    cut.check(edges_of(cut.start_us, range(0, BARS, timeframe.us // BAR_US)), differing)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.integers(1, BARS - 1), min_size=1, max_size=12),
    step=st.sampled_from([1, 4, 20, 240]),
)
def test_any_cut_gives_the_bars_of_the_day(hand_made, differing, cuts, step):
    cut = hand_made()
    cut.check(edges_of(cut.start_us, [bar // step * step for bar in cuts]), differing)


@pytest.mark.parametrize("name", FEEDS)
def test_windows_of_a_simulated_feed_give_the_bars_of_the_day(
    foreign_rows, building, differing, name
):
    cut = Cut(building, *foreign_rows(name))
    busy = every_bar_of([(0, 300), (40_000, 40_200), (86_300, 86_400)])
    cut.check(edges_of(cut.start_us, [*busy, 777, 3_000]), differing)
    cut.check(edges_of(cut.start_us, range(0, BARS, 60)), differing)


@pytest.mark.parametrize("name", ["linear", "spot"])
def test_windows_of_a_recorded_feed_give_the_bars_of_the_day(
    foreign_rows, building, differing, recorded, name
):
    rows, instrument = foreign_rows(name, recorded)
    cut = Cut(building, rows, instrument)
    times = rows.frames[DataType.TRADES]["timestamp"].to_physical()
    bars = range((times.min() - cut.start_us) // BAR_US, (times.max() - cut.start_us) // BAR_US + 2)
    cut.check(edges_of(cut.start_us, bars), differing)
    cut.check(edges_of(cut.start_us, [bar // 4 * 4 for bar in bars]), differing)


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5])
def test_a_larger_window_can_begin_from_the_carry_of_smaller_ones(hand_made, differing, timeframe):
    cut = hand_made()
    start = cut.start_us + 42_300 * US_PER_SECOND
    small = range(start - 3 * timeframe.us, start + BAR_US, BAR_US)
    carry = cut.windows([cut.start_us, *small])[-1].carry()
    (larger,) = cut.windows([start, start + timeframe.us], carry)
    frame = frames_of([larger], [timeframe])[timeframe]
    expected = cut.day[timeframe].filter(pl.col("ts_open") == frame["ts_open"].item())
    assert differing(expected, frame) == {}


def test_a_window_without_what_comes_after_it_has_all_but_what_looks_ahead(hand_made):
    cut = hand_made()
    first = cut.start_us + 42_300 * US_PER_SECOND
    edges = [cut.start_us, *range(first, first + 9 * BAR_US, BAR_US)]
    pairs = zip(cut.windows(edges), cut.windows(edges, known_for_us=GRACE_US), strict=True)
    is_delayed_other = False
    for whole, early in pairs:
        complete, provisional = whole.parts().found, early.parts().found
        assert np.array_equal(complete[0].last_arrival, provisional[0].last_arrival)
        for name, values in complete[0].statistics.items():
            assert np.array_equal(values, provisional[0].statistics[name], equal_nan=True), name
        for timeframe, columns in complete[0].exact.items():
            for name, values in columns.items():
                other = provisional[0].exact[timeframe][name]
                assert np.array_equal(values, other, equal_nan=True), name
        is_delayed_other |= any(
            not np.array_equal(values, provisional[delay].statistics[name], equal_nan=True)
            for delay in complete
            for name, values in complete[delay].statistics.items()
        )
        assert whole.carry() == early.carry()
    assert is_delayed_other


def test_a_carry_is_small_and_survives_its_text(hand_made):
    cut = hand_made()
    start = cut.start_us + 42_300 * US_PER_SECOND
    for window in cut.windows([cut.start_us, start, start + BAR_US]):
        carry = window.carry()
        assert type(carry).from_json(carry.to_json()) == carry
        assert len(carry.to_json()) < CARRY_BYTES


def test_the_seconds_of_windows_are_those_of_the_day(hand_made, building, bars):
    cut = hand_made()
    edges = [cut.start_us + moment * US_PER_SECOND for moment in (0, 1_200, 42_000, 86_400)]
    day = building.reference_day(bars.rows)
    for window, (start, end) in zip(cut.windows(edges), pairwise(edges), strict=True):
        part = slice((start - cut.start_us) // US_PER_SECOND, (end - cut.start_us) // US_PER_SECOND)
        seconds = window.seconds()
        assert np.array_equal(seconds.returns, day.returns[part], equal_nan=True)
        assert np.array_equal(seconds.mid_arrivals, day.mid_arrivals[part])


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_day_is_remembered_with_all_that_it_tells(hand_made, name):
    memory = DayMemory.from_json(hand_made(name).memory)
    start_us = hand_made(name).start_us
    is_sized = name != "unknown units"
    today = memory.trades.days[-1]
    assert (today.start_us, today.trades > 0, bool(today.buckets)) == (start_us, True, is_sized)
    assert len(memory.trades.days) == 2
    for fit in (memory.micro_price, memory.order_flow):
        assert (fit is not None and fit.day_us == start_us) == is_sized


def test_tallies_of_windows_that_do_not_follow_each_other_have_no_sum(hand_made):
    cut = hand_made()
    windows = cut.windows(edges_of(cut.start_us, [4, 8]))
    first, _, last = (one.tally() for one in windows)
    with pytest.raises(InvalidInput, match="not of windows that follow each other"):
        first + last
