"""How each venue spells its symbols, by real names and by the names an earlier parser got wrong."""

from __future__ import annotations

import datetime as dt

import pytest

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.symbols import binance, bitmex, bybit
from tickhandler_dagster.market.symbols.expiry_codes import (
    day_month_year,
    month_code,
    year_month_day,
)
from tickhandler_dagster.market.symbols.quote_suffix import split_quote
from tickhandler_dagster.market.symbols.registry import parse_symbol
from tickhandler_dagster.market.venues import VenueId

# venue, symbol, vendor's type, symbol part of the key, settle asset, flags
READ = [
    ("binance", "BTCUSDT", "spot", "BTC-USDT", "USDT", ""),
    ("binance", "1INCHUSDT", "spot", "1INCH-USDT", "USDT", ""),
    ("binance", "C98USDT", "spot", "C98-USDT", "USDT", ""),
    ("binance", "USDTBIDR", "spot", "USDT-BIDR", "BIDR", ""),
    ("binance", "BTCUPUSDT", "spot", "BTCUP-USDT", "USDT", ""),
    ("binance", "ETHBTC", "spot", "ETH-BTC", "BTC", ""),
    ("binance", "BTCUSDC", "spot", "BTC-USDC", "USDC", ""),
    ("binance", "WBTCBTC", "spot", "WBTC-BTC", "BTC", ""),
    ("binance", "FDUSDUSDT", "spot", "FDUSD-USDT", "USDT", ""),
    ("binance", "ADAEUR", "spot", "ADA-EUR", "EUR", ""),
    ("binance", "EURAEUR", "spot", "EUR-AEUR", "AEUR", ""),
    ("binance", "AEURUSDT", "spot", "AEUR-USDT", "USDT", ""),
    ("binance", "1000SATSUSDT", "spot", "1000SATS-USDT", "USDT", ""),
    ("binance-futures", "BTCUSDT", "perpetual", "BTC-USDT", "USDT", ""),
    ("binance-futures", "BTCUSDC", "perpetual", "BTC-USDC", "USDC", ""),
    ("binance-futures", "1000SHIBUSDT", "perpetual", "1000SHIB-USDT", "USDT", ""),
    ("binance-futures", "ETHBTC", "perpetual", "ETH-BTC", "BTC", ""),
    ("binance-futures", "BTCUSDT_231229", "future", "BTC-USDT-231229", "USDT", ""),
    ("binance-delivery", "BTCUSD_PERP", "perpetual", "BTC-USD", "BTC", "inverse"),
    ("binance-delivery", "BTCUSD_200925", "future", "BTC-USD-200925", "BTC", "inverse"),
    ("deribit", "BTC-PERPETUAL", "perpetual", "BTC-USD", "BTC", "inverse"),
    ("deribit", "BTC_USDC-PERPETUAL", "perpetual", "BTC-USDC", "USDC", ""),
    ("deribit", "ETH_BTC", "spot", "ETH-BTC", "BTC", ""),
    ("deribit", "BTC-29DEC23", "future", "BTC-USD-231229", "BTC", "inverse"),
    ("deribit", "BTC-9JUN20", "future", "BTC-USD-200609", "BTC", "inverse"),
    ("deribit", "BTC_USDC-26DEC25", "future", "BTC-USDC-251226", "USDC", ""),
    ("deribit", "BTC-9JUN20-9875-P", "option", "BTC-USD-200609-9875-PUT", "BTC", ""),
    ("deribit", "XRP_USDC-26DEC25-2D5-C", "option", "XRP-USDC-251226-2.5-CALL", "USDC", ""),
    ("deribit", "xrp_usdc-26DEC25-0d48-p", "option", "XRP-USDC-251226-0.48-PUT", "USDC", ""),
    ("bybit", "BTCUSD", "perpetual", "BTC-USD", "BTC", "inverse"),
    ("bybit", "BTCUSDT", "perpetual", "BTC-USDT", "USDT", ""),
    ("bybit", "BTCPERP", "perpetual", "BTC-USDC", "USDC", ""),
    ("bybit", "PERPUSDT", "perpetual", "PERP-USDT", "USDT", ""),
    ("bybit", "10000LADYSUSDT", "perpetual", "10000LADYS-USDT", "USDT", ""),
    ("bybit", "BTCUSDH25", "future", "BTC-USD-250328", "BTC", "inverse"),
    ("bybit", "BTC-29DEC23", "future", "BTC-USDC-231229", "USDC", ""),
    ("bybit", "BTCUSDT-26DEC25", "future", "BTC-USDT-251226", "USDT", ""),
    ("bybit-spot", "BTCUSDT", "spot", "BTC-USDT", "USDT", ""),
    ("bybit-spot", "BTCBRZ", "spot", "BTC-BRZ", "BRZ", ""),
    ("okex", "BTC-USDT", "spot", "BTC-USDT", "USDT", ""),
    ("okex", "1INCH-USDT", "spot", "1INCH-USDT", "USDT", ""),
    ("okex", "BTC-TRY", "spot", "BTC-TRY", "TRY", ""),
    ("okex", "BTC-USD", "spot", "BTC-USD", "USD", ""),
    ("okex-swap", "BTC-USD-SWAP", "perpetual", "BTC-USD", "BTC", "inverse"),
    ("okex-swap", "BTC-USDT-SWAP", "perpetual", "BTC-USDT", "USDT", ""),
    ("okex-futures", "BTC-USD-200103", "future", "BTC-USD-200103", "BTC", "inverse"),
    ("okex-futures", "BTC-USDT-231229", "future", "BTC-USDT-231229", "USDT", ""),
    ("okex-options", "BTC-USD-200327-8500-P", "option", "BTC-USD-200327-8500-PUT", "BTC", ""),
    ("upbit", "KRW-BTC", "spot", "BTC-KRW", "KRW", ""),
    ("upbit", "BTC-ETH", "spot", "ETH-BTC", "BTC", ""),
    ("coinbase", "BTC-USD", "spot", "BTC-USD", "USD", ""),
    ("coinbase", "00-USD", "spot", "00-USD", "USD", ""),
    ("hyperliquid", "BTC", "perpetual", "BTC-USDC", "USDC", ""),
    ("hyperliquid", "KPEPE", "perpetual", "KPEPE-USDC", "USDC", ""),
    ("hyperliquid", "XYZ-TSLA", "perpetual", "XYZ-TSLA-USDC", "USDC", ""),
    ("hyperliquid", "PURR-USDC", "spot", "PURR-USDC", "USDC", ""),
    ("bitmex", "XBTUSD", "perpetual", "BTC-USD", "BTC", "inverse"),
    ("bitmex", "ETHUSD", "perpetual", "ETH-USD", "BTC", "quanto"),
    ("bitmex", "XBTUSDT", "perpetual", "BTC-USDT", "USDT", ""),
    ("bitmex", "XBT_USDT", "spot", "BTC-USDT", "USDT", ""),
    ("bitmex", "XBTZ24", "future", "BTC-USD-241227", "BTC", "inverse"),
    ("bitmex", "ETHUSDM21", "future", "ETH-USD-210625", "BTC", "quanto"),
    ("bitmex", "ETHZ20", "future", "ETH-BTC-201225", "BTC", ""),
    ("bitmex", "XBTUSDTZ22", "future", "BTC-USDT-221230", "USDT", ""),
]


@pytest.mark.parametrize("row", READ, ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_real_symbol_is_read(row):
    venue, symbol, vendor_type, key, settle, flags = row
    parsed = parse_symbol(VenueId(venue), symbol, vendor_type)
    assert parsed.key.symbol == key
    assert parsed.settle_asset == settle
    assert (parsed.is_inverse, parsed.is_quanto) == (flags == "inverse", flags == "quanto")


# What is not certain is refused: a wrong type, a broken date, an asset or a form that is not in
# the venue's grammar.
REFUSED = [
    ("binance", "BTCXYZ", "spot"),
    ("binance", "USDT", "spot"),
    ("binance", "BTCUSDT", "perpetual"),
    ("binance", "BTCUSDT", "combo"),
    ("binance", "BTCUSDT", "swap"),
    ("binance-futures", "BTCXYZ", "perpetual"),
    ("binance-futures", "BTCUSDT", "future"),
    ("binance-futures", "BTCUSDT_231229", "perpetual"),
    ("binance-futures", "BTCUSDT_231399", "future"),
    ("binance-futures", "LUNAUSDT_SETTLED", "perpetual"),
    ("binance-delivery", "BTCUSDT", "perpetual"),
    ("binance-delivery", "BTCUSD_PERP", "future"),
    ("binance-delivery", "BTCUSD_200925", "perpetual"),
    ("binance-delivery", "BTCUSD_209925", "future"),
    ("deribit", "BTC-FS-28MAR25_PERP", "future"),
    ("deribit", "BTC-PERPETUAL", "future"),
    ("deribit", "BTC-31FEB25", "future"),
    ("deribit", "BTC-29QQQ23", "future"),
    ("deribit", "BTC-28MAR25-0-C", "option"),
    ("bybit", "BTCXYZ", "perpetual"),
    ("bybit", "BTCUSD", "future"),
    ("bybit", "BTC-31FEB25", "future"),
    ("bybit", "BTCUSDT", "spot"),
    ("bybit-spot", "BTCUSDT", "perpetual"),
    ("bybit-spot", "BTCXYZ", "spot"),
    ("okex", "BTC-USD-SWAP", "spot"),
    ("okex", "BTC-USD-SWAP", "perpetual"),
    ("okex-swap", "BTC-EUR-SWAP", "perpetual"),
    ("okex-futures", "BTC-USD-201399", "future"),
    ("upbit", "BTC", "spot"),
    ("upbit", "KRW-BTC-X", "spot"),
    ("upbit", "KRW-BTC", "perpetual"),
    ("coinbase", "BTC", "spot"),
    ("coinbase", "BTC-USD-X", "spot"),
    ("coinbase", "BTC-USD", "future"),
    ("hyperliquid", "@107", "spot"),
    ("hyperliquid", "PURR", "spot"),
    ("hyperliquid", "BTC", "future"),
    ("bitmex", "ETHUSD_ETH", "perpetual"),
    ("bitmex", "XBTEUR", "perpetual"),
    ("bitmex", "XBTUSDT", "spot"),
    ("bitmex", "XBTUSD", "future"),
    ("bitmex", "XBTUSD", "option"),
]


@pytest.mark.parametrize(("venue", "symbol", "vendor_type"), REFUSED)
def test_a_symbol_that_is_not_certain_is_refused(venue, symbol, vendor_type):
    with pytest.raises(InvalidInput):
        parse_symbol(VenueId(venue), symbol, vendor_type)


@pytest.mark.parametrize(
    ("venue", "symbol", "hour"),
    [("deribit", "BTC-29DEC23", 8), ("bybit", "BTCUSDZ23", 8), ("bitmex", "XBTZ23", 12)],
)
def test_a_future_expires_at_the_hour_of_its_venue(venue, symbol, hour):
    expiry = parse_symbol(VenueId(venue), symbol, "future").expiry
    assert expiry == dt.datetime(2023, 12, 29, hour, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("code", "day"),
    [
        ("F24", dt.date(2024, 1, 26)),
        ("G24", dt.date(2024, 2, 23)),
        ("H24", dt.date(2024, 3, 29)),
        ("K24", dt.date(2024, 5, 31)),
        ("Z24", dt.date(2024, 12, 27)),
        ("I24", None),
    ],
)
def test_a_month_letter_means_the_last_friday_of_the_month(code, day):
    assert month_code(code) == day


def test_a_text_that_is_no_day_is_none():
    assert day_month_year("30FEB24") is None
    assert day_month_year("29DEZ23") is None
    assert year_month_day("241332") is None
    assert year_month_day("24-12-27") is None


def test_nothing_is_cut_where_only_the_quote_would_be_left():
    assert split_quote("USDT", ("USDT",)) is None


@pytest.mark.parametrize(
    ("quotes", "known"),
    [
        (binance.SPOT_QUOTES, {("BIDR", "IDR")}),
        (binance.FUTURES_QUOTES, set()),
        (bybit.SPOT_QUOTES, set()),
        (bybit.DERIVATIVE_QUOTES, set()),
        (bitmex.QUOTES, set()),
    ],
)
def test_no_quote_asset_ends_in_another_one_but_those_known_to_be_harmless(quotes, known):
    ambiguous = {
        (longer, shorter)
        for longer in quotes
        for shorter in quotes
        if longer != shorter and longer.endswith(shorter)
    }
    assert ambiguous == known
