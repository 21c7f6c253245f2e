"""How complete each venue's public feed of liquidations was, and from when on.

What belongs here: the venues' own limits as the vendor's and the venues' pages state them. What
does not: outages of the recorder, which are gaps like any other.

A break in this table is a break in every liquidation series: counts before and after it are not
comparable, and a model that is not told learns the venue's release notes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from tickhandler_dagster.market.venues import VenueId

Regimes: TypeAlias = tuple[tuple[dt.date, bool | None], ...]
"""(first day, throttled): ascending; True a sample only, False every one, None not known."""

_ALWAYS = dt.date.min
_UNKNOWN: Regimes = ((_ALWAYS, None),)
# From this day on at most the latest liquidation of a symbol per second is pushed.
_BINANCE: Regimes = ((_ALWAYS, False), (dt.date(2021, 4, 27), True))
# The sampled topic ran beside the complete one for a few days; which of them a day's file is from
# is not documented.
_BYBIT: Regimes = (
    (_ALWAYS, True),
    (dt.date(2025, 2, 20), None),
    (dt.date(2025, 2, 27), False),
)

LIQUIDATION_FEEDS: Mapping[VenueId, Regimes] = MappingProxyType(
    {
        VenueId.BINANCE: _UNKNOWN,
        VenueId.BINANCE_FUTURES: _BINANCE,
        VenueId.BINANCE_DELIVERY: _BINANCE,
        # Taken from the trades, each of which is flagged where it was a liquidation.
        VenueId.DERIBIT: ((_ALWAYS, False),),
        VenueId.BYBIT: _BYBIT,
        VenueId.BYBIT_SPOT: _UNKNOWN,
        VenueId.OKEX: _UNKNOWN,
        VenueId.OKEX_FUTURES: _UNKNOWN,
        VenueId.OKEX_SWAP: _UNKNOWN,
        VenueId.OKEX_OPTIONS: _UNKNOWN,
        VenueId.UPBIT: _UNKNOWN,
        VenueId.COINBASE: _UNKNOWN,
        VenueId.HYPERLIQUID: _UNKNOWN,
        VenueId.BITMEX: _UNKNOWN,
    }
)
"""Every venue; those without liquidations, and those that state nothing, are not known.

Source: https://docs.tardis.dev/historical-data-details and
https://bybit-exchange.github.io/docs/v5/websocket/public/all-liquidation
"""


def is_throttled(venue: VenueId, day: dt.date) -> bool | None:
    """Whether the venue sent only a sample of its liquidations on that day; None: not known.

    Example:
        >>> [is_throttled(VenueId.BYBIT, dt.date(year, 6, 1)) for year in (2024, 2025)]
        [True, False]
    """
    return [throttled for first, throttled in LIQUIDATION_FEEDS[venue] if first <= day][-1]
