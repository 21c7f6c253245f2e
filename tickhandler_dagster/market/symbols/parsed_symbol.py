"""What a symbol says on its own: the key, and how the contract is settled.

What belongs here: the value and its three constructors. What does not: any venue's spelling.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tickhandler_dagster.market.instrument_key import (
    InstrumentKey,
    InstrumentType,
    OptionType,
    canonical_strike,
)
from tickhandler_dagster.market.venues import VenueId

USUAL_EXPIRY_HOUR = 8

_RIGHTS = MappingProxyType({"C": OptionType.CALL, "P": OptionType.PUT})


@dataclass(frozen=True, slots=True)
class ParsedSymbol:
    """A symbol, read.

    Attributes:
        key: Canonical key.
        settle_asset: What profit and loss are paid in.
        is_inverse: A contract is worth a fixed amount of the quote asset. False for coin-settled
            options: their amount is counted in the base asset, whatever the vendor's flag of that
            name says of their margin.
        is_quanto: Settled in an asset that is neither base nor quote.
        expiry: Time of expiry, UTC; None where the instrument has none.
    """

    key: InstrumentKey
    settle_asset: str
    is_inverse: bool
    is_quanto: bool
    expiry: dt.datetime | None


# A grammar answers None for a symbol that is not in it: an unknown spelling is an expected answer,
# not an accident.
Grammar: TypeAlias = Callable[[VenueId, InstrumentType, str], ParsedSymbol | None]


def linear(key: InstrumentKey) -> ParsedSymbol:
    """Priced and settled in the quote asset, as every spot pair is."""
    return ParsedSymbol(key, key.quote, is_inverse=False, is_quanto=False, expiry=expiry_time(key))


def coin_settled(key: InstrumentKey, *, expiry_hour: int = USUAL_EXPIRY_HOUR) -> ParsedSymbol:
    """Settled in the base asset: inverse where it is a perpetual or a future."""
    return ParsedSymbol(
        key,
        key.base,
        is_inverse=key.type is not InstrumentType.OPTION,
        is_quanto=False,
        expiry=expiry_time(key, hour=expiry_hour),
    )


def key_from_parts(
    venue: VenueId,
    kind: InstrumentType,
    parts: Mapping[str, str | None],
    *,
    read_expiry: Callable[[str], dt.date | None],
) -> InstrumentKey | None:
    """The key whose parts a pattern has cut apart by name; None where its expiry is no day.

    Args:
        venue: The venue.
        kind: Type of the key.
        parts: base, quote (US dollars where there is none), expiry, strike (the letter D may stand
            for the decimal point) and right (C or P), as far as the type has them.
        read_expiry: Reads the venue's form of a day.
    """
    expiry = read_expiry(parts["expiry"] or "") if kind.is_dated else None
    if kind.is_dated and expiry is None:
        return None
    is_option = kind is InstrumentType.OPTION
    return InstrumentKey(
        venue,
        kind,
        parts["base"] or "",
        parts["quote"] or "USD",
        expiry=expiry,
        strike=canonical_strike((parts["strike"] or "").replace("D", ".")) if is_option else None,
        option_type=_RIGHTS[parts["right"] or ""] if is_option else None,
    )


def expiry_time(key: InstrumentKey, *, hour: int = USUAL_EXPIRY_HOUR) -> dt.datetime | None:
    """The key's day of expiry at `hour` UTC; None for a key without one."""
    if key.expiry is None:
        return None
    return dt.datetime.combine(key.expiry, dt.time(hour), dt.UTC)
