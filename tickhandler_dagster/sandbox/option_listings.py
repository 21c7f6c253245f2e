"""The option chains: expiries and strikes, from the price on the day of listing.

What belongs here: names and terms of options. Their premiums are `chain.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.latent import LatentPrices
from tickhandler_dagster.sandbox.listing import Activity, Kind, Listing, Margin, OptionTerms

_LISTED_DAYS = 15
_EXPIRY_US = US_PER_DAY // 3
_FRIDAY = 4
_ACTIVITY = Activity(6, 200, level_usd=200_000, depth=8, idle_share=0.3)


@dataclass(frozen=True, slots=True)
class _Family:
    """A chain: names of its options, and how strikes lie around the price on the day of listing."""

    prefix: str
    base: str
    quote: str
    margin: Margin
    steps: tuple[float, float]
    strike_step: float
    wings: int
    multiplier: float = 1.0


_FAMILIES: Mapping[VenueId, tuple[_Family, ...]] = MappingProxyType(
    {
        VenueId.DERIBIT: (
            _Family("BTC", "BTC", "USD", Margin.INVERSE, (0.0005, 0.1), 1_000.0, 3),
            _Family("ETH", "ETH", "USD", Margin.INVERSE, (0.0005, 1.0), 50.0, 2),
            _Family("XRP_USDC", "XRP", "USDC", Margin.LINEAR, (0.0001, 1000.0), 0.02, 1),
        ),
        VenueId.OKEX_OPTIONS: (
            _Family("BTC-USD", "BTC", "USD", Margin.INVERSE, (0.0005, 1.0), 1_000.0, 3, 0.01),
            _Family("ETH-USD", "ETH", "USD", Margin.INVERSE, (0.0005, 1.0), 50.0, 2, 0.1),
        ),
    }
)


def _fridays(first: dt.date, end: dt.date) -> Iterator[dt.date]:
    day = first + dt.timedelta(days=(_FRIDAY - first.weekday()) % 7)
    while day < end + dt.timedelta(days=_LISTED_DAYS):
        yield day
        day += dt.timedelta(days=7)


def _strikes(family: _Family, latent: LatentPrices, listed: dt.date) -> list[float]:
    """Strikes two steps apart around the price at listing: they do not follow it afterwards."""
    middle = round(latent.opening_price(family.base, listed) / family.strike_step)
    return [
        round((middle + 2 * number) * family.strike_step, 6)
        for number in range(-family.wings, family.wings + 1)
    ]


def _strike_text(venue: VenueId, strike: float) -> str:
    """The strike in a symbol; Deribit writes `d` for the decimal point.

    Example:
        >>> _strike_text(VenueId.DERIBIT, 0.52), _strike_text(VenueId.OKEX_OPTIONS, 60000.0)
        ('0d52', '60000')
    """
    text = f"{strike:.10g}"
    return text.replace(".", "d") if venue is VenueId.DERIBIT else text


def _expiry_text(venue: VenueId, expiry: dt.date) -> str:
    return f"{expiry.day}{expiry:%b%y}".upper() if venue is VenueId.DERIBIT else f"{expiry:%y%m%d}"


def _option(venue: VenueId, family: _Family, expiry: dt.date, terms: OptionTerms) -> Listing:
    right = "C" if terms.is_call else "P"
    expires = day_start_us(expiry) + _EXPIRY_US
    date_and_strike = f"{_expiry_text(venue, expiry)}-{_strike_text(venue, terms.strike)}"
    return Listing(
        venue=venue,
        raw_id=f"{family.prefix}-{date_and_strike}-{right}",
        kind=Kind.OPTION,
        base=family.base,
        quote=family.quote,
        settle=family.base if family.margin is Margin.INVERSE else family.quote,
        margin=family.margin,
        multiplier=family.multiplier,
        tick=family.steps[0],
        lot=family.steps[1],
        activity=_ACTIVITY,
        listed_us=expires - _LISTED_DAYS * US_PER_DAY,
        expiry_us=expires,
        option=terms,
    )


def option_listings(
    venue: VenueId, first: dt.date, end: dt.date, latent: LatentPrices
) -> list[Listing]:
    """Options of `venue` that trade between the days `first` and `end`, where it has a chain."""
    return [
        _option(venue, family, expiry, OptionTerms(strike, is_call))
        for family in _FAMILIES.get(venue, ())
        for expiry in _fridays(first, end)
        for strike in _strikes(family, latent, expiry - dt.timedelta(days=_LISTED_DAYS))
        for is_call in (True, False)
    ]
