"""Bars by the reader: spans, gaps, fills, choices, joins, and what was known when."""

from __future__ import annotations

import datetime as dt
import os
import re

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidInput,
    MissingUpstream,
    NotAvailable,
)
from tickhandler_dagster.market.timeframes import Timeframe

SLOW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MINUTES = st.integers(0, 2 * 1440)


@pytest.fixture
def two_days(lab):
    for day in (lab.one, lab.two):
        lab.put_universe(day)
        for key in (lab.btc, lab.eth):
            lab.put_bars(day, key)
    return lab


def minute(lab, number):
    return lab.at(lab.one, 60 * number)


@SLOW
@given(MINUTES, MINUTES, MINUTES)
def test_spans_that_meet_add_up_to_the_span_over_both(two_days, a, b, c):
    start, middle, end = (minute(two_days, number) for number in sorted((a, b, c)))
    read = (
        [
            two_days.data.candles(two_days.btc, "1m", first, last).collect()
            for first, last in ((start, middle), (middle, end), (start, end))
        ]
        if start < middle < end
        else []
    )
    if read:
        assert_frame_equal(pl.concat(read[:2]), read[2])
        assert read[2]["ts_open"].min() == start
        assert read[2]["ts_open"].max() == end - dt.timedelta(minutes=1)


@SLOW
@given(st.integers(1, 2 * 1440), st.sampled_from(["collect", "lazy"]))
def test_what_was_known_then_is_what_a_lake_cut_there_holds(
    two_days, reader_lab, tmp_path_factory, number, form
):
    then = minute(two_days, number) + dt.timedelta(milliseconds=200)
    cut = reader_lab(tmp_path_factory.mktemp("cut") / "lake")
    for day in (cut.one, cut.two):
        whole = two_days.bars(day)
        cut.put_bars(day, frame=whole.filter(pl.col("available_at") <= then))
    question = ("1m", cut.one, cut.two + dt.timedelta(days=1))
    rows = two_days.data.candles(two_days.btc, *question, as_of=then)
    found = rows.collect() if form == "collect" else rows.lazy().collect()
    assert_frame_equal(found, cut.data.candles(cut.btc, *question).collect())
    assert found["available_at"].max() <= then


def test_a_column_that_is_known_later_is_null_until_it_is(two_days):
    then = minute(two_days, 10) + dt.timedelta(milliseconds=200)
    rows = two_days.data.candles(
        two_days.btc, "1m", two_days.one, two_days.two, columns=["price_impact_30s_bps"], as_of=then
    ).collect()
    assert rows["price_impact_30s_bps"].is_null().to_list() == [False] * 9 + [True]


def test_a_backfill_after_the_moment_changes_nothing_in_the_answer(two_days):
    then = minute(two_days, 700)
    question = (two_days.btc, "1m", two_days.one, two_days.two)
    before = two_days.data.candles(*question, as_of=then).collect()
    two_days.put_bars(two_days.one - dt.timedelta(days=1))
    two_days.put_bars(two_days.two + dt.timedelta(days=1))
    two_days.put_bars(two_days.one)  # the same bars again, written now
    two_days.put_bars(two_days.one, bar_version=lambda place: 1 + (place >= 700))
    assert_frame_equal(two_days.data.candles(*question, as_of=then).collect(), before)


def test_bars_revised_after_the_moment_are_refused_or_marked_and_never_given_as_known(two_days):
    then = minute(two_days, 700)
    question = (two_days.btc, "1m", two_days.one, two_days.two)
    before = two_days.data.candles(*question, as_of=then).collect()
    two_days.put_bars(
        two_days.one, seed=1, bar_version=lambda place: 1 + (place == 5), volume=lambda _: 77.0
    )
    with pytest.raises(NotAvailable, match=r"1 bars have changed since .* 2024-08-08T00:05:00Z"):
        two_days.data.candles(*question, as_of=then).collect()
    with pytest.raises(NotAvailable):
        two_days.data.candles(*question, as_of=then).lazy()
    masked = two_days.data.candles(*question, as_of=then, on_revised="mask").collect()
    assert masked["volume"].null_count() == 1
    assert masked.row(5, named=True)["close"] is None
    kept = two_days.data.candles(*question, as_of=then, on_revised="keep").collect()
    assert kept.height == before.height
    assert kept["volume"][5] == 77.0


def test_a_revision_that_was_in_the_lake_before_the_moment_is_what_was_known(two_days):
    two_days.put_bars(two_days.one, bar_version=2)
    then = minute(two_days, 700)
    two_days.age(then - dt.timedelta(hours=1))
    rows = two_days.data.candles(two_days.btc, "1m", two_days.one, two_days.two, as_of=then)
    assert rows.collect().height == 699


def test_a_bar_that_became_known_later_by_its_revision_is_refused_and_does_not_vanish(two_days):
    then = minute(two_days, 700)
    late = two_days.at(two_days.two)
    two_days.put_bars(
        two_days.one,
        bar_version=lambda place: 1 + (place == 5),
        available_at=lambda place: (
            late if place == 5 else two_days.at(two_days.one, 60 * place + 60.2)
        ),
    )
    with pytest.raises(NotAvailable, match="00:05:00Z"):
        two_days.data.candles(two_days.btc, "1m", two_days.one, two_days.two, as_of=then).collect()


def test_provisional_bars_are_given_only_to_who_asks_and_no_promise_is_made_over_them(two_days):
    two_days.put_bars(two_days.one, is_final=lambda place: place < 1430)
    question = (two_days.btc, "1m", two_days.one, two_days.two)
    assert two_days.data.candles(*question).collect().height == 1430
    assert two_days.data.candles(*question, include_provisional=True).collect().height == 1440
    with pytest.raises(NotAvailable, match="10 bars are not final"):
        two_days.data.candles(*question, as_of=two_days.at(two_days.two, 60)).collect()
    asked = two_days.data.candles(
        *question, as_of=two_days.at(two_days.two, 60), include_provisional=True
    )
    assert asked.collect().height == 1440


@pytest.mark.parametrize(
    "hole",
    [
        {"status": lambda place: "vendor_gap" if place == 7 else "traded"},
        {"status": lambda place: "not_ingested" if place == 7 else "traded"},
        {"gap_ms": lambda place: 5.0 * (place == 7)},
    ],
)
def test_a_bar_with_a_hole_is_refused_masked_or_kept(two_days, hole):
    two_days.put_bars(two_days.one, **hole)
    question = (two_days.btc, "1m", two_days.one, two_days.two)
    with pytest.raises(CorruptData, match=r"1 bars have holes .*2024-08-08T00:07:00Z"):
        two_days.data.candles(*question).collect()
    with pytest.raises(CorruptData):
        two_days.data.candles(*question).lazy()
    masked = two_days.data.candles(*question, on_gap="mask").collect()
    assert masked.filter(pl.col("close").is_null())["ts_open"].to_list() == [minute(two_days, 7)]
    assert masked["status"].null_count() == 0
    kept = two_days.data.candles(*question, on_gap="keep").collect()
    assert kept["close"].null_count() == 0
    beside = two_days.data.candles(two_days.btc, "1m", minute(two_days, 8), two_days.two)
    assert beside.collect().height == 1432


def test_empty_bars_are_null_or_filled_or_left_out_and_no_fill_passes_a_hole(two_days):
    kinds = {0: "no_trade", 2: "no_trade", 3: "vendor_gap", 4: "no_trade"}
    frame = two_days.bars(two_days.one, status=lambda place: kinds.get(place, "traded"))
    empty = pl.col("status") != "traded"
    prices = ["open", "high", "low", "close"]
    frame = frame.with_columns(pl.when(~empty).then(pl.col(name)).alias(name) for name in prices)
    two_days.put_bars(two_days.one, frame=frame)
    question = (two_days.btc, "1m", two_days.one, minute(two_days, 6))

    def read(fill):
        return two_days.data.candles(*question, fill=fill, on_gap="keep").collect()

    assert read("null")["close"].is_null().to_list() == [True, False, True, True, True, False]
    filled = read("ffill")
    assert filled["close"].is_null().to_list() == [True, False, False, True, True, False]
    assert filled.row(2, named=True)["high"] == filled["close"][1]
    assert read("drop")["ts_open"].to_list() == [minute(two_days, n) for n in (1, 3, 5)]


def test_a_larger_timeframe_is_joined_when_it_was_known_and_not_when_it_opened(two_days):
    hours = two_days.put_bars(two_days.one, timeframe=Timeframe.H1)
    rows = two_days.data.candles(
        two_days.btc,
        "1m",
        two_days.one,
        two_days.two,
        with_timeframes={"1h": ["close", "price_impact_30s_bps"]},
    ).collect()
    assert (
        rows["available_at_1h"].drop_nulls()
        <= rows.filter(pl.col("available_at_1h").is_not_null())["available_at"]
    ).all()
    assert rows["close_1h"][:59].null_count() == 59
    assert rows["close_1h"][59] == hours["close"][0]  # the minute that ends with the hour
    assert rows["close_1h"][118] == hours["close"][0]
    assert rows["close_1h"][119] == hours["close"][1]
    assert rows["price_impact_30s_bps_1h"].is_null()[59]  # known half a minute after the hour
    assert rows["price_impact_30s_bps_1h"][60] == hours["price_impact_30s_bps"][0]


def test_a_provisional_hour_is_joined_without_values_and_no_older_one_in_its_place(two_days):
    two_days.put_bars(two_days.one, timeframe=Timeframe.H1, is_final=lambda place: place != 3)
    question = (two_days.btc, "1m", two_days.one, two_days.two)
    rows = two_days.data.candles(*question, with_timeframes={"1h": ["close"]}).collect()
    assert rows["close_1h"][238:241].is_null().to_list() == [False, True, True]
    assert rows["close_1h"].is_null().sum() == 59 + 60
    asked = two_days.data.candles(
        *question, with_timeframes={"1h": ["close"]}, include_provisional=True
    )
    assert asked.collect()["close_1h"].is_null().sum() == 59


def test_a_join_never_knows_more_than_a_lake_that_ends_there(two_days, reader_lab, tmp_path):
    hours = two_days.put_bars(two_days.one, timeframe=Timeframe.H1)
    then = minute(two_days, 200) + dt.timedelta(milliseconds=200)
    cut = reader_lab(tmp_path / "cut")
    cut.put_bars(cut.one, frame=two_days.bars(cut.one).filter(pl.col("available_at") <= then))
    cut.put_bars(
        cut.one, timeframe=Timeframe.H1, frame=hours.filter(pl.col("available_at") <= then)
    )
    question = ("1m", cut.one, cut.two)
    joined = {"1h": ["close"]}
    found = two_days.data.candles(two_days.btc, *question, with_timeframes=joined).collect()
    known = cut.data.candles(cut.btc, *question, with_timeframes=joined).collect()
    assert_frame_equal(found.head(known.height), known)


def test_naive_times_unknown_names_and_reversed_spans_are_refused_in_a_sentence(two_days):
    data, btc = two_days.data, two_days.btc
    naive = dt.datetime(2024, 8, 8)  # noqa: DTZ001  (what is refused)
    for call, said in (
        (lambda: data.candles(btc, "1m", naive, two_days.two), "does not say of which zone"),
        (lambda: data.candles(btc, "1m", "2024-08-08T00:00", two_days.two), "of which zone"),
        (lambda: data.candles(btc, "1m", "yesterday", two_days.two), "not a time"),
        (lambda: data.candles(btc, "1m", two_days.two, two_days.one), "before the start"),
        (lambda: data.candles(btc, "2m", two_days.one, two_days.two), "not a timeframe"),
        (lambda: data.candles(btc, "1m", two_days.one, two_days.two, on_gap="drop"), "no such"),
        (lambda: data.candles(None, "1m", two_days.one, two_days.two), "none chosen"),
        (lambda: data.candles(None, "1m", two_days.one, two_days.two, tipe="X"), "type"),
        (
            lambda: data.candles(btc, "1m", two_days.one, two_days.two, columns=["clos"]).collect(),
            "Did you mean close",
        ),
    ):
        with pytest.raises(InvalidInput, match=said):
            call()


def test_what_is_missing_is_named_with_the_command_that_makes_it(two_days):
    later = two_days.two + dt.timedelta(days=2)
    with pytest.raises(MissingUpstream, match=r"2024-08-10\|binance .*--start-date 2024-08-10"):
        two_days.data.candles(two_days.btc, "1m", two_days.one, later).collect()
    sol = "BINANCE:SPOT_PAIR:SOL-USDT"
    with pytest.raises(InvalidInput, match="no such instrument"):
        two_days.data.candles(sol, "1m", two_days.one, two_days.two).collect()
    two_days.put_universe(two_days.one, two_days.instrument(sol))
    with pytest.raises(MissingUpstream, match=f"{sol} .listed and has no bars"):
        two_days.data.candles(sol, "1m", two_days.one, two_days.two).collect()


def test_patterns_and_attributes_choose_day_by_day_from_what_was_listed(two_days):
    two_days.put_universe(two_days.two, two_days.instrument(two_days.eth))
    end = two_days.two + dt.timedelta(days=1)
    found = two_days.data.candles("binance:*:*-USDT", "1m", two_days.one, end).collect()
    counts = dict(found.group_by("instrument_key").len().iter_rows())
    assert counts == {two_days.btc: 1440, two_days.eth: 2880}
    by_base = two_days.data.candles(None, "1m", two_days.one, end, base="btc").collect()
    assert by_base["instrument_key"].unique().to_list() == [two_days.btc]
    assert two_days.data.candles("*:BTC-USDT", "1m", two_days.one, two_days.two).collect().height


def test_every_form_holds_the_same_rows_and_lazy_filters_reach_the_files(two_days):
    rows = two_days.data.candles(two_days.btc, "1m", two_days.one, two_days.two)
    frame = rows.collect()
    assert_frame_equal(pl.DataFrame(rows.arrow()).select(frame.columns), frame)
    assert_frame_equal(rows.lazy().collect(), frame)
    pandas = rows.pandas()
    assert len(pandas) == frame.height
    assert str(pandas["ts_open"].dt.tz) == "UTC"
    total = rows.duckdb().query("rows", "select sum(volume) from rows").fetchone()
    assert total[0] == pytest.approx(frame["volume"].sum())
    high = frame["close"].quantile(0.9)
    narrow = rows.lazy().filter(pl.col("close") > high).select("ts_open", "close")
    assert narrow.collect().height == frame.filter(pl.col("close") > high).height
    columns = int(re.search(r"PROJECT (\d+)/", narrow.explain()).group(1))
    assert columns <= 5  # of more than three hundred: what was asked for and what rules need
    plan = rows.plan()
    assert (plan.files, plan.row_groups, plan.rows) == (1, 1, 1440)


def test_pandas_is_asked_for_in_a_sentence_where_it_is_not_installed(two_days, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    rows = two_days.data.candles(two_days.btc, "1m", two_days.one, two_days.two)
    with pytest.raises(InvalidInput, match="not installed"):
        rows.pandas()


@pytest.mark.parametrize(
    ("instruments", "attributes", "count"),  # a manifest, a universe for what is no key, and bars
    [
        ("BINANCE:SPOT_PAIR:BTC-USDT", {}, 2),
        ("BINANCE:*:*-USDT", {}, 4),
        (None, {"venue": "binance", "base": "ETH"}, 3),
    ],
)
def test_how_many_files_are_touched_does_not_depend_on_how_much_the_lake_holds(
    two_days, monkeypatch, instruments, attributes, count
):
    store, asked = two_days.store, []
    local = type(store).local
    monkeypatch.setattr(
        type(store), "local", lambda self, path: asked.append(path) or local(self, path)
    )
    question = (instruments, "1m", two_days.one, two_days.two)

    def touched():
        asked.clear()
        with monkeypatch.context() as patch:
            for name in ("listdir", "scandir"):
                patch.setattr(os, name, lambda *_: pytest.fail("a folder was listed"))
            two_days.data.candles(*question, **attributes).collect()
        return sorted(asked)

    alone = touched()
    assert len(alone) == count
    for number in range(3, 6):
        day = two_days.one + dt.timedelta(days=number)
        two_days.put_universe(day)
        two_days.put_bars(day)
    assert touched() == alone
