"""What was known then, as laws over histories of a lake: an answer once given stays, or is refused.

The lake is written again after the moment in every way that runs write one: the same bars, bars of
which a value changed, bars that became known later, other days, other timeframes.
"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tickhandler_dagster.market.errors import NotAvailable
from tickhandler_dagster.market.timeframes import Timeframe

SLOW = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BARS = Timeframe.H4.bars_per_day
LATE = "price_impact_30s_bps"
COLUMNS = ["close", "volume", LATE]
MINUTES = st.integers(1, 1440)
CHANGES = st.sampled_from(["again", "value", "later", "earlier day", "day after", "hours"])


class History:
    """A lake of 4h bars of a day, written again and again."""

    def __init__(self, lab):
        self.lab = lab
        lab.put_universe(lab.one, lab.instrument(lab.btc))
        self.frame = lab.put_bars(lab.one, timeframe=Timeframe.H4)

    def change(self, kind, place):
        lab, nth = self.lab, pl.int_range(pl.len()) == place
        if kind == "earlier day":
            lab.put_bars(lab.one - dt.timedelta(days=1), timeframe=Timeframe.H4)
        elif kind == "day after":
            lab.put_bars(lab.two, timeframe=Timeframe.H4)
        elif kind == "hours":
            lab.put_bars(lab.one, timeframe=Timeframe.H1)
        else:
            if kind != "again":
                name = "close" if kind == "value" else "available_at"
                other = pl.col("low") if kind == "value" else pl.col(name) + pl.duration(hours=9)
                self.frame = self.frame.with_columns(
                    pl.when(nth).then(other).otherwise(name).alias(name),
                    pl.col("bar_version") + nth.cast(pl.Int32()),
                )
            lab.put_bars(lab.one, timeframe=Timeframe.H4, frame=self.frame)

    def read(self, then, **options):
        lab = self.lab
        rows = lab.data.candles(
            lab.btc, "4h", lab.one, lab.two, columns=COLUMNS, as_of=then, **options
        )
        return rows.collect()


@SLOW
@given(MINUTES, st.lists(st.tuples(CHANGES, st.integers(0, BARS - 1)), min_size=1, max_size=4))
def test_an_answer_once_given_stays_or_is_refused_whatever_is_written_later(
    reader_lab, tmp_path_factory, minute, changes
):
    history = History(reader_lab(tmp_path_factory.mktemp("history") / "lake"))
    then = history.lab.at(history.lab.one, 60 * minute)
    before = history.read(then)
    known = before["available_at"] <= then
    assert known.all()
    for kind, place in changes:
        history.change(kind, place)
        try:
            after = history.read(then)
        except NotAvailable:
            assert kind in {"value", "later"} or history.frame["bar_version"].max() > 1
        else:
            assert_frame_equal(after, before)
        masked = history.read(then, on_revised="mask")
        for name in COLUMNS:  # what a mask leaves is what was given
            kept = masked.join(before, on="ts_open", suffix="_before").filter(
                pl.col(name).is_not_null()
            )
            assert kept[name].equals(kept[f"{name}_before"])


@SLOW
@given(MINUTES)
def test_no_value_of_an_answer_was_known_only_after_the_moment(
    reader_lab, tmp_path_factory, minute
):
    history = History(reader_lab(tmp_path_factory.mktemp("history") / "lake"))
    then = history.lab.at(history.lab.one, 60 * minute + 10)
    found = history.read(then)
    every = history.frame.filter(pl.col("available_at") <= then)
    assert found["ts_open"].to_list() == every["ts_open"].to_list()  # and nothing known is left out
    is_late = every["available_at_30s"] > then
    assert found[LATE].is_null().to_list() == is_late.to_list()


@pytest.fixture
def hours(lab):
    lengths = (Timeframe.H1, Timeframe.H4)
    return lab, {length: lab.put_bars(lab.one, timeframe=length) for length in lengths}


@settings(SLOW, max_examples=6)
@given(MINUTES)
def test_a_join_as_of_a_moment_is_the_join_of_a_lake_that_ends_there(
    hours, reader_lab, tmp_path_factory, minute
):
    whole, frames = hours
    cut = reader_lab(tmp_path_factory.mktemp("cut") / "lake")
    then = whole.at(whole.one, 60 * minute)
    for length, frame in frames.items():
        cut.put_bars(cut.one, frame=frame.filter(pl.col("available_at") <= then), timeframe=length)
    question = ("1h", whole.one, whole.two)
    beside = {"columns": ["close"], "with_timeframes": {"4h": ["close", LATE]}}
    found = whole.data.candles(whole.btc, *question, as_of=then, **beside).collect()
    assert_frame_equal(found, cut.data.candles(cut.btc, *question, **beside).collect())


def test_a_change_that_came_before_the_moment_is_what_was_known(lab):
    history = History(lab)
    history.change("value", 1)
    then = lab.at(lab.one, 80_000)
    with pytest.raises(NotAvailable, match="changed since"):
        history.read(then)
    lab.age(then)
    assert history.read(then)["close"][1] == history.frame["low"][1]
