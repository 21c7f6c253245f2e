"""What the ticker's columns say at the edges: stale, missing, expired, out of place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tickhandler_dagster.market.bars.ticker import DerivativeKind, NearContract, TickerDay
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, family_columns
from tickhandler_dagster.market.timeframes import Timeframe

START = 19_943 * US_PER_DAY
SECOND, MINUTE, HOUR = 10**6, 60 * 10**6, 3_600 * 10**6
LINEAR, INVERSE = ContractTerms(0.01), ContractTerms(100.0, is_inverse=True)
PERPETUAL = DerivativeKind(is_perpetual=True)
FUTURE = DerivativeKind(expiry_us=START + 10 * HOUR)


def test_last_arrival_is_the_last_row_before_the_end_of_the_bar(ticker):
    rows = [
        ticker.Row(START + 9 * SECOND, START + at * SECOND, mark_price=1.0) for at in (10, 16, 44)
    ]
    found = ticker.built(ticker.arrays(rows), PERPETUAL).finish().last_arrival
    wanted = [START + at * SECOND for at in (10, 16, 44, 44)]
    assert found[:4].tolist() == wanted
    assert TickerDay(DayGrid(START), PERPETUAL).finish().last_arrival[0] == NO_ARRIVAL


def test_a_row_at_the_end_of_a_bar_belongs_to_the_next(ticker):
    rows = [ticker.Row(START, START + 15 * SECOND, index_price=5.0)]
    index = ticker.built(ticker.arrays(rows), PERPETUAL).finish().statistics["index_price"]
    assert math.isnan(index[0])
    assert index[1] == 5.0


def test_a_value_is_forgotten_after_ten_minutes(ticker):
    rows = [
        ticker.Row(START, START + 15 * SECOND, open_interest=4.0, mark_price=1.0),
        ticker.Row(START, START + 5 * MINUTE, index_price=2.0),
    ]
    found = ticker.built(ticker.arrays(rows), PERPETUAL).finish().statistics
    for name, arrived in (("open_interest", 15), ("mark_price", 15), ("index_price", 300)):
        known = np.flatnonzero(~np.isnan(found[name]))
        # Known from the end of the first bar that begins then up to exactly ten minutes later.
        assert (known[0], known[-1]) == (arrived // 15, (arrived + 600) // 15 - 1)
    assert found["ticker_age_ms"][-1] == (86_400 - 300) * 1000


def test_open_interest_may_be_missing_after_a_restart(ticker):
    rows = [
        ticker.Row(START, START + SECOND, mark_price=10.0),
        ticker.Row(START, START + 16 * SECOND, mark_price=10.0),
        ticker.Row(START, START + 31 * SECOND, mark_price=10.0, open_interest=300.0),
        ticker.Row(START, START + 46 * SECOND, mark_price=10.0, open_interest=500.0),
    ]
    bars = ticker.derived(ticker.built(ticker.arrays(rows), PERPETUAL), Timeframe.S15).head(4)
    assert bars["open_interest"].to_list() == [None, None, 3.0, 5.0]
    assert bars["oi_change"].to_list() == [None, None, None, 2.0]
    assert bars["oi_change_pct"].to_list() == pytest.approx([None, None, None, 200 / 3])


def test_a_price_alone_does_not_change_the_open_interest_of_an_inverse_contract(ticker):
    rows = [
        ticker.Row(START, START + at * SECOND, open_interest=1000.0, mark_price=50.0 + at)
        for at in (5, 20, 35, 50)
    ]
    kind = DerivativeKind(is_inverse=True, is_perpetual=True)
    bars = ticker.derived(ticker.built(ticker.arrays(rows, INVERSE), kind), Timeframe.S15).head(4)
    assert bars["open_interest"].n_unique() == 4
    assert bars["oi_change"].to_list() == [None, 0.0, 0.0, 0.0]


def test_a_dated_future_has_no_funding_and_a_perpetual_no_basis(ticker):
    rows = [
        ticker.Row(
            START, START + at * MINUTE, open_interest=5.0, index_price=100.0, mark_price=101.0
        )
        for at in range(60)
    ]
    future, perpetual = (
        family_columns(
            ticker.built(ticker.arrays(rows), kind).finish(), ticker.stored, Timeframe.H1
        )
        for kind in (FUTURE, PERPETUAL)
    )
    for name in ("funding_rate", "next_funding_time", "funding_interval_h", "funding_settled",
                 "predicted_funding_rate", "perp_premium", "calendar_spread"):  # fmt: skip
        assert future[name].null_count() == 24, name
    for name in ("futures_basis", "futures_basis_annualised", "calendar_spread"):
        assert perpetual[name].null_count() == 24, name
    assert perpetual["perp_premium"][0] == pytest.approx(0.01)
    assert future["futures_basis"][0] == pytest.approx(0.01)


def test_the_annualised_basis_ends_half_a_day_before_expiry(ticker):
    rows = [
        ticker.Row(START, START + at * MINUTE, index_price=100.0, mark_price=101.0)
        for at in range(1_440)
    ]
    kind = DerivativeKind(expiry_us=START + 20 * HOUR)
    found = family_columns(
        ticker.built(ticker.arrays(rows), kind).finish(), ticker.stored, Timeframe.H1
    )
    yearly = found["futures_basis_annualised"]
    assert yearly[7] == pytest.approx(0.01 * 365 / 0.5)
    assert yearly.null_count() == 16
    assert found["futures_basis"].null_count() == 0


def test_a_ticker_without_funding_times_keeps_its_rate_and_has_no_interval(ticker):
    rows = [
        ticker.Row(START + at * MINUTE, START + at * MINUTE, funding_rate=at / 1e6, mark_price=7.0)
        for at in range(1_440)
    ]
    bars = ticker.derived(ticker.built(ticker.arrays(rows), PERPETUAL), Timeframe.H1)
    assert bars["funding_rate"].to_list() == [(60 * hour + 59) / 1e6 for hour in range(24)]
    for name in ("next_funding_time", "funding_interval_h", "funding_settled",
                 "funding_annualised"):  # fmt: skip
        assert bars[name].null_count() == 24, name


def test_a_later_future_is_compared_with_the_nearest_while_that_is_listed(ticker):
    near_rows, far_rows = (
        [
            ticker.Row(START, START + at * MINUTE, mark_price=price + at / 100, index_price=99.0)
            for at in range(1_440)
        ]
        for price in (100.0, 104.0)
    )
    expiry = START + 8 * HOUR
    near = ticker.built(ticker.arrays(near_rows), DerivativeKind(expiry_us=expiry)).mark_state()
    kind = DerivativeKind(expiry_us=expiry + 14 * US_PER_DAY)
    found = ticker.built(ticker.arrays(far_rows), kind, near=near).finish().statistics

    def mark(moment):
        return 100 + ((moment - START - 1) // MINUTE) / 100

    slow = ticker.slow_columns(far_rows, LINEAR, kind, Timeframe.S15, near=(expiry, mark))
    for name in ("calendar_spread", "roll_yield_per_day"):
        ticker.same({name: found[name]}, {name: slow[name]})
        assert np.isnan(found[name]).tolist() == [False] * 1_920 + [True] * 3_840
    own = ticker.built(
        ticker.arrays(near_rows), DerivativeKind(expiry_us=expiry), near=near
    ).finish()
    assert np.isnan(own.statistics["calendar_spread"]).all()
    assert ticker.built(ticker.arrays(near_rows), PERPETUAL).mark_state() is None


def test_a_near_contract_seen_later_makes_the_bar_later(ticker):
    rows = [ticker.Row(START, START + SECOND, mark_price=5.0)]
    arrivals = np.full(5_760, START + 7 * SECOND)
    near = NearContract(START + US_PER_DAY, np.full(5_760, 4.0), arrivals)
    kind = DerivativeKind(expiry_us=START + 9 * US_PER_DAY)
    assert (
        ticker.built(ticker.arrays(rows), kind, near=near).finish().last_arrival[0]
        == START + 7 * SECOND
    )


@pytest.mark.parametrize("at", [START - 1, START + US_PER_DAY])
def test_rows_of_another_day_are_refused(ticker, at):
    with pytest.raises(CorruptData, match="part of the day still open"):
        TickerDay(DayGrid(START), PERPETUAL).add(
            ticker.arrays([ticker.Row(at, at, mark_price=1.0)])
        )


def test_rows_before_a_span_already_added_are_refused(ticker):
    day = ticker.built(
        ticker.arrays([ticker.Row(START, START + MINUTE, mark_price=1.0)]), PERPETUAL
    )
    with pytest.raises(CorruptData, match="part of the day still open"):
        day.add(ticker.arrays([ticker.Row(START, START + MINUTE + SECOND, mark_price=1.0)]))


def test_only_rows_before_the_day_prime_it(ticker):
    with pytest.raises(CorruptData, match="before"):
        TickerDay(DayGrid(START), PERPETUAL).prime(
            ticker.arrays([ticker.Row(START, START, mark_price=1.0)])
        )
