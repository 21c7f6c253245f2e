"""The grammar of every venue, and the one function that reads a symbol.

What belongs here: the table over `VenueId` and over the vendor's types.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.symbols import binance, bitmex, bybit, deribit, okex, plain_names
from tickhandler_dagster.market.symbols.parsed_symbol import Grammar, ParsedSymbol
from tickhandler_dagster.market.venues import VenueId

GRAMMARS: Mapping[VenueId, Grammar] = MappingProxyType(
    {
        VenueId.BINANCE: binance.parse_spot,
        VenueId.BINANCE_FUTURES: binance.parse_usd_margined,
        VenueId.BINANCE_DELIVERY: binance.parse_coin_margined,
        VenueId.DERIBIT: deribit.parse,
        VenueId.BYBIT: bybit.parse_derivative,
        VenueId.BYBIT_SPOT: bybit.parse_spot,
        VenueId.OKEX: okex.parse,
        VenueId.OKEX_FUTURES: okex.parse,
        VenueId.OKEX_SWAP: okex.parse,
        VenueId.OKEX_OPTIONS: okex.parse,
        VenueId.UPBIT: plain_names.parse_quote_first,
        VenueId.COINBASE: plain_names.parse_base_first,
        VenueId.HYPERLIQUID: plain_names.parse_hyperliquid,
        VenueId.BITMEX: bitmex.parse,
    }
)

# The vendor's `combo` and `prediction` are missing on purpose: they have no key.
INSTRUMENT_TYPES: Mapping[str, InstrumentType] = MappingProxyType(
    {
        "spot": InstrumentType.SPOT_PAIR,
        "perpetual": InstrumentType.PERPETUAL,
        "future": InstrumentType.FUTURE,
        "option": InstrumentType.OPTION,
    }
)


def parse_symbol(venue: VenueId, symbol: str, vendor_type: str) -> ParsedSymbol:
    """What the dataset symbol of a venue says.

    Args:
        venue: The venue.
        symbol: Id of `datasets.symbols`; letter case does not matter.
        vendor_type: The vendor's type of it. It decides which form is expected, for `BTCUSDT` alone
            does not say whether it is a spot pair or a perpetual.

    Raises:
        InvalidInput: the type has no key, or the symbol is not in the venue's grammar for that
            type.

    Example:
        >>> str(parse_symbol(VenueId.DERIBIT, "XRP_USDC-26DEC25-2D5-C", "option").key)
        'DERIBIT:OPTION:XRP-USDC-251226-2.5-CALL'
    """
    kind = INSTRUMENT_TYPES.get(vendor_type)
    if kind is None:
        raise InvalidInput(
            f"{venue} {symbol}",
            "a type without instrument key",
            was=repr(vendor_type),
            expected=f"one of {', '.join(INSTRUMENT_TYPES)}",
            remedy="Nothing to do unless it should be ingested; then give the type a key",
        )
    parsed = GRAMMARS[venue](venue, kind, symbol.upper())
    if parsed is None:
        raise InvalidInput(
            f"{venue} {symbol}",
            f"not a {vendor_type} symbol of the venue",
            expected="a form of the venue's grammar",
            remedy="Extend the grammar in market/symbols if the venue has a new form",
        )
    return parsed
