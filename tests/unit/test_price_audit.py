"""Two prices of one thing: days that agree raise nothing, a wrong bar or day is found."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.audits.prices import (
    INDEX,
    MIN_BARS,
    SPOT_PERPETUAL,
    Counterparts,
    bars_apart,
    venues_beside,
)
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.venues import VenueId

DAY = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DEPTH = {SPOT_PERPETUAL: "spot", **{bound: kind for kind, bound in INDEX.items()}}


def prices(*, seed=1, bars=600, noise=1e-4, basis=0.0):
    """A walk, and the same with a basis and some noise."""
    rng = np.random.default_rng(seed)
    walk = 60_000 * np.exp(np.cumsum(rng.normal(0, 1e-3, bars)))
    return pl.DataFrame(
        {
            "ts_open": [DAY + number * MINUTE for number in range(bars)],
            "price": walk * np.exp(basis + rng.normal(0, noise, bars)),
            "other": walk,
        }
    )


def shifted(frame, first, last, factor):
    place = pl.int_range(pl.len())
    is_in = (place >= first) & (place < last)
    return frame.with_columns(pl.when(is_in).then(pl.col("price") * factor).otherwise("price"))


@given(
    seed=st.integers(0, 1_000),
    noise=st.sampled_from([0.0, 1e-5, 1e-4, 1e-3]),
    basis=st.floats(-0.09, 0.09),
)
@settings(max_examples=60)
def test_a_usual_day_raises_nothing_whatever_its_basis_and_noise(seed, noise, basis):
    assert bars_apart(prices(seed=seed, noise=noise, basis=basis), SPOT_PERPETUAL) is None


@given(
    first=st.integers(0, 500),
    length=st.integers(1, 90),
    factor=st.sampled_from([0.5, 0.98, 1.02, 10.0]),
)
@settings(max_examples=60)
def test_bars_of_a_wrong_price_are_found_and_no_other(first, length, factor):
    found = bars_apart(shifted(prices(), first, first + length, factor), SPOT_PERPETUAL)
    assert (found.bars, found.of_bars) == (length, 600)
    assert found.first_at == DAY + first * MINUTE
    assert found.last_at == DAY + (first + length - 1) * MINUTE
    assert found.worst == pytest.approx(np.log(factor), abs=1e-3)
    assert found.bound == SPOT_PERPETUAL.floor
    assert f"at {found.worst_at:%H:%M:%S} (allowed 0.50 %)" in found.text


@pytest.mark.parametrize("bound", DEPTH, ids=DEPTH.get)
def test_a_day_whose_price_is_another_unit_is_wrong_in_every_bar(bound):
    day = prices(basis=np.log(1_000))
    found = bars_apart(day, bound)
    assert (found.bars, found.of_bars, found.worst) == (600, 600, None)
    assert found.text.startswith("the day's median distance is 99")
    assert bars_apart(prices(basis=bound.day * 0.99), bound) is None


def test_a_restless_pair_is_allowed_more_than_a_quiet_one():
    wrong = 1.02
    assert bars_apart(shifted(prices(noise=1e-4), 10, 11, wrong), SPOT_PERPETUAL).bars == 1
    assert bars_apart(shifted(prices(noise=2e-3), 10, 11, wrong), SPOT_PERPETUAL) is None


def test_few_bars_say_nothing_and_those_without_a_price_are_not_counted():
    day = prices(bars=MIN_BARS)
    assert bars_apart(shifted(day, 0, 1, 2.0), SPOT_PERPETUAL).of_bars == MIN_BARS
    without = day.with_columns(
        other=pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("other")
    )
    assert bars_apart(shifted(without, 0, 1, 2.0), SPOT_PERPETUAL) is None


def test_the_counterpart_is_the_same_asset_in_the_same_money_where_there_is_one():
    spot = Counterparts(
        f"BINANCE:SPOT_PAIR:{pair}"
        for pair in ("BTC-EUR", "BTC-USDC", "BTC-USDT", "ETH-BTC", "SHIB-USDT")
    )
    assert spot.of("BINANCE-FUTURES:PERPETUAL:BTC-USDT")[0] == "BINANCE:SPOT_PAIR:BTC-USDT"
    assert spot.of("BITMEX:PERPETUAL:BTC-USD") == [
        "BINANCE:SPOT_PAIR:BTC-USDC",
        "BINANCE:SPOT_PAIR:BTC-USDT",
    ]
    for stranger in (
        "BINANCE-FUTURES:PERPETUAL:1000SHIB-USDT",
        "BINANCE-FUTURES:FUTURE:BTC-USDT-241227",
        "DERIBIT:OPTION:BTC-USD-241227-50000-CALL",
        "COINBASE:SPOT_PAIR:BTC-USDT",
    ):
        assert spot.of(stranger) == []


def test_every_pair_of_venues_is_seen_from_both_sides():
    for venue in VenueId:
        for other in venues_beside(venue):
            assert venue in venues_beside(other)
    assert venues_beside(VenueId.BINANCE_FUTURES) == (VenueId.BINANCE,)
    assert venues_beside(VenueId.HYPERLIQUID) == (VenueId.HYPERLIQUID, VenueId.BINANCE)
    assert venues_beside(VenueId.UPBIT) == ()


def test_types_without_an_index_are_not_held_against_one():
    assert set(INDEX) == {InstrumentType.PERPETUAL, InstrumentType.FUTURE}
