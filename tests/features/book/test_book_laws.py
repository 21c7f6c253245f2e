"""Laws of every kernel of the book: slices, merging, order of arrival, scale, availability."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.book_levels import BookLevels
from tickhandler_dagster.market.bars.flow_loading import OrderFlowMemory
from tickhandler_dagster.market.bars.micro_price import MicroPrice
from tickhandler_dagster.market.bars.micro_price_fit import MicroPriceMemory
from tickhandler_dagster.market.bars.order_flow import SnapshotFlow
from tickhandler_dagster.market.bars.resilience import Resilience
from tickhandler_dagster.market.bars.top_book import TopBook
from tickhandler_dagster.market.features.book import BOOK, LEVEL_BOOK
from tickhandler_dagster.market.features.book_flow import (
    BOOK_FLOW,
    MICRO_PRICE,
    QUOTE_FLOW,
    SNAPSHOT_FLOW,
)
from tickhandler_dagster.market.features.book_top import TOP_BOOK
from tickhandler_dagster.market.features.family import NO_ARRIVAL, rolled_up_arrival
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.resilience import RESILIENCE
from tickhandler_dagster.market.timeframes import Timeframe

LOADING = OrderFlowMemory(0, 60, (0.0,) * 5, ((0.0,) * 5,) * 5, (0.4, 0.3, 0.2, 0.1, 0.0))
SHIFTS = MicroPriceMemory(0, 900, 90, tuple(tuple(far / 8 for far in range(-5, 6)) for _ in "1234"))
EXACT = {Merge.LAST, Merge.MAX, Merge.RECOMPUTED}


@dataclass(frozen=True)
class Kind:
    """A kernel with its features and how it is made on a grid with prices so many times as high."""

    features: tuple
    make: Any
    is_deep: bool = False


KINDS = {
    "top": Kind(
        (*TOP_BOOK, *QUOTE_FLOW),
        lambda feeds, grid, _: TopBook(grid, feeds.coins, is_quote_feed=True),
    ),
    "levels": Kind(
        LEVEL_BOOK, lambda feeds, grid, _: BookLevels(grid, feeds.coins, depth=5), is_deep=True
    ),
    "flow": Kind(
        SNAPSHOT_FLOW,
        lambda feeds, grid, _: SnapshotFlow(grid, feeds.coins, memory=LOADING),
        is_deep=True,
    ),
    "micro": Kind(
        MICRO_PRICE,
        lambda feeds, grid, scale: MicroPrice(grid, feeds.tick * scale, memory=SHIFTS),
    ),
    "resilience": Kind(RESILIENCE, lambda feeds, grid, _: Resilience(grid, feeds.coins)),
}
every_kernel = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def run(feeds, kind, ticks, *, timeframe=Timeframe.S15, slice_us=None, scale=1):
    before, own, after = feeds.of_day(ticks if kind.is_deep else ticks.top)
    kernel = kind.make(feeds, feeds.grid(timeframe), scale)
    kernel.prime(before)
    for part in [own] if slice_us is None else feeds.slices(own, slice_us):
        kernel.add(part)
    if hasattr(kernel, "add_after"):
        kernel.add_after(after)
    return kernel.finish(), kernel


def assert_identical(one, other):
    for name, values in one.statistics.items():
        np.testing.assert_array_equal(values, other.statistics[name], err_msg=name)
    for timeframe, columns in one.exact.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(values, other.exact[timeframe][name], err_msg=name)
    np.testing.assert_array_equal(one.last_arrival, other.last_arrival)


def test_every_entry_belongs_to_one_kernel():
    given_by = [one.name for kind in KINDS.values() for one in kind.features]
    assert sorted(given_by) == sorted(one.name for one in (*BOOK, *BOOK_FLOW, *RESILIENCE))


@every_kernel
def test_a_kernel_gives_exactly_the_stored_columns_of_its_entries(feeds, kind):
    day, _ = run(feeds, kind, feeds.random_levels(1))
    merges = {one.name: one.merge for one in kind.features}
    stored = {name for name, merge in merges.items() if merge is not Merge.DERIVED}
    recomputed = {name for name, merge in merges.items() if merge is Merge.RECOMPUTED}
    assert set(day.statistics) == stored - recomputed
    for columns in day.exact.values():
        assert set(columns) == recomputed
    for values in day.statistics.values():
        assert values.dtype == np.float64
        assert len(values) == 5_760


@every_kernel
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), bars=st.sampled_from([1, 2, 7, 40, 960]))
def test_a_day_in_slices_is_the_same_to_the_last_bit(feeds, kind, seed, bars):
    ticks = feeds.random_levels(seed)
    whole, kernel = run(feeds, kind, ticks)
    sliced, other = run(feeds, kind, ticks, slice_us=bars * 15_000_000)
    assert_identical(whole, sliced)
    if hasattr(kernel, "tally"):
        assert kernel.tally() == other.tally()


@every_kernel
@pytest.mark.parametrize("timeframe", [one for one in Timeframe if one is not Timeframe.S15])
def test_rolled_up_is_direct(feeds, kind, timeframe):
    ticks = feeds.random_levels(5)
    base, _ = run(feeds, kind, ticks)
    direct, _ = run(feeds, kind, ticks, timeframe=timeframe)
    one = feeds.frame(base, kind.features, timeframe)
    other = feeds.frame(direct, kind.features, timeframe, is_direct=True)
    for feature in kind.features:
        left, right = one[feature.name], other[feature.name]
        if feature.merge in EXACT or not feature.dtype.is_float():
            assert left.equals(right), feature.name
        else:
            np.testing.assert_allclose(
                left.to_numpy(), right.to_numpy(), rtol=1e-9, atol=1e-9, err_msg=feature.name
            )
    rolled = rolled_up_arrival(base.last_arrival, timeframe)
    assert (rolled >= direct.last_arrival).all()


@every_kernel
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_arrival_does_not_matter_where_times_differ(feeds, kind, seed):
    ticks = feeds.random_levels(seed)
    _, kept = np.unique(
        np.stack((ticks.timestamp, ticks.local_timestamp)), axis=1, return_index=True
    )
    distinct = ticks.take(np.sort(kept))
    shuffled = distinct.take(np.random.default_rng(seed).permutation(len(distinct)))
    assert_identical(run(feeds, kind, distinct)[0], run(feeds, kind, shuffled)[0])


def factor(feature, price, size):
    return price**feature.unit.price * size**feature.unit.size


@every_kernel
@pytest.mark.parametrize("factors", [(2, 4), (2, 0.5)], ids=str)
def test_values_follow_the_dimension_of_their_unit(feeds, kind, factors):
    """All of them where money stays as it is, else those without an amount of money in them."""
    price, size = factors
    ticks = feeds.scaled(feeds.random_levels(9), 1, 64)
    plain = feeds.frame(run(feeds, kind, ticks)[0], kind.features, Timeframe.M1)
    other, _ = run(feeds, kind, feeds.scaled(ticks, price, size), scale=price)
    scaled = feeds.frame(other, kind.features, Timeframe.M1)
    for feature in kind.features:
        if not feature.dtype.is_numeric() or not (feature.is_scale_free or price * size == 1):
            continue
        expected = plain[feature.name] * factor(feature, price, size)
        assert scaled[feature.name].cast(pl.Float64).equals(expected.cast(pl.Float64)), feature.name


@every_kernel
@pytest.mark.parametrize("seed", range(3))
def test_values_keep_to_their_bounds_and_are_never_nan(feeds, kind, seed):
    day, _ = run(feeds, kind, feeds.random_levels(seed, rows=900))
    for timeframe in (Timeframe.S15, Timeframe.M1, Timeframe.H1):
        frame = feeds.frame(day, kind.features, timeframe)
        for feature in kind.features:
            values, bounds = frame[feature.name].drop_nulls(), feature.bounds
            if not feature.dtype.is_numeric():
                continue
            assert values.is_finite().all() if feature.dtype.is_float() else True
            assert bounds.ge is None or (values >= bounds.ge).all(), feature.name
            assert bounds.gt is None or (values > bounds.gt).all(), feature.name
            assert bounds.le is None or (values <= bounds.le).all(), feature.name


@every_kernel
@pytest.mark.parametrize("seed", range(3))
def test_a_bar_that_is_known_does_not_change_with_what_arrives_later(feeds, kind, seed):
    ticks = feeds.random_levels(seed)
    whole, _ = run(feeds, kind, ticks)
    grid = feeds.grid()
    delay = max(one.delay_us for one in kind.features)
    stored = [one for one in kind.features if one.merge is not Merge.DERIVED]
    for bar in (0, 2, 8, 25, 46, 239, 240):
        known_at = max(int(grid.closes[bar]) + delay, int(whole.last_arrival[bar]))
        cut, _ = run(feeds, kind, ticks.take(np.flatnonzero(ticks.local_timestamp <= known_at)))
        for one in stored:
            source = "exact" if one.merge is Merge.RECOMPUTED else "statistics"
            left, right = (
                (day.exact[Timeframe.S15] if source == "exact" else day.statistics)[one.name][bar]
                for day in (whole, cut)
            )
            np.testing.assert_equal(left, right, err_msg=f"{one.name} {bar}")


@every_kernel
def test_an_empty_slice_and_an_empty_day_are_fine(feeds, kind):
    nothing = feeds.random_levels(1)
    nothing = nothing.take(np.empty(0, dtype=np.intp))
    day, _ = run(feeds, kind, nothing)
    assert set(day.last_arrival.tolist()) == {NO_ARRIVAL}
    ticks = feeds.random_levels(1)
    kernel = kind.make(feeds, feeds.grid(), 1)
    before, own, _ = feeds.of_day(ticks if kind.is_deep else ticks.top)
    kernel.prime(before)
    kernel.add(own)
    kernel.add(own.take(np.empty(0, dtype=np.intp)))
    assert len(kernel.finish().last_arrival) == 5_760


def test_deep_levels_do_not_change_the_first_five(feeds):
    """A file of 25 levels whose deeper ones are empty is the file of five, censoring apart."""
    ticks = feeds.random_levels(4)
    padding = np.full((len(ticks), 20), np.nan)
    deep = replace(
        ticks,
        **{
            name: np.concatenate((getattr(ticks, name), padding), axis=1)
            for name in ("bids", "asks", "bid_sizes", "ask_sizes")
        },
    )
    shallow, _ = run(feeds, KINDS["levels"], ticks)
    kernel = BookLevels(feeds.grid(), feeds.coins, depth=25)
    before, own, _ = feeds.of_day(deep)
    kernel.prime(before)
    kernel.add(own)
    day = kernel.finish()
    for name, values in shallow.statistics.items():
        if "_depth_" in name or name == "book_levels_seen":
            continue
        np.testing.assert_array_equal(values, day.statistics[name], err_msg=name)
    assert_identical(run(feeds, KINDS["flow"], ticks)[0], run(feeds, KINDS["flow"], deep)[0])
