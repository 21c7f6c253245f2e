"""The option chains: expiries and strikes, listed as the price comes near them.

What belongs here: names and terms of options. Their premiums are `chain.py`.

A chain reaches from a week to half a year, so that constant maturities up to 90 days lie between
two expiries, and has a strike wherever the price went. It stays small all the same: far from the
money only the option out of the money is listed, which tells as much of the smile as both.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.latent import ASSETS, LatentPrices
from tickhandler_dagster.sandbox.listing import Activity, Kind, Listing, Margin, OptionTerms

_EXPIRY_US = US_PER_DAY // 3
_FRIDAY = 4
_WEEK = dt.timedelta(days=7)
_QUARTER_MONTHS = (3, 6, 9, 12)
_ACTIVITY = Activity(6, 200, level_usd=200_000, depth=8, idle_share=0.3)


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Strikes of an expiry over the last part of its life.

    Attributes:
        days: Days before the expiry from which on they are listed.
        spacing: Log distance of neighbouring strikes.
        reach: A strike is listed when the price comes that near, in log distance.
    """

    days: int
    spacing: float
    reach: float

    @property
    def coarse(self) -> _Ladder:
        """Every second strike, half a year ahead."""
        return _Ladder(_QUARTERLY_DAYS, 2 * self.spacing, 0.8 * self.reach)


@dataclass(frozen=True, slots=True)
class _Strikes:
    """The grid of a chain's strikes.

    Attributes:
        step: Strikes are multiples of it, in the quote asset.
        weekly: Strikes of every Friday.
        monthly: Strikes of the last Friday of a month; None where there are only weekly expiries.
    """

    step: float
    weekly: _Ladder
    monthly: _Ladder | None = None


@dataclass(frozen=True, slots=True)
class _Family:
    """A chain: names of its options, and their terms."""

    prefix: str
    base: str
    quote: str
    margin: Margin
    steps: tuple[float, float]
    multiplier: float = 1.0


_QUARTERLY_DAYS = 182
_STRIKES: Mapping[str, _Strikes] = MappingProxyType(
    {
        "BTC": _Strikes(1_000.0, _Ladder(9, 0.04, 0.1), _Ladder(58, 0.06, 0.34)),
        "ETH": _Strikes(25.0, _Ladder(9, 0.06, 0.13), _Ladder(58, 0.11, 0.34)),
        "XRP": _Strikes(0.005, _Ladder(7, 0.1, 0.16)),
    }
)
_FAMILIES: Mapping[VenueId, tuple[_Family, ...]] = MappingProxyType(
    {
        VenueId.DERIBIT: (
            _Family("BTC", "BTC", "USD", Margin.INVERSE, (0.0005, 0.1)),
            _Family("ETH", "ETH", "USD", Margin.INVERSE, (0.0005, 1.0)),
            _Family("XRP_USDC", "XRP", "USDC", Margin.LINEAR, (0.0001, 1000.0)),
        ),
        VenueId.OKEX_OPTIONS: (
            _Family("BTC-USD", "BTC", "USD", Margin.INVERSE, (0.0005, 1.0), 0.01),
            _Family("ETH-USD", "ETH", "USD", Margin.INVERSE, (0.0005, 1.0), 0.1),
        ),
    }
)


def _fridays(first: dt.date, end: dt.date) -> Iterator[dt.date]:
    day = first + dt.timedelta(days=(_FRIDAY - first.weekday()) % 7)
    while day < end + dt.timedelta(days=_QUARTERLY_DAYS):
        yield day
        day += _WEEK


def _ladders(strikes: _Strikes, expiry: dt.date) -> Iterator[_Ladder]:
    """The strikes of an expiry: those of a quarter's end are refined as it comes near."""
    yield strikes.weekly
    is_month_end = (expiry + _WEEK).month != expiry.month
    if strikes.monthly is not None and is_month_end:
        yield strikes.monthly
        if expiry.month in _QUARTER_MONTHS:
            yield strikes.monthly.coarse


def _listed(
    base: str, ladder: _Ladder, expiry: dt.date, first: dt.date, latent: LatentPrices
) -> Iterator[tuple[OptionTerms, dt.date]]:
    """The ladder's options, each with the day on which it is listed.

    A strike comes when the price does, call above and put below it, and both where the price is
    nearest to it: there put-call parity can be read off.
    """
    reference, step = ASSETS[base].price, _STRIKES[base].step
    known: set[int] = set()
    day = max(first, expiry - dt.timedelta(days=ladder.days))
    while day < expiry:
        place = math.log(latent.opening_price(base, day) / reference) / ladder.spacing
        reach = ladder.reach / ladder.spacing
        rungs = set(range(math.ceil(place - reach), math.floor(place + reach) + 1)) - known
        for rung in sorted(rungs):
            strike = round(reference * math.exp(rung * ladder.spacing) / step) * step
            rights = (True, False) if abs(rung - place) <= 1 / 2 else (rung > place,)
            yield from ((OptionTerms(round(strike, 6), is_call), day) for is_call in rights)
        known |= rungs
        day += dt.timedelta(days=1)


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


def _option(
    venue: VenueId, family: _Family, expiry: dt.date, terms: OptionTerms, listed: dt.date
) -> Listing:
    right = "C" if terms.is_call else "P"
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
        listed_us=day_start_us(listed) + _EXPIRY_US,
        expiry_us=day_start_us(expiry) + _EXPIRY_US,
        option=terms,
    )


def _chain(
    venue: VenueId, family: _Family, expiry: dt.date, first: dt.date, latent: LatentPrices
) -> Iterator[Listing]:
    """The options of an expiry; one that two ladders have is listed when the first of them has."""
    listed: dict[OptionTerms, dt.date] = {}
    for ladder in _ladders(_STRIKES[family.base], expiry):
        for terms, day in _listed(family.base, ladder, expiry, first, latent):
            listed[terms] = min(day, listed.get(terms, day))
    for terms in sorted(listed, key=lambda one: (one.strike, one.is_call)):
        yield _option(venue, family, expiry, terms, listed[terms])


def option_listings(
    venue: VenueId, first: dt.date, end: dt.date, latent: LatentPrices
) -> list[Listing]:
    """Options of `venue` that trade between the days `first` and `end`, where it has a chain."""
    return [
        option
        for family in _FAMILIES.get(venue, ())
        for expiry in _fridays(first, end)
        for option in _chain(venue, family, expiry, first, latent)
    ]
