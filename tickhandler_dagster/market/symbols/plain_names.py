"""Symbols of the venues whose names need no table: Upbit, Coinbase and Hyperliquid.

What belongs here: spelling where a separator, or its absence, says everything.
"""

from __future__ import annotations

from tickhandler_dagster.market.instrument_key import InstrumentKey, InstrumentType
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol, linear
from tickhandler_dagster.market.venues import VenueId


def parse_quote_first(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`KRW-BTC` is bitcoin in won."""
    quote, separator, base = symbol.partition("-")
    if kind is not InstrumentType.SPOT_PAIR or not separator or "-" in base:
        return None
    return linear(InstrumentKey(venue, kind, base, quote))


def parse_base_first(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTC-USD`."""
    base, separator, quote = symbol.partition("-")
    if kind is not InstrumentType.SPOT_PAIR or not separator or "-" in quote:
        return None
    return linear(InstrumentKey(venue, kind, base, quote))


def parse_hyperliquid(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTC`, `KPEPE` and `XYZ-TSLA` are perpetuals counted in USDC; `PURR-USDC` is a spot pair.

    A spot pair listed under a number (`@107`) does not name its assets and is not in the grammar.
    """
    if symbol.startswith("@"):
        return None
    if kind is InstrumentType.PERPETUAL:
        return linear(InstrumentKey(venue, kind, symbol, "USDC"))
    base, separator, quote = symbol.rpartition("-")
    if kind is not InstrumentType.SPOT_PAIR or not separator:
        return None
    return linear(InstrumentKey(venue, kind, base, quote))
