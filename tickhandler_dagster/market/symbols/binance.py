"""Symbols of Binance: no separator, except before a date and before `PERP` (coin-margined).

What belongs here: spelling and the quote assets. What a contract is worth is in
`contract_terms.py`.
"""

from __future__ import annotations

import re

from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.symbols.expiry_codes import YEAR_MONTH_DAY, year_month_day
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol, coin_settled, linear
from tickhandler_dagster.market.symbols.quote_suffix import split_quote
from tickhandler_dagster.market.venues import VenueId

SPOT_QUOTES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "PAX", "USDS", "UST", "DAI", "VAI", "USD1"),
    *("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL"),
    *("EUR", "EURI", "GBP", "AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS"),
    *("CZK", "JPY", "MXN", "COP", "BIDR", "IDR", "IDRT", "BKRW", "BVND"),
)
FUTURES_QUOTES = ("USDT", "USDC", "BUSD", "BTC")

# AEUR cannot be a suffix: ADAEUR is ADA in EUR. Its few pairs are named whole.
_AEUR_PAIRS = frozenset({"BTCAEUR", "ETHAEUR", "EURAEUR"})
_DATED = re.compile(rf"(?P<pair>[^_]+)_(?P<expiry>{YEAR_MONTH_DAY})")
_COIN_MARGINED = re.compile(rf"(?P<base>[^_]+)USD_(?P<expiry>PERP|{YEAR_MONTH_DAY})")


def parse_spot(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTCUSDT`."""
    if kind is not InstrumentType.SPOT_PAIR:
        return None
    pair = (
        (symbol.removesuffix("AEUR"), "AEUR")
        if symbol in _AEUR_PAIRS
        else split_quote(symbol, SPOT_QUOTES)
    )
    return None if pair is None else linear(InstrumentKey(venue, kind, *pair))


def parse_usd_margined(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTCUSDT`, `BTCUSDT_241227`."""
    expiry = None
    dated = _DATED.fullmatch(symbol)
    if dated is not None:
        symbol, expiry = dated["pair"], year_month_day(dated["expiry"])
    expected = InstrumentType.PERPETUAL if dated is None else InstrumentType.FUTURE
    pair = split_quote(symbol, FUTURES_QUOTES)
    if kind is not expected or pair is None or (dated is not None and expiry is None):
        return None
    return linear(InstrumentKey(venue, kind, *pair, expiry=expiry))


def parse_coin_margined(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTCUSD_PERP`, `BTCUSD_200925`."""
    match = _COIN_MARGINED.fullmatch(symbol)
    if match is None:
        return None
    expiry = year_month_day(match["expiry"])
    is_perpetual = match["expiry"] == "PERP"
    if not is_perpetual and expiry is None:
        return None
    expected = InstrumentType.PERPETUAL if is_perpetual else InstrumentType.FUTURE
    if kind is not expected:
        return None
    return coin_settled(InstrumentKey(venue, kind, match["base"], "USD", expiry=expiry))
