"""Forced orders by bar: sums by side, the largest, and their meeting with open interest."""

from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.liquidations import LiquidationsDay
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.derivatives import DERIVATIVES
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, rolled_up_column
from tickhandler_dagster.market.features.feature import Channel, Merge
from tickhandler_dagster.market.liquidation_feeds import LIQUIDATION_FEEDS, is_throttled
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId

START = 19_943 * US_PER_DAY
TERMS = {
    "linear": ContractTerms(0.01),
    "inverse": ContractTerms(100.0, is_inverse=True),
    "unknown": ContractTerms(None),
    "quanto": ContractTerms(0.001, is_quanto=True),
}
STORED = {
    one.name: one
    for one in DERIVATIVES
    if Channel.LIQUIDATIONS in one.inputs and one.merge is not Merge.DERIVED
}
ENTRIES = {one.name: one for one in DERIVATIVES}
every_terms = pytest.mark.parametrize("terms", TERMS)
seeds = st.integers(0, 10**6)


def random_rows(seed, count):
    """(exchange time, arrival, side, price, amount), by arrival; many share a time."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, US_PER_DAY - 10**9, max(1, count // 10))
    times = rng.choice(centres, count) // 1_000 * 1_000 + rng.integers(0, 400, count) * 1_000
    rows = [
        (
            int(time) + START,
            int(time) + START + int(rng.integers(0, 10**6)),
            int(rng.integers(-1, 2)),
            float(np.round(rng.uniform(50, 60), 2)),
            float(rng.integers(1, 400)),
        )
        for time in times
    ]
    return sorted(rows, key=lambda row: row[1])


def ticks_of(rows):
    time, arrival, side, price, amount = zip(*rows, strict=True) if rows else [()] * 5
    return TradeTicks(
        np.array(time, dtype=np.int64),
        np.array(arrival, dtype=np.int64),
        None,
        np.array(side, dtype=np.int8),
        np.array(price, dtype=float),
        np.array(amount, dtype=float),
    )


def slow_bars(rows, terms, timeframe, *, throttled=None):
    """Every stored column of every bar, from the formulas."""
    bars = []
    for number in range(US_PER_DAY // timeframe.us):
        start = START + number * timeframe.us
        inside = [row for row in rows if start <= row[0] < start + timeframe.us]
        bars.append(slow_bar(inside, terms, throttled))
    return bars


def slow_bar(rows, terms, throttled):
    is_known = terms.contract_size is not None and not terms.is_quanto
    base = {-1: 0.0, 0: 0.0, 1: 0.0}
    money, sizes = 0.0, []
    for _, _, side, price, amount in rows if is_known else []:
        worth = amount * terms.contract_size
        size, value = (worth / price, worth) if terms.is_inverse else (worth, worth * price)
        base[side] += size
        money += value
        sizes.append(size)
    sums = (base[1], base[-1], base[0], money) if is_known else [math.nan] * 4
    return {
        "liquidation_buy_volume": sums[0],
        "liquidation_sell_volume": sums[1],
        "liquidation_unknown_volume": sums[2],
        "liquidation_count": len(rows),
        "liquidation_notional": sums[3],
        "liquidation_size_max": max(sizes, default=math.nan),
        "liquidation_is_throttled": math.nan if throttled is None else float(throttled),
    }


def built(rows, terms, timeframe=Timeframe.S15, cuts=()):
    day = LiquidationsDay(DayGrid(START, timeframe), terms)
    edges = [START, *sorted(START + cut * 15 * 10**6 for cut in cuts), START + US_PER_DAY]
    for low, high in pairwise(edges):
        day.add(ticks_of([row for row in rows if low <= row[0] < high]))
    return day.finish()


def columns_of(day, timeframe):
    return {
        name: rolled_up_column(day.statistics[name], one.merge, timeframe)
        for name, one in STORED.items()
    }


def test_the_reference_has_every_stored_entry():
    assert list(slow_bar([], TERMS["linear"], None)) == list(STORED)


@every_terms
@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1, Timeframe.H24])
def test_columns_are_the_slow_reference_s(terms, timeframe):
    rows = random_rows(4, 150)
    found = columns_of(built(rows, TERMS[terms]), timeframe)
    bars = slow_bars(rows, TERMS[terms], timeframe)
    for name, values in found.items():
        wanted = [bar[name] for bar in bars]
        np.testing.assert_allclose(values, wanted, rtol=1e-12, err_msg=name)


@settings(max_examples=30)
@given(seed=seeds, cuts=st.lists(st.integers(1, 5_759), max_size=9, unique=True))
def test_the_slicing_changes_nothing(seed, cuts):
    rows = random_rows(seed, 200)
    whole, parts = (built(rows, TERMS["inverse"], cuts=some) for some in ((), cuts))
    np.testing.assert_array_equal(whole.last_arrival, parts.last_arrival)
    for name in STORED:
        np.testing.assert_array_equal(whole.statistics[name], parts.statistics[name])


@pytest.mark.parametrize("timeframe", list(Timeframe)[1:])
def test_small_bars_merge_into_the_large_one(timeframe):
    rows = random_rows(9, 300)
    merged = columns_of(built(rows, TERMS["linear"]), timeframe)
    direct = built(rows, TERMS["linear"], timeframe)
    for name, values in merged.items():
        np.testing.assert_allclose(values, direct.statistics[name], rtol=1e-9, err_msg=name)


@every_terms
def test_doubled_prices_and_fourfold_sizes_scale_each_column_by_its_unit(terms):
    rows = random_rows(2, 200)
    factor = 8 if TERMS[terms].is_inverse else 4
    scaled = [(*row[:3], row[3] * 2, row[4] * factor) for row in rows]
    one, other = (built(some, TERMS[terms]).statistics for some in (rows, scaled))
    for name, entry in STORED.items():
        times = 2.0**entry.unit.price * 4.0**entry.unit.size
        np.testing.assert_array_equal(other[name], one[name] * times, err_msg=name)


def test_the_sides_changing_places_swaps_their_columns():
    rows = random_rows(6, 200)
    mirrored = [(row[0], row[1], -row[2], *row[3:]) for row in rows]
    one, other = (built(some, TERMS["linear"]).statistics for some in (rows, mirrored))
    for name, entry in STORED.items():
        np.testing.assert_array_equal(other[name], one[entry.mirror or name], err_msg=name)


def test_a_liquidated_short_is_a_forced_purchase():
    rows = [(START, START + 5, 1, 50.0, 300.0), (START + 1, START + 6, -1, 50.0, 100.0)]
    found = built(rows, TERMS["linear"]).statistics
    assert found["liquidation_buy_volume"][0] == 3.0
    assert found["liquidation_sell_volume"][0] == 1.0


@settings(max_examples=20)
@given(seed=seeds, bar=st.integers(1, 1_439))
def test_nothing_later_is_known(seed, bar):
    rows = random_rows(seed, 150)
    cut = START + bar * Timeframe.M1.us
    early = [row for row in rows if row[0] < cut]
    full, seen = (built(some, TERMS["linear"], Timeframe.M1) for some in (rows, early))
    np.testing.assert_array_equal(full.last_arrival[:bar], seen.last_arrival[:bar])
    for name in STORED:
        np.testing.assert_array_equal(full.statistics[name][:bar], seen.statistics[name][:bar])


def test_last_arrival_is_of_the_bar_s_own_rows():
    rows = [(START, START + 70 * 10**6, 1, 5.0, 1.0), (START + 1, START + 9, 1, 5.0, 1.0)]
    found = built(sorted(rows, key=lambda row: row[1]), TERMS["linear"]).last_arrival
    assert found[:2].tolist() == [START + 70 * 10**6, NO_ARRIVAL]


def test_a_day_without_liquidations_has_sums_of_zero():
    found = LiquidationsDay(DayGrid(START), TERMS["linear"]).finish().statistics
    for name, entry in STORED.items():
        if entry.merge is Merge.SUM:
            assert not found[name].any(), name
    assert np.isnan(found["liquidation_size_max"]).all()


@pytest.mark.parametrize("time", [START - 1, START + US_PER_DAY])
def test_rows_of_another_day_are_refused(time):
    with pytest.raises(CorruptData, match="part of the day still open"):
        LiquidationsDay(DayGrid(START), TERMS["linear"]).add(ticks_of([(time, time, 1, 5.0, 1.0)]))


def evaluated(name, **columns):
    value = ENTRIES[name].expression
    frame = pl.DataFrame(columns, strict=False)
    return frame.select(pl.when(value.is_finite()).then(value)).to_series().to_list()


def test_liquidations_meet_open_interest_by_the_sign_of_its_change():
    columns = {
        "liquidation_buy_volume": [1.0, 1.0, 1.0, 1.0, None],
        "liquidation_sell_volume": [2.0, 2.0, 2.0, 2.0, None],
        "liquidation_unknown_volume": [4.0, 4.0, 4.0, 4.0, None],
        "oi_change": [0.5, -0.5, 0.0, None, 0.5],
    }
    assert evaluated("liquidation_with_rising_oi", **columns) == [7.0, 0.0, 0.0, None, None]
    assert evaluated("liquidation_with_falling_oi", **columns) == [0.0, 7.0, 0.0, None, None]


def test_the_share_of_liquidations_is_null_without_trades():
    shares = evaluated(
        "liquidation_share",
        liquidation_notional=[0.0, 5.0, 5.0, None],
        notional=[0.0, 20.0, 0.0, 4.0],
    )
    assert shares == [None, 0.25, None, None]


def test_every_venue_says_how_complete_its_feed_is():
    assert set(LIQUIDATION_FEEDS) == set(VenueId)
    for venue, regimes in LIQUIDATION_FEEDS.items():
        first_days = [first for first, _ in regimes]
        assert first_days == sorted(set(first_days))
        assert first_days[0] == dt.date.min
        if DataType.LIQUIDATIONS not in VENUES[venue].data_types:
            assert is_throttled(venue, dt.date(2024, 8, 8)) is None


@pytest.mark.parametrize(
    ("venue", "day", "throttled"),
    [
        (VenueId.BINANCE_FUTURES, dt.date(2021, 4, 26), False),
        (VenueId.BINANCE_FUTURES, dt.date(2021, 4, 27), True),
        (VenueId.BYBIT, dt.date(2025, 2, 19), True),
        (VenueId.BYBIT, dt.date(2025, 2, 23), None),
        (VenueId.BYBIT, dt.date(2025, 2, 27), False),
        (VenueId.DERIBIT, dt.date(2020, 1, 1), False),
        (VenueId.OKEX_SWAP, dt.date(2024, 8, 8), None),
    ],
)
def test_a_feed_s_regime_begins_on_its_day(venue, day, throttled):
    assert is_throttled(venue, day) is throttled
    day_of = LiquidationsDay(DayGrid(START), TERMS["linear"], is_throttled=throttled).finish()
    expected = math.nan if throttled is None else float(throttled)
    np.testing.assert_array_equal(day_of.statistics["liquidation_is_throttled"][:2], [expected] * 2)
