"""Larger bars against what the 15 s bars add up to: real bars agree, any change is named."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.audits.roll_up import (
    COLUMNS,
    ROLLED_UP,
    ROUNDING,
    roll_up_differences,
)
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.catalog import Incident
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe

LARGER = [timeframe for timeframe in Timeframe if timeframe is not Timeframe.S15]
MOMENTS = ("available_at", "available_at_1s", "available_at_5s", "available_at_30s")
PLANTED = sorted(set(COLUMNS) - {"ts_open"})


def audited(bars, timeframe):
    return roll_up_differences(bars[Timeframe.S15], bars[timeframe], timeframe)


def stored(lab, day):
    return {timeframe: lab.bars(day, timeframe).select(COLUMNS) for timeframe in Timeframe}


@pytest.fixture(scope="module")
def day_of_bars(new_lab, tmp_path_factory):
    """A day's bars of every channel, with the day before in the lake."""
    lab = new_lab(tmp_path_factory.mktemp("roll_up"))
    for day in (lab.one, lab.two):
        lab.put_market(day, trades=600, states=900)
        lab.build(day, timeframes=tuple(Timeframe))
    return stored(lab, lab.two)


@pytest.mark.parametrize("timeframe", LARGER)
@pytest.mark.parametrize("seed", range(3))
def test_the_bars_of_any_day_are_what_their_smaller_bars_add_up_to(make_lab, seed, timeframe):
    lab = make_lab()
    lab.put_market(lab.one, seed=seed)
    lab.build(timeframes=(Timeframe.S15, timeframe))
    bars = {one: lab.bars(lab.one, one).select(COLUMNS) for one in (Timeframe.S15, timeframe)}
    assert audited(bars, timeframe) == []


@pytest.mark.parametrize(
    "change",
    [
        {"available_from": dt.datetime(2024, 8, 8, 11, 7, tzinfo=dt.UTC)},
        {"available_to": dt.datetime(2024, 8, 8, 11, 7, tzinfo=dt.UTC)},
        {"contract_size": None},
        {"contract_size": 100.0, "is_inverse": True},
    ],
    ids=["listed inside the day", "delisted inside the day", "unknown units", "inverse"],
)
def test_every_kind_of_instrument_rolls_up(make_lab, change):
    lab = make_lab()
    lab.listed = [lab.instrument(**change)]
    lab.put_market(lab.one)
    lab.build(timeframes=tuple(Timeframe))
    assert [one for timeframe in LARGER for one in audited(stored(lab, lab.one), timeframe)] == []


def test_a_gap_that_the_vendor_reports_rolls_up(make_lab):
    lab = make_lab()
    lab.put_market(lab.one)
    gap = Incident(lab.at(lab.one, 36_007), lab.at(lab.one, 37_111), "resolved", "down")
    catalog = dataclasses.replace(lab.catalog, incidents=(gap,))
    lab.build(timeframes=tuple(Timeframe), catalog=catalog)
    bars = stored(lab, lab.one)
    assert bars[Timeframe.H24]["gap_ms"].to_list() == [1_104_000]
    assert [one for timeframe in LARGER for one in audited(bars, timeframe)] == []


def test_a_day_without_ticks_rolls_up(make_lab):
    lab = make_lab()
    lab.put_market(lab.one, DataType.QUOTES)
    lab.put(lab.one, DataType.TRADES, DataState.FAILED)
    lab.build(timeframes=tuple(Timeframe))
    bars = stored(lab, lab.one)
    assert set(bars[Timeframe.H24]["status"]) == {"not_ingested"}
    assert [one for timeframe in LARGER for one in audited(bars, timeframe)] == []


def test_every_feature_that_merges_by_a_plain_rule_is_compared():
    plain = {Merge.SUM, Merge.MIN, Merge.MAX, Merge.FIRST, Merge.LAST}
    assert set(ROLLED_UP) == {name for name, one in FEATURES.items() if one.merge in plain}
    assert set(ROLLED_UP) < set(COLUMNS) <= set(CANDLE_TABLE.names)


def changed(value, dtype, name):
    """Another value of the type; when a bar was known may only be wrong by being too early."""
    if dtype == pl.Boolean:
        return not value
    if dtype == pl.String:
        return f"{value}?"
    if dtype.is_temporal():
        value = value or dt.datetime(2024, 8, 9, tzinfo=dt.UTC)
        step = -dt.timedelta(days=2) if name in MOMENTS else dt.timedelta(microseconds=1)
        return value + step
    return 1 if value is None else value + max(abs(value) * 1e-6, 1 if dtype.is_integer() else 1e-3)


def with_one_changed(frame, name, row):
    dtype = frame.schema[name]
    value = changed(frame[name][row], dtype, name)
    is_row = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(is_row).then(pl.lit(value, dtype)).otherwise(pl.col(name)).alias(name)
    )


@given(
    name=st.sampled_from(PLANTED),
    timeframe=st.sampled_from(LARGER),
    place=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=120)
def test_one_changed_value_of_one_bar_is_found_and_named(day_of_bars, name, timeframe, place):
    frame = day_of_bars[timeframe]
    row = int(place * frame.height)
    wrong = day_of_bars | {timeframe: with_one_changed(frame, name, row)}
    found = audited(wrong, timeframe)
    assert [(one.column, one.opens) for one in found] == [(name, (frame["ts_open"][row],))]
    assert found[0].sample.startswith(f"{timeframe} {name} at {frame['ts_open'][row]:%H:%M:%S} is ")


@pytest.mark.parametrize("name", PLANTED)
def test_every_column_can_fail(day_of_bars, name):
    frame = day_of_bars[Timeframe.H1]
    wrong = day_of_bars | {Timeframe.H1: with_one_changed(frame, name, 12)}
    assert [one.column for one in audited(wrong, Timeframe.H1)] == [name]


@pytest.mark.parametrize("name", ["volume", "trade_count", "high", "ofi", "spread_bps_us"])
def test_a_changed_15s_bar_is_found_in_all_bars_around_it(day_of_bars, name):
    base = day_of_bars[Timeframe.S15]
    row = int(base[name].fill_null(0).arg_max())
    value = base[name][row] * 2
    is_row = pl.int_range(pl.len()) == row
    wrong = base.with_columns(pl.when(is_row).then(value).otherwise(pl.col(name)).alias(name))
    for timeframe in LARGER:
        found = audited(day_of_bars | {Timeframe.S15: wrong}, timeframe)
        assert [one.column for one in found] == [name]
        assert len(found[0].opens) == 1
        assert found[0].opens[0] <= base["ts_open"][row]


def test_a_bar_too_few_or_too_many_is_found(day_of_bars):
    hours = day_of_bars[Timeframe.H1]
    found = audited(
        day_of_bars | {Timeframe.H1: hours.filter(pl.col("ts_open").dt.hour() != 5)}, Timeframe.H1
    )
    assert [(one.column, one.sample) for one in found] == [
        ("ts_open", "1h bar at 05:00:00 is not stored")
    ]
    later = pl.concat([hours, hours.tail(1).with_columns(pl.col("ts_open") + pl.duration(hours=1))])
    found = audited(day_of_bars | {Timeframe.H1: later}, Timeframe.H1)
    assert [one.sample for one in found] == ["1h bar at 00:00:00 has no 15 s bars"]


def test_a_sum_may_differ_by_its_rounding_and_no_more(day_of_bars):
    bars = day_of_bars[Timeframe.H24]
    for factor, names in ((1 + ROUNDING / 2, []), (1 + ROUNDING * 3, ["volume"])):
        wrong = bars.with_columns(pl.col("volume") * factor)
        found = audited(day_of_bars | {Timeframe.H24: wrong}, Timeframe.H24)
        assert [one.column for one in found] == names
    prices = bars.with_columns(high=np.nextafter(bars["high"][0], np.inf))
    found = audited(day_of_bars | {Timeframe.H24: prices}, Timeframe.H24)
    assert [one.column for one in found] == ["high"]
