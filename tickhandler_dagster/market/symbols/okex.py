"""Symbols of OKX: `BASE-QUOTE`, then `SWAP`, a date, or a date with strike and right.

What belongs here: spelling. Each of the venue's four datasets holds one kind only; another kind is
not in the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.instrument_key import (
    InstrumentType,
)
from tickhandler_dagster.market.symbols.expiry_codes import YEAR_MONTH_DAY, year_month_day
from tickhandler_dagster.market.symbols.parsed_symbol import (
    ParsedSymbol,
    coin_settled,
    key_from_parts,
    linear,
)
from tickhandler_dagster.market.venues import VenueId

# A quote asset that is not here may stand for another kind of contract; such a symbol is reported,
# not read as linear.
_CONTRACT = r"(?P<base>[^-]+)-(?P<quote>USDT|USDC|USD)"
_DATED = rf"{_CONTRACT}-(?P<expiry>{YEAR_MONTH_DAY})"
_SYMBOLS: Mapping[tuple[VenueId, InstrumentType], re.Pattern[str]] = MappingProxyType(
    {
        (VenueId.OKEX, InstrumentType.SPOT_PAIR): re.compile(r"(?P<base>[^-]+)-(?P<quote>[^-]+)"),
        (VenueId.OKEX_SWAP, InstrumentType.PERPETUAL): re.compile(rf"{_CONTRACT}-SWAP"),
        (VenueId.OKEX_FUTURES, InstrumentType.FUTURE): re.compile(_DATED),
        (VenueId.OKEX_OPTIONS, InstrumentType.OPTION): re.compile(
            rf"{_DATED}-(?P<strike>[0-9]+(?:\.[0-9]+)?)-(?P<right>[CP])"
        ),
    }
)


def parse(venue: VenueId, kind: InstrumentType, symbol: str) -> ParsedSymbol | None:
    """`BTC-USDT`, `BTC-USD-SWAP`, `BTC-USDT-241227`, `BTC-USD-200327-8500-P`."""
    pattern = _SYMBOLS.get((venue, kind))
    match = None if pattern is None else pattern.fullmatch(symbol)
    if match is None:
        return None
    key = key_from_parts(venue, kind, match.groupdict(), read_expiry=year_month_day)
    if key is None:
        return None
    is_coin_settled = kind is not InstrumentType.SPOT_PAIR and key.quote == "USD"
    return coin_settled(key) if is_coin_settled else linear(key)
