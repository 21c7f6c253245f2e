"""Symbols of Deribit: the underlying, then the contract.

An underlying `BTC` is quoted in USD and settled in coin, `BTC_USDC` is linear.

What belongs here: spelling. Combos are left out by policy before a symbol reaches this grammar
(`instruments.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.instrument_key import (
    InstrumentType,
)
from tickhandler_dagster.market.symbols.expiry_codes import DAY_MONTH_YEAR, day_month_year
from tickhandler_dagster.market.symbols.parsed_symbol import (
    ParsedSymbol,
    coin_settled,
    key_from_parts,
    linear,
)
from tickhandler_dagster.market.venues import VenueId

_UNDERLYING = r"(?P<base>[^_-]+)(?:_(?P<quote>[^_-]+))?"
_DATED = rf"{_UNDERLYING}-(?P<expiry>{DAY_MONTH_YEAR})"
_SYMBOLS: Mapping[InstrumentType, re.Pattern[str]] = MappingProxyType(
    {
        InstrumentType.SPOT_PAIR: re.compile(r"(?P<base>[^_-]+)_(?P<quote>[^_-]+)"),
        InstrumentType.PERPETUAL: re.compile(rf"{_UNDERLYING}-PERPETUAL"),
        InstrumentType.FUTURE: re.compile(_DATED),
        # The letter D stands for the decimal point of a strike.
        InstrumentType.OPTION: re.compile(
            rf"{_DATED}-(?P<strike>[0-9]+(?:D[0-9]+)?)-(?P<right>[CP])"
        ),
    }
)


def parse(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTC_USDC`, `BTC-PERPETUAL`, `BTC-9JUN20`, `BTC-28MAR25-50-C`, `XRP_USDC-26DEC25-2D5-C`."""
    match = _SYMBOLS[kind].fullmatch(symbol)
    if match is None:
        return None
    key = key_from_parts(venue, kind, match.groupdict(), read_expiry=day_month_year)
    if key is None:
        return None
    return linear(key) if match["quote"] else coin_settled(key)
