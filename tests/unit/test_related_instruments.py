"""The choice of the reference instrument and of the near contract, from the universe alone."""

from __future__ import annotations

import datetime as dt
from itertools import permutations

import pytest

from tickhandler_dagster.market.related_instruments import near_key, reference_key

DAY_END = dt.datetime(2024, 8, 9, tzinfo=dt.UTC)


def instrument(key, kind="PERPETUAL", quote="USDT", *, base="BTC", **more):
    return {
        "instrument_key": key,
        "instrument_type": kind,
        "base_asset": base,
        "quote_asset": quote,
        "settle_asset": quote,
        "is_inverse": False,
        "expiry": None,
    } | more


BEST_FIRST = (
    instrument("k9"),
    instrument("k8", quote="USDC"),
    instrument("k7", quote="USD"),
    instrument("k5", quote="EUR"),
    instrument("k6", quote="USD", is_inverse=True),
    instrument("k4", "SPOT_PAIR"),
    instrument("k2", "SPOT_PAIR", "USD"),
    instrument("k3", "FUTURE"),
    instrument("k1", "FUTURE", "USD", is_inverse=True),
)


@pytest.mark.parametrize("best", range(len(BEST_FIRST)))
def test_the_reference_is_the_best_of_what_the_venue_lists(best):
    left = BEST_FIRST[best:]
    expected = left[0]["instrument_key"]
    assert reference_key(left) == expected
    assert reference_key(reversed(left)) == expected


def test_among_equals_the_reference_is_the_first_by_key():
    for order in permutations([instrument("b"), instrument("a"), instrument("c")]):
        assert reference_key(order) == "a"


def test_a_venue_without_bitcoin_has_no_reference():
    others = [instrument("eth", base="ETH"), instrument("option", "OPTION")]
    assert reference_key(others) is None
    assert reference_key([]) is None


def future(key, days, **more):
    """A future that expires so many days after the end of the day."""
    return instrument(key, "FUTURE", expiry=DAY_END + dt.timedelta(days=days), **more)


NEAR, MIDDLE, FAR = future("near", 7), future("middle", 30), future("far", 90)


def test_the_near_contract_is_the_one_that_expires_first():
    for order in permutations([NEAR, MIDDLE, FAR]):
        assert near_key(FAR, order, DAY_END) == "near"
        assert near_key(MIDDLE, order, DAY_END) == "near"
        assert near_key(NEAR, order, DAY_END) is None


def test_one_that_expires_within_the_day_is_not_the_near_contract():
    expiring = future("expiring", -0.5)
    universe = [expiring, NEAR, FAR]
    assert near_key(FAR, universe, DAY_END) == "near"
    assert near_key(NEAR, universe, DAY_END) is None
    assert near_key(expiring, universe, DAY_END) is None  # a later contract is nobody's near one
    at_midnight = future("midnight", 0)
    assert near_key(FAR, [*universe, at_midnight], DAY_END) == "midnight"


def test_only_contracts_of_the_same_kind_compare():
    for other in (
        future("a", 1, base="ETH"),
        future("a", 1, quote="USD"),
        future("a", 1) | {"settle_asset": "BTC"},
        instrument("a"),
        instrument("a", "OPTION", expiry=DAY_END + dt.timedelta(days=1)),
    ):
        assert near_key(FAR, [FAR, other], DAY_END) is None


def test_twins_have_no_spread_between_them():
    twin = future("a twin", 90)
    assert near_key(FAR, [FAR, twin], DAY_END) is None
    assert near_key(twin, [FAR, twin], DAY_END) is None


def test_what_never_expires_has_no_near_contract():
    endless = instrument("endless", "FUTURE")
    for one in (endless, instrument("perpetual"), instrument("spot", "SPOT_PAIR")):
        assert near_key(one, [one, NEAR], DAY_END) is None
    assert near_key(FAR, [FAR, endless], DAY_END) is None
