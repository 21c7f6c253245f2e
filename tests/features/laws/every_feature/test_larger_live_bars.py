"""Larger bars that grow with the 15 s bars are the batch's roll-up, as far as that merges."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.frame import candle_frames
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.family import FamilyDay
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.streaming.larger_bars import LargerBars

NAMES = ("perpetual", "inverse", "unknown units")
WIDTH = BASE_TIMEFRAME.us
LARGER = [timeframe for timeframe in Timeframe if timeframe is not BASE_TIMEFRAME]
ABOUT_FILES = {"source_sha256", "is_final"}
NOT_MERGED = {
    feature.name
    for feature in FEATURES.values()
    if feature.merge is Merge.RECOMPUTED or feature.delay_us
}
OF_OTHERS = {
    feature.name
    for feature in FEATURES.values()
    if feature.expression is not None and NOT_MERGED & set(feature.expression.meta.root_names())
}
OF_OTHERS |= {
    feature.name
    for feature in FEATURES.values()
    if feature.expression is not None and OF_OTHERS & set(feature.expression.meta.root_names())
}


class SmallBars:
    """The 15 s windows of a day's instruments, cut out of the day's own parts."""

    def __init__(self, days):
        self.days = days
        self.start_us = next(iter(days.values()))[0].day.start

    def facts_of(self, key, span):
        facts = self.days[key][0]
        return dataclasses.replace(facts, day=span, listed=facts.listed.clipped_to(span))

    def bar(self, key, number):
        facts, parts = self.days[key]
        span = Span(*(self.start_us + (number + more) * WIDTH for more in (0, 1)))
        found = {
            delay: FamilyDay(
                {name: values[number : number + 1] for name, values in day.statistics.items()},
                day.last_arrival[number : number + 1],
                length_us=WIDTH,
            )
            for delay, day in parts.found.items()
        }
        window = dataclasses.replace(
            self.facts_of(key, span), previous=self._previous(facts, parts, span)
        )
        return window, DayParts(
            traded={BASE_TIMEFRAME: self._traded(parts, span)}, found=found, surface={}
        )

    def of(self, number, keys=None):
        return [self.bar(key, number) for key in keys or self.days]

    def batch(self, timeframe, keys=None):
        frames = [candle_frames(*self.days[key])[timeframe] for key in keys or self.days]
        return pl.concat(frames)

    @staticmethod
    def _traded(parts, span):
        traded = parts.traded[BASE_TIMEFRAME]
        keep = (traded["ts_open"] >= span.start) & (traded["ts_open"] < span.end)
        columns = {name: values[keep] for name, values in traded.columns.items()}
        return BarStatistics(columns) if keep.any() else None

    @staticmethod
    def _previous(facts, parts, span):
        traded = parts.traded[BASE_TIMEFRAME]
        before = traded["ts_open"] < span.start
        if not before.any():
            return facts.previous
        last, arrival = (traded[name][before][-1] for name in ("close_time", "last_arrival"))
        return dataclasses.replace(facts.previous, timestamp_us=int(last), arrival_us=int(arrival))


@pytest.fixture(scope="module")
def small(bars, building):
    days = {}
    for name in NAMES:
        instrument = bars.instrument(name)
        around = dataclasses.replace(bars.surroundings(instrument), surface=None)
        day = building.Build(bars.markets.own, instrument, around=around, gaps=bars.gaps).day
        parts = day.parts(tuple(Timeframe))
        days[name] = (dataclasses.replace(day.facts, instrument_key=name), parts)
    return SmallBars(days)


def grown(larger, small, numbers, keys=None):
    """The larger bars that end while so many 15 s bars are given, an hour of them at a time."""
    found = {timeframe: [] for timeframe in LARGER}
    for start in range(numbers.start, numbers.stop, 240):
        hour = numbers[start - numbers.start :][:240]
        bars = [bar for number in hour for bar in small.of(number, keys)]
        for timeframe, frame in larger.add(bars).items():
            found[timeframe].append(frame)
    return {timeframe: pl.concat(parts) for timeframe, parts in found.items() if parts}


def differing(got, batch):
    """Columns that differ: sums by more than rounding, all else at all."""
    order = ["instrument_key", "ts_open"]
    got, batch = got.sort(order), batch.sort(order)
    assert got.select(order).equals(batch.select(order))
    return [
        name
        for name in batch.columns
        if name not in NOT_MERGED | OF_OTHERS | ABOUT_FILES
        if not name.startswith("available_at")
        if not _same(got[name], batch[name])
    ]


def _same(one, other):
    """Equal, or apart by rounding, which what cancels has of the size of its largest value."""
    if not one.dtype.is_float():
        return one.equals(other)
    if not one.is_null().equals(other.is_null()):
        return False
    apart = (one - other).abs() <= 1e-12 * (other.abs() + (other.abs().max() or 0.0))
    return bool(apart.fill_null(value=True).all())


@pytest.fixture(scope="module")
def day_grown(small):
    """A day's larger bars, with a new process halfway that has the old one's state."""
    first, second = LargerBars(small.facts_of), LargerBars(small.facts_of)
    morning = grown(first, small, range(2_801))
    state = first.to_bytes()
    second.restore(state)
    assert second.to_bytes() == state
    afternoon = grown(second, small, range(2_801, 5_760))
    frames = {
        timeframe: [part[timeframe] for part in (morning, afternoon) if timeframe in part]
        for timeframe in LARGER
    }
    return {timeframe: pl.concat(parts) for timeframe, parts in frames.items()}, len(state)


@pytest.mark.parametrize("timeframe", LARGER, ids=str)
def test_what_merges_is_what_the_batch_rolls_up(small, day_grown, timeframe):
    assert differing(day_grown[0][timeframe], small.batch(timeframe)) == []


@pytest.mark.parametrize("timeframe", LARGER, ids=str)
def test_what_does_not_merge_is_not_known_yet(day_grown, timeframe):
    frame = day_grown[0][timeframe]
    assert [name for name in sorted(NOT_MERGED) if frame[name].is_not_null().any()] == []


def test_counts_and_extremes_are_the_batch_s_exactly(small, day_grown):
    exact = [
        feature.name
        for feature in FEATURES.values()
        if feature.merge in {Merge.MIN, Merge.MAX, Merge.FIRST, Merge.LAST}
        or (feature.merge is Merge.SUM and not feature.dtype.is_float())
        if feature.name not in NOT_MERGED
    ]
    for timeframe, frame in day_grown[0].items():
        order = ["instrument_key", "ts_open"]
        assert (
            frame.sort(order).select(exact).equals(small.batch(timeframe).sort(order).select(exact))
        )


def test_what_is_held_does_not_grow_with_the_day(day_grown):
    per_instrument = day_grown[1] / len(NAMES)
    assert per_instrument < 70 * 250 * 8


def test_an_amended_bar_shows_in_the_larger_bars_that_still_run(small):
    keys = ["perpetual"]
    numbers = range(2_640, 2_660)
    larger = LargerBars(small.facts_of)
    spoilt = [small.bar("perpetual", number) for number in (2_641, 2_657)]
    for number in numbers[:-1]:
        if number in {2_641, 2_657}:
            facts, parts = small.bar("perpetual", number)
            empty = dataclasses.replace(parts, traded={BASE_TIMEFRAME: None}, found={})
            larger.add([(facts, empty)])
        else:
            larger.add(small.of(number, keys))
    assert larger.add(spoilt) == {}
    found = larger.add(small.of(numbers[-1], keys))
    batch = small.batch(Timeframe.M5, keys)
    start = small.start_us + 2_640 * WIDTH
    expected = batch.filter(pl.col("ts_open").to_physical() == start)
    assert set(found) == {Timeframe.M1, Timeframe.M5}
    assert differing(found[Timeframe.M5], expected) == []


def test_bars_that_were_never_given_are_a_gap(small):
    keys = ["perpetual"]
    larger = LargerBars(small.facts_of)
    found = grown(larger, small, range(2_642, 2_660), keys)
    whole = small.facts_of("perpetual", Span(0, 0)).gaps
    assert all(gap.start > small.start_us + 2_660 * WIDTH for gap in whole)
    minute, five = (found[timeframe].row(0, named=True) for timeframe in LARGER[:2])
    assert (minute["coverage"], minute["gap_ms"]) == (0.5, 30_000.0)
    assert (five["coverage"], five["gap_ms"]) == (0.9, 30_000.0)


def test_instruments_that_end_at_different_moments_do_not_wait_for_each_other(small):
    larger = LargerBars(small.facts_of)
    ahead = grown(larger, small, range(2_640, 2_660), ["perpetual"])
    behind = grown(larger, small, range(2_640, 2_660), ["inverse"])
    frame = pl.concat([ahead[Timeframe.M5], behind[Timeframe.M5]])
    batch = small.batch(Timeframe.M5, ["perpetual", "inverse"])
    start = small.start_us + 2_640 * WIDTH
    assert differing(frame, batch.filter(pl.col("ts_open").to_physical() == start)) == []


def test_a_state_with_other_statistics_is_refused(small, monkeypatch):
    state = LargerBars(small.facts_of).to_bytes()
    monkeypatch.setattr("tickhandler_dagster.streaming.larger_bars.COLUMNS", ("base_bars",))
    with pytest.raises(CorruptData, match="other statistics"):
        LargerBars(small.facts_of).restore(state)
