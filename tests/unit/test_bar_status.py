"""Finality, sources and versions of bars."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.day import DayBars
from tickhandler_dagster.market.bars.facts import DayFacts, Sources
from tickhandler_dagster.market.bars.grid import Span, bar_opens
from tickhandler_dagster.market.bars.status import (
    BAR_STATUS_MEANINGS,
    BarStatus,
    Closing,
    merged_spans,
    overlap_us,
)
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.bars.versions import BarChanges, with_versions
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = Span(19_943 * US_PER_DAY, 19_944 * US_PER_DAY)


def day_frames(*, has_previous=True, has_next=True, **changes):
    facts = {
        "instrument_key": "BINANCE:SPOT_PAIR:BTC-USDT",
        "venue": VenueId.BINANCE,
        "day": DAY,
        "listed": DAY,
        "terms": ContractTerms(1.0),
        "closing": Closing(DAY, has_previous=has_previous, has_next=has_next),
        "sources": Sources(previous=("before",), own=("day",), following=("after",)),
    }
    return DayBars(DayFacts(**facts | changes)).finish()


@pytest.mark.parametrize(
    ("has_previous", "has_next", "provisional"),
    [
        (True, True, (0, 0)),
        (True, False, (0, 40)),
        (False, True, (40, 0)),
        (False, False, (40, 40)),
    ],
)
def test_bars_within_ten_minutes_of_midnight_wait_for_the_neighbouring_file(
    has_previous, has_next, provisional
):
    frames = day_frames(has_previous=has_previous, has_next=has_next)
    is_final = frames[Timeframe.S15]["is_final"]
    head, tail = provisional
    assert is_final.to_list() == [False] * head + [True] * (5_760 - head - tail) + [False] * tail
    assert frames[Timeframe.H24]["is_final"].to_list() == [has_previous and has_next]


def test_a_bar_names_the_files_it_can_hold_trades_of():
    frames = day_frames()
    sources = frames[Timeframe.H4]["source_sha256"].to_list()
    assert sources == [["before", "day"], *[["day"]] * 4, ["day", "after"]]
    assert frames[Timeframe.H24]["source_sha256"].to_list() == [["before", "day", "after"]]


def test_an_instrument_that_is_not_listed_and_not_traded_has_no_bars():
    frames = day_frames(listed=Span(DAY.start, DAY.start))
    assert all(
        bars.is_empty() and bars.schema == CANDLE_TABLE.polars_schema for bars in frames.values()
    )


def test_a_trade_before_the_listing_extends_the_grid():
    opens = bar_opens(Span(120, 180), np.array([0]), Timeframe.S15)
    assert opens.tolist() == [0]


def test_spans_that_overlap_count_once():
    spans = [Span(5, 9), Span(0, 6), Span(30, 30), Span(20, 25)]
    assert merged_spans(spans) == [Span(0, 9), Span(20, 25)]
    assert overlap_us(np.array([0, 10]), np.array([10, 22]), spans).tolist() == [9, 2]


def test_every_status_is_explained():
    assert set(BAR_STATUS_MEANINGS) == set(BarStatus)


def test_a_bar_s_version_goes_up_when_a_value_changes_and_not_with_its_provenance():
    bars = day_frames(has_next=False)[Timeframe.H4]
    final = day_frames()[Timeframe.H4].with_columns(kernel_version=pl.lit("other"))
    same, changes = with_versions(final, bars)
    assert (same["bar_version"].to_list(), changes) == ([1] * 6, BarChanges(finalised=1))
    moved = final.with_columns(
        volume=pl.when(pl.int_range(pl.len()) == 2).then(7.0).otherwise(pl.col("volume"))
    )
    changed, changes = with_versions(moved, same)
    assert (changed["bar_version"].to_list(), changes) == (
        [1, 1, 2, 1, 1, 1],
        BarChanges(changed=1),
    )
    again, changes = with_versions(moved, changed)
    assert (again.equals(changed), changes) == (True, BarChanges())


def test_bars_that_were_not_stored_are_new_and_keep_version_one():
    bars = day_frames()[Timeframe.H4]
    assert with_versions(bars, None)[1] == BarChanges(new=6)
    grown, changes = with_versions(bars, bars.head(4).with_columns(bar_version=pl.lit(3, pl.Int32)))
    assert (grown["bar_version"].to_list(), changes) == ([3, 3, 3, 3, 1, 1], BarChanges(new=2))


def test_bars_stored_with_other_columns_all_count_as_changed():
    bars = day_frames()[Timeframe.H4]
    versioned, changes = with_versions(bars, bars.drop("size_hhi"))
    assert (versioned["bar_version"].to_list(), changes) == ([2] * 6, BarChanges(changed=6))
