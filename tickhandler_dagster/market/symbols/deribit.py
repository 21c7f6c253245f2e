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
    InstrumentKey,
    InstrumentType,
    OptionType,
    canonical_strike,
)
from tickhandler_dagster.market.symbols.expiry_codes import DAY_MONTH_YEAR, day_month_year
from tickhandler_dagster.market.symbols.parsed_symbol import ParsedSymbol, coin_settled, linear
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
_RIGHTS = MappingProxyType({"C": OptionType.CALL, "P": OptionType.PUT})


def parse(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTC_USDC`, `BTC-PERPETUAL`, `BTC-9JUN20`, `BTC-28MAR25-50-C`, `XRP_USDC-26DEC25-2D5-C`."""
    match = _SYMBOLS[kind].fullmatch(symbol)
    if match is None:
        return None
    parts = match.groupdict()
    expiry = day_month_year(parts["expiry"]) if kind.is_dated else None
    if kind.is_dated and expiry is None:
        return None
    is_option = kind is InstrumentType.OPTION
    key = InstrumentKey(
        venue,
        kind,
        parts["base"],
        parts["quote"] or "USD",
        expiry=expiry,
        strike=canonical_strike(parts["strike"].replace("D", ".")) if is_option else None,
        option_type=_RIGHTS[parts["right"]] if is_option else None,
    )
    return linear(key) if parts["quote"] else coin_settled(key)
