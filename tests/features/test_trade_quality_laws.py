"""Laws of delay, order and size columns: slices, order of rows, merging, dimension, no future."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_quality import TradeQuality
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, rolled_up_column
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.trades import DENSE_TRADES
from tickhandler_dagster.market.features.units import BASE, QUOTE
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

DAY = 19_943 * US_PER_DAY
ENTRIES = {entry.name: entry for entry in (*LATENCY, *DENSE_TRADES)}
STORED = {
    name: entry
    for name, entry in ENTRIES.items()
    if entry.merge not in {Merge.DERIVED, Merge.RECOMPUTED}
}
RECOMPUTED = {name for name, entry in ENTRIES.items() if entry.merge is Merge.RECOMPUTED}
LINEAR, INVERSE = ContractTerms(0.01), ContractTerms(100.0, is_inverse=True)
NOBODY = TradeTicks(
    *(np.empty(0, dtype=np.int64) for _ in range(3)),
    np.empty(0, dtype=np.int8),
    np.empty(0),
    np.empty(0),
)

_moments = st.one_of(
    st.integers(0, 40), st.integers(14_990, 15_010), st.integers(59_990, 60_010),
    st.integers(3_599_000, 3_601_000), st.integers(0, 86_399_999),
)  # fmt: skip


@st.composite
def trades(draw, *, start=DAY, min_size=1, max_size=60):
    """Trades in total order with distinct ids; some arrive late, some before their time."""
    moments = draw(st.lists(_moments, min_size=min_size, max_size=max_size))
    count = len(moments)

    def column(values):
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=np.int64)

    timestamp = start + np.array(moments, dtype=np.int64) * 1_000
    delays = column(st.one_of(st.integers(-2_000_000, 400_000), st.integers(0, 90_000_000)))
    ids = np.array(draw(st.permutations(range(count))), dtype=np.int64) * draw(st.integers(1, 3))
    return in_total_order(
        TradeTicks(
            timestamp,
            timestamp + delays,
            ids,
            column(st.sampled_from([1, -1, 0])).astype(np.int8),
            column(st.integers(1, 40)) * 0.25,
            column(st.one_of(st.sampled_from([1, 2]), st.integers(1, 9_999))) * 0.001,
        )
    )


yesterdays = trades(start=DAY - US_PER_DAY, min_size=0, max_size=20)
terms = st.sampled_from([LINEAR, INVERSE])


def kernel(yesterday=NOBODY, terms=LINEAR, timeframe=BASE_TIMEFRAME, **changes):
    """The day's kernel with what it takes over from yesterday."""
    before = TradeQuality(DayGrid(DAY - US_PER_DAY), has_known_units=terms.has_known_units)
    before.add(yesterday, sizes(yesterday, terms))
    arguments = {
        "has_known_units": terms.has_known_units,
        "has_dense_ids": True,
        "memory": TradeMemory().with_day(before.tally().day(DAY - US_PER_DAY)),
    }
    quality = TradeQuality(DayGrid(DAY, timeframe), **(arguments | changes))
    quality.prime(yesterday)
    return quality


def found(ticks, *arguments, terms=LINEAR, **changes):
    quality = kernel(*arguments, terms=terms, **changes)
    quality.add(ticks, sizes(ticks, terms))
    return quality.finish()


def assert_same(one, other):
    assert set(one.statistics) == set(other.statistics)
    for name, values in one.statistics.items():
        np.testing.assert_array_equal(values, other.statistics[name], err_msg=name)
    np.testing.assert_array_equal(one.last_arrival, other.last_arrival)
    for timeframe, columns in one.exact.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(values, other.exact[timeframe][name], err_msg=name)


def test_the_kernel_gives_every_stored_entry_and_nothing_else():
    day = found(NOBODY)
    assert set(day.statistics) == set(STORED)
    assert {frozenset(columns) for columns in day.exact.values()} == {frozenset(RECOMPUTED)}
    assert set(day.exact) == set(Timeframe)


@given(trades(), yesterdays, terms, st.lists(st.integers(0, 5_760), max_size=6))
@settings(max_examples=40)
def test_the_cut_into_slices_does_not_show(ticks, yesterday, terms, cuts):
    whole, sliced = kernel(yesterday, terms), kernel(yesterday, terms)
    whole.add(ticks, sizes(ticks, terms))
    edges = [DAY, *(DAY + cut * BASE_TIMEFRAME.us for cut in sorted(cuts)), DAY + US_PER_DAY]
    for start, end in pairwise(edges):
        part = ticks.take(np.flatnonzero((ticks.timestamp >= start) & (ticks.timestamp < end)))
        sliced.add(part, sizes(part, terms))
    assert whole.tally() == sliced.tally()
    assert_same(whole.finish(), sliced.finish())


@given(trades(), yesterdays, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_the_rows_does_not_matter(ticks, yesterday, random):
    positions = list(range(len(ticks)))
    random.shuffle(positions)
    shuffled = in_total_order(ticks.take(np.array(positions)))
    assert_same(found(ticks, yesterday), found(shuffled, yesterday))


@given(trades(), yesterdays, terms, st.sampled_from(list(Timeframe)[1:]))
@settings(max_examples=60)
def test_rolling_up_equals_computing_the_larger_bars(ticks, yesterday, terms, timeframe):
    base = found(ticks, yesterday, terms=terms)
    direct = found(ticks, yesterday, terms=terms, timeframe=timeframe)
    for name, entry in STORED.items():
        merged = rolled_up_column(base.statistics[name], entry.merge, timeframe)
        tolerance = 1e-9 if name == "large_trade_volume_sum" else 0
        np.testing.assert_allclose(
            merged, direct.statistics[name], rtol=tolerance, atol=0, err_msg=name
        )
    for name in RECOMPUTED:
        np.testing.assert_array_equal(base.exact[timeframe][name], direct.exact[timeframe][name])


@given(trades(), yesterdays, terms)
@settings(max_examples=25)
def test_buying_and_selling_are_mirror_images(ticks, yesterday, terms):
    mirrored = found(dataclasses.replace(ticks, side=-ticks.side), yesterday, terms=terms)
    for name, values in found(ticks, yesterday, terms=terms).statistics.items():
        image = mirrored.statistics[STORED[name].mirror or name]
        np.testing.assert_array_equal(values, image, err_msg=name)


@given(trades(), yesterdays)
@settings(max_examples=25)
def test_every_column_follows_its_dimension(ticks, yesterday):
    def scaled(some):
        return dataclasses.replace(some, price=some.price * 2, amount=some.amount * 4)

    day, other = found(ticks, yesterday), found(scaled(ticks), scaled(yesterday))
    factors = {BASE: 4, QUOTE: 8}
    for name, values in day.statistics.items():
        factor = factors.get(STORED[name].unit, 1)
        np.testing.assert_array_equal(values * factor, other.statistics[name], err_msg=name)
    for timeframe, columns in day.exact.items():
        for name, values in columns.items():
            factor = factors.get(ENTRIES[name].unit, 1)
            np.testing.assert_array_equal(values * factor, other.exact[timeframe][name])


@given(trades(max_size=25), yesterdays, st.integers(0, 2_000_000))
@settings(max_examples=40)
def test_a_bar_needs_no_trade_that_arrives_after_it_could_be_known(ticks, yesterday, wait_us):
    day = found(ticks, yesterday)
    for bar in np.flatnonzero(day.last_arrival > NO_ARRIVAL).tolist()[:40]:
        known_at = int(day.last_arrival[bar]) + wait_us
        arrived = ticks.take(np.flatnonzero(ticks.local_timestamp <= known_at))
        known = found(arrived, yesterday)
        for name, values in day.statistics.items():
            np.testing.assert_array_equal(values[bar], known.statistics[name][bar], err_msg=name)
        for name, values in day.exact[BASE_TIMEFRAME].items():
            np.testing.assert_array_equal(values[bar], known.exact[BASE_TIMEFRAME][name][bar])


@given(trades())
@settings(max_examples=15)
def test_no_delay_is_known_without_the_exchange_s_clock(ticks):
    local = dataclasses.replace(ticks, local_timestamp=ticks.timestamp)
    day = found(local, has_exchange_clock=False)
    for name in STORED:
        if name.startswith(("delay", "negative_delay", "clock_skew")):
            assert np.isnan(day.statistics[name]).all(), name
    for columns in day.exact.values():
        assert all(np.isnan(columns[name]).all() for name in columns if name.startswith("delay"))
    assert not day.statistics["out_of_order_count"].any()


@given(trades(), yesterdays)
@settings(max_examples=15)
def test_no_size_is_known_without_the_contract_s_size(ticks, yesterday):
    unknown, known = found(ticks, yesterday, terms=ContractTerms(None)), found(ticks, yesterday)
    for name, values in unknown.statistics.items():
        if name.startswith("large_trade"):
            assert np.isnan(values).all()
        else:
            np.testing.assert_array_equal(values, known.statistics[name])
    for columns in unknown.exact.values():
        assert all(np.isnan(columns[name]).all() for name in columns if name.startswith("size"))


def test_ids_say_nothing_where_the_venue_does_not_count_them():
    assert np.isnan(found(NOBODY, has_dense_ids=False).statistics["id_gap_count"]).all()


def test_an_outage_begins_once_however_often_it_is_reported():
    hour = 3_600_000_000
    gaps = [
        Span(DAY - 2 * hour, DAY - hour),
        Span(DAY, DAY + hour),  # the rest of one that began the day before
        Span(DAY + 2 * hour, DAY + 3 * hour),
        Span(DAY + 2 * hour, DAY + 4 * hour),
        Span(DAY + US_PER_DAY, DAY + US_PER_DAY + hour),
    ]
    begun = found(NOBODY, gaps=gaps).statistics["disconnect_count"]
    assert np.flatnonzero(begun).tolist() == [2 * hour // BASE_TIMEFRAME.us]


def test_repeats_count_in_the_bar_of_their_exchange_time_and_are_known_when_they_came():
    quality = kernel()
    quality.add_duplicates(
        np.array([DAY + 15_000_000, DAY, DAY + 16_000_000, DAY + US_PER_DAY]),
        np.array([DAY + 70_000_000, DAY + 5, DAY + 20_000_000, DAY + US_PER_DAY + 5]),
    )
    day = quality.finish()
    assert day.statistics["duplicate_id_count"][:3].tolist() == [1, 2, 0]
    assert day.last_arrival[:3].tolist() == [DAY + 5, DAY + 70_000_000, NO_ARRIVAL]


def test_trades_of_another_day_are_refused():
    stray = TradeTicks(
        np.array([DAY - 1]), np.array([DAY]), np.array([1]), np.array([1], dtype=np.int8),
        np.array([1.0]), np.array([1.0]),
    )  # fmt: skip
    with pytest.raises(IndexError, match="not in the day"):
        kernel().add(stray, sizes(stray, LINEAR))
