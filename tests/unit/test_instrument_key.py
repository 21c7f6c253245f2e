"""Cases of the key grammar; its laws are in `tests/property`."""

from __future__ import annotations

import datetime as dt

import pytest

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import (
    InstrumentKey,
    InstrumentType,
    OptionType,
    canonical_strike,
)
from tickhandler_dagster.market.instruments_table import INSTRUMENT_TYPES
from tickhandler_dagster.market.venues import VenueId


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("binance:spot_pair:btc-usdt", "BINANCE:SPOT_PAIR:BTC-USDT"),
        ("BINANCE-FUTURES:PERP:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:BTC-USDT"),
        ("OKEX-SWAP:PERPETUAL:BTC-USD", "OKX-SWAP:PERPETUAL:BTC-USD"),
        ("HYPERLIQUID:PERPETUAL:XYZ-TSLA-USDC", "HYPERLIQUID:PERPETUAL:XYZ-TSLA-USDC"),
        ("DERIBIT:FUTURE:BTC-USD-241225", "DERIBIT:FUTURE:BTC-USD-241225"),
        ("DERIBIT:OPTION:BTC-USD-241225-50000.00-CALL", "DERIBIT:OPTION:BTC-USD-241225-50000-CALL"),
        ("DERIBIT:OPTION:XRP-USDC-251226-0.480-PUT", "DERIBIT:OPTION:XRP-USDC-251226-0.48-PUT"),
    ],
)
def test_a_text_is_stored_in_its_canonical_form(text, canonical):
    assert str(InstrumentKey.parse(text)) == canonical


def test_a_hyphen_belongs_to_the_base():
    key = InstrumentKey.parse("HYPERLIQUID:PERPETUAL:XYZ-TSLA-USDC")
    assert (key.base, key.quote) == ("XYZ-TSLA", "USDC")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BINANCE:BTC-USDT",
        "BINANCE:SPOT_PAIR:BTC-USDT:X",
        "NOWHERE:SPOT_PAIR:BTC-USDT",
        "BINANCE:SPOT:BTC-USDT",
        "BINANCE:SPOT_PAIR:BTCUSDT",
        "BINANCE:SPOT_PAIR:-USDT",
        "BINANCE:SPOT_PAIR:BTC/X-USDT",
        "BINANCE:SPOT_PAIR:B|C-USDT",
        "DERIBIT:FUTURE:BTC-USD",
        "DERIBIT:FUTURE:BTC-USD-241332",
        "DERIBIT:OPTION:BTC-USD-241225-50000-C",
        "DERIBIT:OPTION:BTC-USD-241225-0.0-CALL",
        "DERIBIT:OPTION:BTC-USD-241225-5K-CALL",
    ],
)
def test_a_text_that_is_no_key_is_refused(text):
    with pytest.raises(InvalidInput):
        InstrumentKey.parse(text)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (InstrumentType.SPOT_PAIR, {"expiry": dt.date(2024, 12, 25)}),
        (InstrumentType.PERPETUAL, {"strike": "1"}),
        (InstrumentType.FUTURE, {}),
        (InstrumentType.FUTURE, {"expiry": dt.date(1999, 12, 31)}),
        (InstrumentType.FUTURE, {"expiry": dt.date(2100, 1, 1)}),
        (InstrumentType.OPTION, {"expiry": dt.date(2024, 12, 25), "strike": "1"}),
    ],
)
def test_a_key_has_the_parts_of_its_type_and_no_others(kind, parts):
    with pytest.raises(InvalidInput, match="instrument key"):
        InstrumentKey(VenueId.DERIBIT, kind, "BTC", "USD", **parts)


@pytest.mark.parametrize("strike", ["0", "01", "1.0", "1e5", "-5", "", "0.0", ".5"])
def test_a_key_cannot_hold_a_strike_in_a_second_spelling(strike):
    with pytest.raises(InvalidInput, match="strike"):
        InstrumentKey(
            VenueId.DERIBIT,
            InstrumentType.OPTION,
            "BTC",
            "USD",
            expiry=dt.date(2024, 12, 25),
            strike=strike,
            option_type=OptionType.PUT,
        )


@pytest.mark.parametrize("base", ["btc", "", "BTC-", "-BTC", "A--B", "A B", "A:B", "A/B", "A|B"])
def test_a_key_cannot_hold_a_base_that_does_not_parse_back(base):
    with pytest.raises(InvalidInput, match="base"):
        InstrumentKey(VenueId.BINANCE, InstrumentType.SPOT_PAIR, base, "USDT")


def test_a_quote_holds_no_hyphen():
    with pytest.raises(InvalidInput, match="quote"):
        InstrumentKey(VenueId.BINANCE, InstrumentType.SPOT_PAIR, "BTC", "US-D")


def test_a_strike_that_is_no_decimal_is_refused():
    with pytest.raises(InvalidInput, match="not a strike"):
        canonical_strike("5e4")


def test_the_table_knows_exactly_the_types_of_keys():
    assert tuple(InstrumentType) == INSTRUMENT_TYPES
