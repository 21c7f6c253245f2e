"""Symbols of Bybit: no separator; perpetuals by suffix, futures by month letter or by day.

What belongs here: spelling and the quote assets. What a contract is worth is in
`contract_terms.py`.
"""

from __future__ import annotations

import re

from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.symbols.expiry_codes import (
    DAY_MONTH_YEAR,
    MONTH_CODE,
    day_month_year,
    month_code,
)
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol, coin_settled, linear
from tickhandler_dagster.market.symbols.quote_suffix import split_quote
from tickhandler_dagster.market.venues import VenueId

SPOT_QUOTES = (
    *("USDT", "USDC", "USDE", "DAI", "USD1", "BTC", "ETH", "SOL", "MNT"),
    *("EUR", "GBP", "BRL", "BRZ", "PLN", "TRY"),
)
DERIVATIVE_QUOTES = ("USDT", "USDC", "USD")

_MONTHLY = re.compile(rf"(?P<base>.+)USD(?P<expiry>{MONTH_CODE})")
_DATED = re.compile(rf"(?P<pair>[^-]+)-(?P<expiry>{DAY_MONTH_YEAR})")


def parse_spot(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTCUSDT`."""
    pair = split_quote(symbol, SPOT_QUOTES)
    if kind is not InstrumentType.SPOT_PAIR or pair is None:
        return None
    return linear(InstrumentKey(venue, kind, *pair))


def parse_derivative(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTCUSD`, `BTCUSDT`, `BTCPERP`, `BTCUSDH25`, `BTC-29DEC23`, `BTCUSDT-26DEC25`."""
    key = None
    if kind is InstrumentType.PERPETUAL:
        key = _perpetual(venue, symbol)
    elif kind is InstrumentType.FUTURE:
        key = _future(venue, symbol)
    if key is None:
        return None
    return coin_settled(key) if key.quote == "USD" else linear(key)


def _perpetual(venue: VenueId, symbol: str) -> InstrumentKey | None:
    # BTCPERP is the venue's name for the contract quoted in USDC.
    pair = split_quote(symbol, ("PERP",)) and (symbol.removesuffix("PERP"), "USDC")
    pair = pair or split_quote(symbol, DERIVATIVE_QUOTES)
    return None if pair is None else InstrumentKey(venue, InstrumentType.PERPETUAL, *pair)


def _future(venue: VenueId, symbol: str) -> InstrumentKey | None:
    monthly = _MONTHLY.fullmatch(symbol)
    if monthly is not None:
        pair: tuple[str, str] = (monthly["base"], "USD")
        expiry = month_code(monthly["expiry"])
    else:
        dated = _DATED.fullmatch(symbol)
        if dated is None:
            return None
        # Without a quote asset in the name the contract is quoted in USDC.
        pair = split_quote(dated["pair"], DERIVATIVE_QUOTES) or (dated["pair"], "USDC")
        expiry = day_month_year(dated["expiry"])
    return (
        None
        if expiry is None
        else InstrumentKey(venue, InstrumentType.FUTURE, *pair, expiry=expiry)
    )
