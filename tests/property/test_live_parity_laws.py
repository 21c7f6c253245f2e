"""Live bars against the batch's: equal bars agree, and every planted difference has its cause."""

from __future__ import annotations

import polars as pl
import pytest
from doubles.parity_bars import (
    BARS,
    CELL,
    KEY,
    batch_bars,
    bumped,
    causes,
    changed,
    evidence_row,
    live_bars,
    opens,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.live.live_candle_table import (
    LIVE_CANDLE_TABLE,
    NOT_COMPARABLE,
    LiveStage,
)
from tickhandler_dagster.market.live.live_differences_table import (
    BY_NATURE,
    LIVE_DIFFERENCE_MEANINGS,
    LIVE_DIFFERENCES_TABLE,
    LiveDifferenceCause,
)
from tickhandler_dagster.market.live.parity import compare_live
from tickhandler_dagster.market.live.parity_columns import (
    COMPARED,
    provisional_nulls,
)
from tickhandler_dagster.market.live.parity_findings import RULE_OF, live_findings
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe


def test_the_same_bars_agree_in_every_column():
    batch = batch_bars()
    comparison = compare_live(live_bars(batch), batch, CELL)
    assert comparison.differences.is_empty()
    assert (comparison.bars, comparison.equal, comparison.agreeing) == (BARS, BARS, BARS)
    assert live_findings([comparison], CELL) == []


@settings(max_examples=50)
@given(name=st.sampled_from(COMPARED), number=st.integers(0, BARS - 1))
def test_no_difference_goes_unseen_and_each_has_one_cause(name, number):
    batch = batch_bars()
    live = bumped(live_bars(batch), number, name)
    comparison = compare_live(live, batch, CELL)
    found = causes(comparison)
    assert [fields for (at, _), fields in found.items() if at == opens(number)] == [[name]]
    assert comparison.equal == BARS - 1
    assert SchemaCheck(LIVE_DIFFERENCES_TABLE).run([(KEY, comparison.differences)]).has_passed


@settings(max_examples=25)
@given(
    names=st.lists(st.sampled_from(COMPARED), unique=True, min_size=1, max_size=20),
    number=st.integers(0, BARS - 1),
)
def test_a_bars_causes_share_out_exactly_the_columns_that_differ(names, number):
    batch = batch_bars()
    comparison = compare_live(bumped(live_bars(batch), number, *names), batch, CELL)
    listed = [name for fields in comparison.differences["fields"].to_list() for name in fields]
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("name", NOT_COMPARABLE)
def test_what_names_files_or_the_publication_is_not_compared(name):
    batch = batch_bars()
    assert compare_live(bumped(live_bars(batch), 3, name), batch, CELL).differences.is_empty()


def test_a_plain_column_that_differs_is_unexplained_and_an_error_rule():
    batch = batch_bars()
    comparison = compare_live(changed(live_bars(batch), 3, close=99.5), batch, CELL)
    assert causes(comparison) == {(opens(3), "unexplained"): ["close"]}
    assert comparison.differences["sample"].to_list() == ["close 99.5 against 4.0"]
    (finding,) = live_findings([comparison], CELL)
    assert (finding.rule, finding.rows, finding.of_rows) == (RuleName.LIVE_DIFFERS, 1, BARS)
    assert finding.sample == "15s 00:00:45: close 99.5 against 4.0"
    assert finding.first_at == opens(3)


def test_a_column_that_hangs_on_arrival_differs_by_delay_and_is_no_finding():
    batch = batch_bars()
    comparison = compare_live(changed(live_bars(batch), 3, delay_mean=0.5), batch, CELL)
    assert causes(comparison) == {(opens(3), "delay"): ["delay_mean"]}
    assert (comparison.equal, comparison.agreeing) == (BARS - 1, BARS)
    assert live_findings([comparison], CELL) == []


def test_a_bar_that_a_feed_gap_touches_is_lost_in_all_its_columns():
    batch = batch_bars()
    live = changed(live_bars(batch), 3, gap_ms=200.0, coverage=0.9, close=1.0, delay_mean=0.5)
    fields = causes(compare_live(live, batch, CELL))[opens(3), "lost"]
    assert sorted(fields) == ["close", "coverage", "delay_mean", "gap_ms"]


def test_what_looks_past_the_end_into_a_lost_bar_is_explained_by_it():
    batch = batch_bars()
    live = changed(live_bars(batch), 6, gap_ms=200.0)
    live = changed(changed(live, 4, matched_notional_30s=9.5), 2, matched_notional_30s=9.5)
    found = causes(compare_live(live, batch, CELL))
    assert found[opens(4), "lost"] == ["matched_notional_30s"]
    assert found[opens(2), "delay"] == ["matched_notional_30s"]


def test_a_bar_that_live_has_not_is_lost_inside_the_session_and_outside_it_not_compared():
    batch = batch_bars()
    live = live_bars(batch).filter(~pl.col("ts_open").is_in([opens(0), opens(4), opens(11)]))
    comparison = compare_live(live, batch, CELL)
    assert causes(comparison) == {(opens(4), "lost"): []}
    assert (comparison.bars, comparison.outside, comparison.equal) == (10, 2, 9)
    (finding,) = live_findings([comparison], CELL)
    assert finding.sample == "15s 00:01:00: no live bar"


def test_a_bar_that_the_batch_has_not_was_revised():
    batch = batch_bars()
    comparison = compare_live(live_bars(batch), batch.filter(pl.col("ts_open") != opens(4)), CELL)
    assert causes(comparison) == {(opens(4), "revised"): []}
    assert comparison.differences["status"].to_list() == [None]


def test_another_kernel_explains_whatever_it_changed():
    batch = batch_bars()
    live = changed(changed(live_bars(batch), 3, close=1.0), 3, kernel_version="0")
    assert causes(compare_live(live, batch, CELL)) == {(opens(3), "kernel"): ["close"]}


def test_a_channel_that_live_never_took_is_absent_not_unexplained():
    batch = batch_bars()
    live = live_bars(batch).with_columns(
        pl.lit(None, dtype=LIVE_CANDLE_TABLE.polars_schema[one.name]).alias(one.name)
        for one in FEATURES.values()
        if [str(channel) for channel in one.inputs] == ["options"]
    )
    comparison = compare_live(live, batch, CELL)
    assert set(comparison.differences["cause"]) == {"absent"}
    assert comparison.agreeing == BARS


def test_another_source_of_quotes_explains_the_columns_of_quotes_alone():
    batch = batch_bars().with_columns(quote_source=pl.lit("quotes"))
    live = live_bars(batch).with_columns(quote_source=pl.lit("book_snapshot_5"))
    live = changed(live, 3, spread_tw_bps=9.0, close=1.0)
    found = causes(compare_live(live, batch, CELL))
    assert found[opens(3), "depth"] == ["quote_source", "spread_tw_bps"]
    assert found[opens(3), "unexplained"] == ["close"]


def test_a_thinner_public_book_is_a_fact_of_the_venue():
    batch = batch_bars().with_columns(venue=pl.lit("deribit"))
    live = changed(live_bars(batch), 3, bid_price_1=9.0)
    cell = VenueDay.parse("2024-08-08|deribit")
    assert causes(compare_live(live, batch, cell)) == {(opens(3), "depth"): ["bid_price_1"]}
    assert causes(compare_live(live, batch, CELL)) == {(opens(3), "unexplained"): ["bid_price_1"]}


def test_unknown_days_before_explain_what_remembers_them():
    batch = batch_bars()
    live = live_bars(batch).with_columns(has_memory=pl.lit(value=False))
    live = changed(live, 3, large_trade_threshold=9.0, close=1.0)
    found = causes(compare_live(live, batch, CELL))
    assert found[opens(3), "memory"] == ["has_memory", "large_trade_threshold"]
    assert found[opens(3), "unexplained"] == ["close"]


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M5])
def test_what_a_provisional_bar_does_not_have_yet_is_not_compared(timeframe):
    batch = batch_bars(timeframe=timeframe)
    not_yet = sorted(provisional_nulls(timeframe))
    live = bumped(live_bars(batch, stage=LiveStage.PROVISIONAL, revision=1), 3, *not_yet)
    comparison = compare_live(live, batch, CELL)
    assert comparison.differences.is_empty()
    assert comparison.provisional == BARS
    complete = compare_live(bumped(live_bars(batch), 3, *not_yet), batch, CELL)
    assert complete.differences.height > 0


@pytest.mark.parametrize("cause", ["lost", "late", "revised"])
def test_trades_are_the_evidence_of_columns_that_stand_on_trades(cause):
    batch = batch_bars()
    live = changed(live_bars(batch), 3, close=1.0, bid_price_1=9.0)
    comparison = compare_live(live, batch, CELL, evidence=evidence_row(3, **{cause: 2}))
    found = causes(comparison)
    assert found[opens(3), cause] == ["close"]
    assert found[opens(3), "unexplained"] == ["bid_price_1"]
    row = comparison.differences.filter(pl.col("cause") == cause).row(0, named=True)
    assert row["rows_of_trades"] == 2


def test_without_ticks_a_jump_of_trade_numbers_tells_that_some_were_lost():
    batch = batch_bars().with_columns(id_gap_count=pl.lit(0, dtype=pl.Int64))
    live = changed(live_bars(batch), 3, close=1.0, id_gap_count=4)
    assert causes(compare_live(live, batch, CELL)) == {
        (opens(3), "lost"): ["close", "id_gap_count"]
    }


def test_every_cause_has_a_meaning_and_is_by_nature_or_a_rule():
    assert set(LIVE_DIFFERENCE_MEANINGS) == set(LiveDifferenceCause)
    assert BY_NATURE | set(RULE_OF) == set(LiveDifferenceCause)
    assert not BY_NATURE & set(RULE_OF)


def test_findings_of_all_timeframes_are_one_per_rule():
    found = []
    for timeframe in (Timeframe.S15, Timeframe.M1):
        batch = batch_bars(timeframe=timeframe)
        found.append(compare_live(changed(live_bars(batch), 1, close=9.0), batch, CELL))
    (finding,) = live_findings(found, CELL)
    assert (finding.rows, finding.of_rows) == (2, 2 * BARS)
