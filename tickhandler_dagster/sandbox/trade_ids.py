"""Trade ids as each venue writes them.

What belongs here: the form of ids and how they continue from day to day.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.sandbox.listing import Listing
from tickhandler_dagster.sandbox.seeds import Ints, hashed_bits

_DERIBIT_STRIDE = 10_000
_DERIBIT_DAY = 200_000
_HYPERLIQUID_BITS = 14


@dataclass(frozen=True, slots=True)
class IdScope:
    """What ids of a day are made from.

    Attributes:
        listing: Which instrument.
        day: Which file day.
        key: Key of the instrument's hashes.
        place: Number of the instrument within its venue.
        first: Fills before this day.
    """

    listing: Listing
    day: dt.date
    key: int
    place: int
    first: int


def trade_ids(scope: IdScope, numbers: Ints, times: Ints) -> list[str]:
    """The ids of the fills with those numbers within the day."""
    venue = scope.listing.venue
    if VENUES[venue].has_dense_trade_ids:
        base = 1_000_000 + scope.key % 1_000_000_000 + scope.first
        return [str(number) for number in (base + numbers).tolist()]
    if venue is VenueId.DERIBIT:
        return _deribit_ids(scope, numbers)
    if venue is VenueId.UPBIT:
        # Milliseconds and a counter, as the venue does; the counter keeps ids of one millisecond
        # apart.
        return [str(number) for number in (times // 1_000 * 100_000 + numbers % 100_000).tolist()]
    high = hashed_bits(scope.key, numbers + scope.first)
    if venue is VenueId.HYPERLIQUID:
        return [str(number) for number in (high >> np.uint64(_HYPERLIQUID_BITS)).tolist()]
    low = hashed_bits(scope.key ^ 0x2545F491, numbers + scope.first)
    return [_uuid(first, second) for first, second in zip(high.tolist(), low.tolist(), strict=True)]


def _uuid(high: int, low: int) -> str:
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _deribit_ids(scope: IdScope, numbers: Ints) -> list[str]:
    """One counter per currency, shared by its instruments: increasing for each, dense for none."""
    days = (scope.day - dt.date(2019, 1, 1)).days
    counted = (days * _DERIBIT_DAY + numbers) * _DERIBIT_STRIDE + scope.place
    prefix = _deribit_prefix(scope.listing)
    return [f"{prefix}{number}" for number in counted.tolist()]


def _deribit_prefix(listing: Listing) -> str:
    if listing.is_inverse:
        return "" if listing.base == "BTC" else f"{listing.base}-"
    return f"{listing.base}_{listing.quote}-"
