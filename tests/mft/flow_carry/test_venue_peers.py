"""Which instrument of another venue an instrument is compared with."""

from __future__ import annotations

import datetime as dt
import itertools

from tickhandler_dagster.market.mft.venue_peers import group_keys, peer_key


def _instrument(key, base="BTC", quote="USDT", *, is_inverse=False, expiry=None):
    venue, kind, _ = key.split(":")
    return {
        "instrument_key": key,
        "venue": venue.lower(),
        "instrument_type": kind,
        "base_asset": base,
        "quote_asset": quote,
        "is_inverse": is_inverse,
        "expiry": expiry,
    }


FRIDAY = dt.datetime(2024, 9, 27, 8, tzinfo=dt.UTC)
OWN = _instrument("BYBIT:PERPETUAL:BTC-USDT")
THERE = _instrument("BINANCE-FUTURES:PERPETUAL:BTC-USDT")
UNIVERSE = [
    THERE,
    _instrument("BINANCE-FUTURES:PERPETUAL:BTC-USDC", quote="USDC"),
    _instrument("BINANCE-FUTURES:PERPETUAL:ETH-USDT", base="ETH"),
    _instrument("BINANCE-FUTURES:FUTURE:BTC-USDT-240927", expiry=FRIDAY),
    _instrument("BINANCE:SPOT_PAIR:BTC-USDT"),
    _instrument("BINANCE:SPOT_PAIR:BTC-EUR", quote="EUR"),
    _instrument("DERIBIT:PERPETUAL:BTC-USD", quote="USD", is_inverse=True),
    _instrument("DERIBIT:OPTION:BTC-USD-240927-60000-CALL", quote="USD", expiry=FRIDAY),
    OWN,
]


def test_the_peer_is_the_same_pair_and_kind_whatever_the_order():
    assert peer_key(OWN, UNIVERSE) == THERE["instrument_key"]
    for order in itertools.islice(itertools.permutations(UNIVERSE), 50):
        assert peer_key(OWN, order) == THERE["instrument_key"]


def test_an_instrument_of_the_reference_venue_has_no_peer():
    assert peer_key(THERE, [row for row in UNIVERSE if row["venue"] == THERE["venue"]]) is None


def test_an_inverse_contract_is_no_peer_of_a_linear_one():
    linear = _instrument("OKX:PERPETUAL:BTC-USD", quote="USD")
    assert peer_key(linear, UNIVERSE) is None


def test_futures_need_the_same_day_of_expiry_not_the_same_hour():
    alike = _instrument("OKX:FUTURE:BTC-USDT-240927", expiry=FRIDAY + dt.timedelta(hours=1))
    later = _instrument("OKX:FUTURE:BTC-USDT-241227", expiry=FRIDAY + dt.timedelta(days=91))
    assert peer_key(alike, UNIVERSE) == "BINANCE-FUTURES:FUTURE:BTC-USDT-240927"
    assert peer_key(later, UNIVERSE) is None


def test_options_are_compared_with_nothing():
    option = _instrument("OKX:OPTION:BTC-USD-240927-60000-CALL", quote="USD", expiry=FRIDAY)
    assert peer_key(option, UNIVERSE) is None
    assert group_keys(option, UNIVERSE) == ()


def test_dollars_are_one_quote_in_the_sum_of_money_and_others_are_not():
    assert group_keys(OWN, UNIVERSE) == (
        "BINANCE-FUTURES:PERPETUAL:BTC-USDC",
        "BINANCE-FUTURES:PERPETUAL:BTC-USDT",
        "DERIBIT:PERPETUAL:BTC-USD",
    )
    euro = _instrument("KRAKEN:SPOT_PAIR:BTC-EUR", quote="EUR")
    assert group_keys(euro, reversed(UNIVERSE)) == ("BINANCE:SPOT_PAIR:BTC-EUR",)
