"""The simulated chains: small, wide enough for every maturity, listed as prices come near."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, day_span_us

VENUES = ("deribit", "okex-options")
MATURITIES = (7, 30, 60, 90)
FOUR_MINUTES = 240_000_000


def _alive(market, venue, day):
    span = day_span_us(day)
    return [one for one in market.simulator.listings(venue) if one.option and one.lives_in(*span)]


def _days(market):
    window = market.simulator.window
    return [
        window.first + dt.timedelta(days=number)
        for number in range((window.end - window.first).days)
    ]


@pytest.mark.parametrize("venue", VENUES)
def test_a_chain_stays_small(market, day, event_day, venue):
    for one in (day, event_day):
        assert len(_alive(market, venue, one)) <= 100


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("base", ["BTC", "ETH"])
def test_every_maturity_lies_between_two_expiries_on_every_day(market, venue, base):
    for day in _days(market):
        start, end = day_span_us(day)
        alive = [one for one in _alive(market, venue, day) if one.base == base]
        moment = (start + end) // 2
        left = {(one.expiry_us - moment) / US_PER_DAY for one in alive if one.listed_us <= moment}
        for maturity in MATURITIES:
            assert any(0 < one <= maturity for one in left), (day, maturity)
            assert any(one >= maturity for one in left), (day, maturity)


@pytest.mark.parametrize("venue", VENUES)
def test_from_eight_on_strikes_lie_on_both_sides_of_the_price_in_every_expiry(market, venue):
    latent = market.simulator._days.latent
    for day in _days(market):
        strikes = defaultdict(list)
        eight = day_span_us(day)[0] + US_PER_DAY // 3  # when a day's strikes are listed
        for one in _alive(market, venue, day):
            if one.listed_us <= eight < one.expiry_us:
                strikes[one.base, one.expiry_us].append(one.option.strike)
        for (base, _), found in strikes.items():
            assert min(found) < latent.opening_price(base, day) < max(found)


def test_an_option_is_listed_when_the_price_comes_near_and_stays(market):
    latent = market.simulator._days.latent
    for one in market.simulator.listings("deribit"):
        if one.option is None:
            continue
        listed = dt.date(1970, 1, 1) + dt.timedelta(days=one.listed_us // US_PER_DAY)
        distance = math.log(one.option.strike / latent.opening_price(one.base, listed))
        assert abs(distance) < 0.36
        assert one.listed_us < one.expiry_us
        assert one.delisted_us is None
        # out of the money, or next to it
        assert distance > -0.15 if one.option.is_call else distance < 0.15


def test_every_expiry_has_a_pair_of_put_and_call(market, day):
    pairs = defaultdict(list)
    for one in _alive(market, "deribit", day):
        pairs[one.base, one.expiry_us, one.option.strike].append(one.option.is_call)
    having = {key[:2] for key, rights in pairs.items() if sorted(rights) == [False, True]}
    assert having == {key[:2] for key in pairs}


def test_a_mark_is_said_every_four_minutes_however_quiet_the_book(market, day):
    chain = market.rows("okex-options", DataType.OPTIONS_CHAIN, day, "OPTIONS")
    start, _ = day_span_us(day)
    for (symbol,), rows in chain.group_by("symbol"):
        listing = market.listing("okex-options", symbol)
        if listing.listed_us <= start - US_PER_DAY:
            gaps = np.diff(rows["timestamp"].sort().to_numpy())
            assert gaps.max() <= FOUR_MINUTES + 1_000, symbol
            assert rows.height > 360
    assert chain.height == chain.select("symbol", "local_timestamp").n_unique()
    assert chain.select(pl.col("local_timestamp").is_sorted()).item()
