"""How far rows that one side lacks explain bars after them: as far as columns look back."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from doubles.parity_bars import (
    BARS,
    CELL,
    START,
    batch_bars,
    bumped,
    causes,
    changed,
    evidence_row,
    live_bars,
    opens,
)

from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.live.live_differences_table import LIVE_DIFFERENCES_TABLE
from tickhandler_dagster.market.live.parity import compare_live
from tickhandler_dagster.market.live.parity_columns import BY_ARRIVAL, BY_LOOK_BACK
from tickhandler_dagster.market.live.parity_past import LivePast, disturbed_bars
from tickhandler_dagster.market.timeframes import Timeframe


def bars_within(look_back, timeframe):
    """Bars after a disturbed one that still look at it; each has ten trades."""
    if look_back.is_unlimited:
        return None
    return max(-(-look_back.us // timeframe.us), look_back.bars, 1 if look_back.trades else 0)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1, Timeframe.H1], ids=str)
@pytest.mark.parametrize("look_back", BY_LOOK_BACK, ids=lambda one: one.text)
def test_a_lost_bar_explains_a_column_as_far_as_it_looks_back_and_no_further(look_back, timeframe):
    name = next(one.name for one in FEATURES.values() if one.look_back == look_back)
    assert name not in BY_ARRIVAL or look_back.us or look_back.is_unlimited
    batch = batch_bars(150, timeframe).with_columns(pl.lit(10, dtype=pl.Int64).alias("trade_count"))
    within = bars_within(look_back, timeframe)
    last, beyond = (148, None) if within is None else (3 + within, 4 + within)
    live = bumped(changed(live_bars(batch), 3, gap_ms=200.0), last, name)
    if beyond is not None:
        live = bumped(live, beyond, name)
    found = causes(compare_live(live, batch, CELL))
    expected = {(opens(3, timeframe), "lost"): ["gap_ms"], (opens(last, timeframe), "lost"): [name]}
    if beyond is not None:
        cause = "delay" if name in BY_ARRIVAL else "unexplained"
        expected[opens(beyond, timeframe), cause] = [name]
    assert found == expected


def test_what_looks_back_over_trades_reaches_through_bars_without_any():
    batch = batch_bars(60).with_columns(
        pl.when(pl.col("ts_open") == opens(40)).then(1).otherwise(0).alias("trade_count")
    )
    live = changed(live_bars(batch), 3, gap_ms=200.0)
    one, two = "interarrival_sum_us", "roll_product_sum"
    live = bumped(bumped(live, 40, one, two), 50, one, two)
    assert causes(compare_live(live, batch, CELL)) == {
        (opens(3), "lost"): ["gap_ms"],
        (opens(40), "lost"): [one, two],
        (opens(50), "lost"): [two],
        (opens(50), "unexplained"): [one],
    }


def test_lost_trades_explain_nothing_of_the_book_after_them():
    batch = batch_bars()
    live = bumped(changed(live_bars(batch), 3, close=1.0), 4, "spread_tw_bps", "kyle_x_sum")
    comparison = compare_live(live, batch, CELL, evidence=evidence_row(3, lost=1))
    assert causes(comparison) == {
        (opens(3), "lost"): ["close"],
        (opens(4), "lost"): ["kyle_x_sum"],
        (opens(4), "unexplained"): ["spread_tw_bps"],
    }


def past_of(*rows, is_remembered_otherwise=False):
    """What is known of the day before from rows of (seconds before midnight, cause, columns)."""
    schema = LIVE_DIFFERENCES_TABLE.polars_schema
    found = [
        dict.fromkeys(schema.names())
        | {"ts_open": START - dt.timedelta(seconds=before), "cause": cause, "fields": list(fields)}
        for before, cause, *fields in rows
    ]
    return LivePast(disturbed_bars(pl.DataFrame(found, schema=schema)), is_remembered_otherwise)


def test_what_was_lost_before_midnight_explains_what_looks_back_over_it():
    batch = batch_bars()
    live = bumped(bumped(live_bars(batch), 2, "spread_tw_bps"), 4, "spread_tw_bps", "mark_price")
    past = past_of((30, "lost", "gap_ms", "close"), (15, "lost", "spread_tw_bps"))
    comparison = compare_live(live, batch, CELL, past=past)
    # the last bar of the day before only looked back itself
    assert causes(comparison) == {
        (opens(2), "lost"): ["spread_tw_bps"],
        (opens(4), "lost"): ["mark_price"],
        (opens(4), "unexplained"): ["spread_tw_bps"],
    }
    assert (comparison.bars, comparison.outside) == (BARS, 0)


@pytest.mark.parametrize(
    ("row", "explains"),
    [
        ((15, "lost"), {"spread_tw_bps", "interarrival_sum_us"}),
        ((15, "revised", "id_gap_count", "close"), {"interarrival_sum_us"}),
        ((15, "depth", "gap_ms"), set()),
        ((15, "lost", "spread_tw_bps"), set()),
    ],
    ids=["a missing bar", "jumped numbers", "by nature", "it looked back itself"],
)
def test_only_rows_that_one_side_had_not_reach_over_midnight(row, explains):
    batch = batch_bars()
    names = ("interarrival_sum_us", "spread_tw_bps")
    comparison = compare_live(bumped(live_bars(batch), 0, *names), batch, CELL, past=past_of(row))
    unexplained = causes(comparison).get((opens(0), "unexplained"), [])
    assert {*names} - {*unexplained} == explains


def test_days_that_were_not_the_same_are_remembered_otherwise():
    batch = batch_bars()
    live = changed(live_bars(batch), 3, large_trade_threshold=9.0, close=1.0)
    past = past_of(is_remembered_otherwise=True)
    found = causes(compare_live(live, batch, CELL, past=past))
    assert found[opens(3), "memory"] == ["large_trade_threshold"]
    assert found[opens(3), "unexplained"] == ["close"]
