"""Units of a venue's option chain, brought to one: fractions for volatility, quote for premiums.

What belongs here: what the vendor passes through as the venue wrote it. Which rows count is
`chain.py`.

Source: https://docs.tardis.dev/downloadable-csv-files/data-types (options_chain)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.options.black76 import BoolArray
from tickhandler_dagster.market.venues import VenueId

LEAST_VOLATILITY = 0.01
LARGEST_VOLATILITY = 5.0
"""A volatility outside these is not one: a wrong unit shows as all options being invalid."""

POINTS_PER_UNIT: Mapping[VenueId, float] = MappingProxyType(
    {VenueId.DERIBIT: 100.0, VenueId.OKEX_OPTIONS: 1.0}
)
"""What the venue writes for a volatility of 1: total over the venues that have a chain."""


def as_fraction(venue: VenueId, volatility: Float64Array) -> Float64Array:
    """The venue's volatilities as fractions: 0.6289 for the 62.89 of Deribit.

    Example:
        >>> as_fraction(VenueId.DERIBIT, np.array([62.89])).round(6).tolist()
        [0.6289]
    """
    return np.asarray(volatility / POINTS_PER_UNIT[venue])


def is_sane(volatility: Float64Array) -> BoolArray:
    """Whether a fraction lies in the range in which volatilities of crypto options do."""
    return np.asarray((volatility >= LEAST_VOLATILITY) & (volatility <= LARGEST_VOLATILITY))


def in_quote(premium: Float64Array, forward: Float64Array, *, pays_coin: bool) -> Float64Array:
    """Premiums in the strike's currency: those of inverse options are counted in the coin.

    Args:
        premium: As the venue gives it.
        forward: Price of the underlying in the same row.
        pays_coin: The premium is paid in the base asset.

    Example:
        >>> in_quote(np.array([0.02]), np.array([60_000.0]), pays_coin=True).tolist()
        [1200.0]
    """
    return np.asarray(premium * forward) if pays_coin else premium
