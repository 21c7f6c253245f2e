"""Symbols of BitMEX: `XBT` is bitcoin; the quote asset tells what a contract settles in.

What belongs here: spelling, the quote assets and the venue's expiry hour. Contracts settled in a
third way (a name such as `ETHUSD_ETH`, quotes in EUR) do not say so in a form that is certain, and
are reported.
"""

from __future__ import annotations

import re

from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.symbols.expiry_codes import MONTH_CODE, month_code
from tickhandler_dagster.market.symbols.parsed_symbol import (
    ParsedSymbol,
    coin_settled,
    expiry_time,
    linear,
)
from tickhandler_dagster.market.symbols.quote_suffix import split_quote
from tickhandler_dagster.market.venues import VenueId

EXPIRY_HOUR = 12
QUOTES = ("USDT", "USDC", "USD")

_NAME = r"[A-Z0-9]+"
_SPOT = re.compile(rf"(?P<base>{_NAME})_(?P<quote>{_NAME})")
_PERPETUAL = re.compile(rf"(?P<pair>{_NAME})")
_FUTURE = re.compile(rf"(?P<pair>{_NAME})(?P<expiry>{MONTH_CODE})")


def canonical_asset(name: str) -> str:
    """The usual name of an asset the venue calls differently.

    Example:
        >>> canonical_asset("XBT"), canonical_asset("ETH")
        ('BTC', 'ETH')
    """
    return "BTC" if name == "XBT" else name


def parse(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`XBT_USDT`, `XBTUSD`, `ETHUSD`, `XBTUSDT`, `XBTZ24`, `ETHUSDM21`, `ETHZ20`."""
    if kind is InstrumentType.SPOT_PAIR:
        spot = _SPOT.fullmatch(symbol)
        return None if spot is None else linear(_key(venue, kind, spot["base"], spot["quote"]))
    if kind is InstrumentType.PERPETUAL:
        match = _PERPETUAL.fullmatch(symbol)
        pair = None if match is None else split_quote(match["pair"], QUOTES)
        return None if pair is None else _contract(_key(venue, kind, *pair))
    if kind is InstrumentType.FUTURE:
        return _future(venue, symbol)
    return None


def _future(venue: VenueId, symbol: str) -> ParsedSymbol | None:
    match = _FUTURE.fullmatch(symbol)
    if match is None:
        return None
    # A future without quote asset is quoted in USD on bitcoin and in bitcoin on anything else.
    pair = split_quote(match["pair"], QUOTES)
    base, quote = pair or (match["pair"], "USD" if match["pair"] == "XBT" else "XBT")
    key = _key(venue, InstrumentType.FUTURE, base, quote, month=match["expiry"])
    return _contract(key)


def _key(
    venue: VenueId, kind: InstrumentType, base: str, quote: str, *, month: str | None = None
) -> InstrumentKey:
    return InstrumentKey(
        venue,
        kind,
        canonical_asset(base),
        canonical_asset(quote),
        expiry=None if month is None else month_code(month),
    )


def _contract(key: InstrumentKey) -> ParsedSymbol:
    if key.quote == "USD" and key.base == "BTC":
        return coin_settled(key, expiry_hour=EXPIRY_HOUR)
    is_quanto = key.quote == "USD"
    return ParsedSymbol(
        key,
        "BTC" if is_quanto else key.quote,
        is_inverse=False,
        is_quanto=is_quanto,
        expiry=expiry_time(key, hour=EXPIRY_HOUR),
    )
