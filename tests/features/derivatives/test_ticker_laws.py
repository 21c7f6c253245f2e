"""The ticker's columns are what their formulas say, however the day is cut and scaled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.funding import TickerMemory
from tickhandler_dagster.market.bars.ticker import DerivativeKind, TickerDay
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import Timeframe

START = 19_943 * US_PER_DAY
SECOND, MINUTE, HOUR = 10**6, 60 * 10**6, 3_600 * 10**6
LINEAR, INVERSE = ContractTerms(0.01), ContractTerms(100.0, is_inverse=True)
PERPETUAL = DerivativeKind(is_perpetual=True)
FUTURE = DerivativeKind(expiry_us=START + 10 * HOUR)
KINDS = (
    "linear perpetual",
    "inverse perpetual",
    "linear future",
    "inverse future",
    "units unknown",
)
every_kind = pytest.mark.parametrize("kind", KINDS)
seeds = st.integers(0, 10**6)


def test_the_reference_has_every_stored_entry(ticker):
    slow = ticker.slow_columns(ticker.random_rows(1, 9), LINEAR, PERPETUAL, Timeframe.H24)
    assert list(slow) == [one.name for one in ticker.stored]


@pytest.mark.parametrize("timeframe", Timeframe)
@every_kind
def test_columns_are_the_slow_reference_s(ticker, kind, timeframe):
    terms, of = ticker.kinds[kind]
    rows = ticker.random_rows(7, 900)
    day = ticker.built(ticker.arrays(rows, terms), of).finish()
    ticker.same(ticker.columns_of(day, timeframe), ticker.slow_columns(rows, terms, of, timeframe))


@settings(max_examples=25)
@given(seed=seeds, count=st.integers(1, 300), kind=st.sampled_from(KINDS))
def test_columns_are_the_slow_reference_s_on_any_day(ticker, seed, count, kind):
    terms, of = ticker.kinds[kind]
    rows = ticker.random_rows(seed, count)
    day = ticker.built(ticker.arrays(rows, terms), of).finish()
    ticker.same(
        ticker.columns_of(day, Timeframe.M1), ticker.slow_columns(rows, terms, of, Timeframe.M1)
    )


@settings(max_examples=25)
@given(seed=seeds, cuts=st.lists(st.integers(1, 5_759), max_size=9, unique=True))
def test_the_slicing_changes_nothing(ticker, seed, cuts):
    rows = ticker.random_rows(seed, 400)
    ticks = ticker.arrays(rows, INVERSE)
    kind = ticker.kinds["inverse future"][1]
    whole, parts = ticker.built(ticks, kind), ticker.built(ticks, kind, cuts=cuts)
    assert whole.carry().funding == parts.carry().funding
    one, other = whole.finish(), parts.finish()
    np.testing.assert_array_equal(one.last_arrival, other.last_arrival)
    for timeframe in Timeframe:
        ticker.same(
            ticker.columns_of(one, timeframe), ticker.columns_of(other, timeframe), exactly=True
        )


@pytest.mark.parametrize("timeframe", list(Timeframe)[1:])
def test_a_larger_bar_is_its_last_small_one(ticker, timeframe):
    ticks = ticker.arrays(ticker.random_rows(11, 700), INVERSE)
    kind = ticker.kinds["inverse future"][1]
    near_rows = ticker.random_rows(12, 700)
    near = ticker.built(
        ticker.arrays(near_rows), DerivativeKind(expiry_us=START + 20 * HOUR)
    ).mark_state()
    small = ticker.built(ticks, kind, near=near).finish()
    day = TickerDay(DayGrid(START, timeframe), kind, near=near)
    day.add(ticks)
    large = day.finish()
    direct = dict(large.statistics) | dict(large.exact[timeframe])
    ticker.same(ticker.columns_of(small, timeframe), direct, exactly=True)
    assert set(large.exact) == {one for one in Timeframe if one.us >= timeframe.us}


def test_rows_of_one_arrival_out_of_place_in_the_file_come_in_order(ticker):
    rows = ticker.random_rows(3, 60)
    shuffled = rows[::-1]
    one = TickerDay(DayGrid(START), PERPETUAL)
    one.add(ticker.arrays(shuffled))
    other = ticker.built(ticker.arrays(rows), PERPETUAL)
    assert len({row.local_timestamp for row in rows}) == len(rows)
    ticker.same(
        ticker.columns_of(one.finish(), Timeframe.S15),
        ticker.columns_of(other.finish(), Timeframe.S15),
        exactly=True,
    )


@settings(max_examples=20)
@given(seed=seeds, bar=st.integers(1, 1_440))
def test_nothing_that_arrives_later_is_known(ticker, seed, bar):
    rows = ticker.random_rows(seed, 300)
    cut = START + bar * MINUTE
    seen = [row for row in rows if row.local_timestamp < cut]
    full, early = (
        ticker.columns_of(ticker.built(ticker.arrays(part), FUTURE).finish(), Timeframe.M1)
        for part in (rows, seen)
    )
    ticker.same(
        {name: values[:bar] for name, values in early.items()},
        {name: values[:bar] for name, values in full.items()},
        exactly=True,
    )


def test_derived_columns_are_their_formulas(ticker):
    rows = ticker.random_rows(5, 900)
    bars = ticker.derived(ticker.built(ticker.arrays(rows), PERPETUAL), Timeframe.M5)
    slow = ticker.slow_columns(rows, LINEAR, PERPETUAL, Timeframe.M5)
    assert {one.name for one in ticker.derived_entries} == {
        "funding_annualised", "oi_change", "oi_change_pct", "mark_last_gap",
    }  # fmt: skip
    known = 0
    for number, bar in enumerate(bars.iter_rows(named=True)):
        now = {name: values[number] for name, values in slow.items()}
        rate, interval = now["funding_rate"], now["funding_interval_h"]
        yearly = None if rate is None or interval is None else rate * 24 / interval * 365
        assert bar["funding_annualised"] == pytest.approx(yearly)
        interest, previous = now["open_interest"], now["oi_previous"]
        change = None if interest is None or previous is None else interest - previous
        assert bar["oi_change"] == pytest.approx(change)
        part = ticker.quotient(change, previous)
        assert bar["oi_change_pct"] == pytest.approx(None if part is None else 100 * part)
        last, mark = now["last_price"], now["mark_price"]
        gap = None if last is None or mark is None else last / mark - 1
        assert bar["mark_last_gap"] == pytest.approx(gap)
        known += None not in (yearly, change, part, gap)
    assert known > 20


def test_small_changes_of_open_interest_add_up_to_the_large_one(ticker):
    rows = [
        ticker.Row(
            START, START + at * MINUTE + SECOND, open_interest=float(at**2 % 97), mark_price=9.0
        )
        for at in range(1, 240)
    ]
    day = ticker.built(ticker.arrays(rows), PERPETUAL)
    small, large = (ticker.derived(day, one)["oi_change"] for one in (Timeframe.M5, Timeframe.H1))
    assert large[1:3].to_list() == pytest.approx([small[12:24].sum(), small[24:36].sum()], abs=1e-9)


@every_kind
def test_doubled_prices_and_fourfold_sizes_scale_each_column_by_its_unit(ticker, kind):
    terms, of = ticker.kinds[kind]
    rows = ticker.random_rows(21, 600)
    # An inverse contract's amount is money: price times size.
    factor = 8 if terms.is_inverse else 4
    scaled = [
        ticker.Row(
            row.timestamp, row.local_timestamp, row.funding_timestamp, row.funding_rate,
            row.predicted_funding_rate,
            None if row.open_interest is None else factor * row.open_interest,
            *(None if value is None else 2 * value
              for value in (row.last_price, row.index_price, row.mark_price)),
        )
        for row in rows
    ]  # fmt: skip
    one, other = (
        ticker.derived(ticker.built(ticker.arrays(part, terms), of), Timeframe.M1)
        for part in (rows, scaled)
    )
    for feature in (*ticker.stored, *ticker.derived_entries):
        if feature.dtype.is_float():
            times = 2.0**feature.unit.price * 4.0**feature.unit.size
            assert other[feature.name].equals(
                (one[feature.name] * times).alias(feature.name), null_equal=True
            ), feature.name


@settings(max_examples=25)
@given(seed=seeds, count=st.integers(0, 200))
def test_a_day_continues_the_one_before(ticker, seed, count):
    earlier = ticker.random_rows(seed, count, START - US_PER_DAY)
    rows = ticker.random_rows(seed + 1, 200)
    first = TickerDay(DayGrid(START - US_PER_DAY), PERPETUAL)
    first.add(ticker.arrays(earlier))
    memory = TickerMemory.from_json(json.loads(json.dumps(first.carry().funding.to_json())))
    assert memory == first.carry().funding
    near_midnight = [row for row in earlier if row.local_timestamp >= START - 11 * MINUTE]
    day = TickerDay(DayGrid(START), PERPETUAL, memory=memory)
    day.prime(ticker.arrays(near_midnight or earlier[-1:]))
    day.add(ticker.arrays(rows))
    ticker.same(
        ticker.columns_of(day.finish(), Timeframe.M1),
        ticker.slow_columns(earlier + rows, LINEAR, PERPETUAL, Timeframe.M1),
    )


def test_the_whole_day_before_does_instead_of_a_memory(ticker):
    earlier, rows = ticker.random_rows(31, 300, START - US_PER_DAY), ticker.random_rows(32, 300)
    day = TickerDay(DayGrid(START), PERPETUAL)
    day.prime(ticker.arrays(earlier))
    day.add(ticker.arrays(rows))
    ticker.same(
        ticker.columns_of(day.finish(), Timeframe.M1),
        ticker.slow_columns(earlier + rows, LINEAR, PERPETUAL, Timeframe.M1),
    )
