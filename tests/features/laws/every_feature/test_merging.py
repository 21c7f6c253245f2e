"""Larger bars rolled up from 15 s are those that the ticks give."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.timeframes import Timeframe

LARGER = [timeframe for timeframe in Timeframe if timeframe is not Timeframe.S15]
EXACT = {Merge.MIN, Merge.MAX, Merge.FIRST, Merge.LAST}
SUMMED = 1e-9
CANCELLED = 1e-12
"""Of the column's largest value: what a sum of signed terms may keep when they cancel."""


@pytest.fixture(params=LARGER, ids=str)
def larger(request):
    return request.param


@pytest.fixture
def both(bars, larger):
    """The bars rolled up and built directly from the ticks."""
    return bars.plain()[larger], bars.directly(larger)


def named(features, merges, *, whole=None):
    return [
        name
        for name, one in features.items()
        if one.merge in merges and (whole is None or one.dtype.is_integer() is whole)
    ]


def test_extremes_edges_and_counts_merge_exactly(both, differing, features):
    names = named(features, EXACT) + named(features, {Merge.SUM}, whole=True)
    assert differing(*both, names) == {}


def test_sums_merge_but_for_their_rounding(both, differing, features):
    names = named(features, {Merge.SUM}, whole=False) + named(features, {Merge.COMBINED})
    assert differing(*both, names, rtol=SUMMED, atol=CANCELLED) == {}


def test_what_follows_from_merged_columns_merges(both, differing, features):
    assert differing(*both, named(features, {Merge.DERIVED}), rtol=SUMMED, atol=CANCELLED) == {}


def test_what_does_not_merge_is_computed_from_the_ticks(both, differing, features):
    assert differing(*both, named(features, {Merge.RECOMPUTED}), rtol=SUMMED, atol=CANCELLED) == {}


def test_what_does_not_merge_is_no_mean_of_the_smaller_bars(bars, larger, features):
    small, large = bars.plain()[Timeframe.S15], bars.plain()[larger]
    averaged = []
    for name in named(features, {Merge.RECOMPUTED}):
        if not features[name].dtype.is_float():
            continue
        means = (
            small.group_by_dynamic("ts_open", every=f"{larger.us}us")
            .agg(pl.col(name).mean())
            .filter(pl.col(name).is_not_null())
        )
        there = large.join(means, on="ts_open", suffix="_mean").drop_nulls(name)
        far = (there[name] - there[f"{name}_mean"]).abs() > SUMMED * there[name].abs()
        if there.height and not far.any():
            averaged.append(name)
    assert averaged == []
