"""An instrument of the day: its terms, its life around the day, the gaps of its venue.

What belongs here: what the universe and the catalogue say. What does not: files
(`candle_channels.py`) and what bars depend on (`candle_inputs.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.days import VenueDay, day_span_us

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def microseconds(moment: dt.datetime) -> int:
    """Microseconds since the epoch, exactly; a float of seconds has only about a quarter of one."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class DayOfVenue:
    """What holds for all instruments of a cell.

    Attributes:
        cell: The day and venue.
        day: The day's microseconds.
        gaps: Spans of the day for which the vendor reports missing data.
        venue_first_day: First day the vendor has of the venue.
    """

    cell: VenueDay
    day: Span
    gaps: tuple[Span, ...]
    venue_first_day: dt.date


def day_of_venue(cell: VenueDay, catalog: ExchangeCatalog) -> DayOfVenue:
    """The cell with what the catalogue says of it."""
    day = Span(*day_span_us(cell.date))
    return DayOfVenue(cell, day, tuple(_gaps(catalog, day)), catalog.first_day)


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument of the day, or one of a neighbouring day alone: that has no file of its own.

    Attributes:
        venue_day: Its day and venue.
        terms: Its row of the universe.
        is_stray: Only a neighbouring day lists it.
    """

    venue_day: DayOfVenue
    terms: Mapping[str, Any]
    is_stray: bool

    @property
    def key(self) -> str:
        """Canonical key."""
        return str(self.terms["instrument_key"])

    @property
    def start(self) -> int:
        """First moment of its listing."""
        return microseconds(self.terms["available_from"])

    @property
    def expiry_us(self) -> int | None:
        """Time of expiry."""
        expiry = self.terms["expiry"]
        return None if expiry is None else microseconds(expiry)

    @property
    def end(self) -> int | None:
        """First moment after its listing; None while it goes on."""
        ends = [
            self.terms[name] for name in ("available_to", "expiry") if self.terms[name] is not None
        ]
        return min(map(microseconds, ends), default=None)

    @property
    def has_no_day_before(self) -> bool:
        """There cannot be a file of the day before."""
        venue_day = self.venue_day
        return self.start >= venue_day.day.start or venue_day.cell.date <= venue_day.venue_first_day

    @property
    def has_no_day_after(self) -> bool:
        """There cannot be a file of the day after."""
        return self.end is not None and self.end <= self.venue_day.day.end

    @property
    def listed(self) -> Span:
        """When it was listed, inside the day."""
        day = self.venue_day.day
        return Span(self.start, day.end if self.end is None else self.end).clipped_to(day)

    @property
    def contract(self) -> ContractTerms:
        """What its amounts are worth."""
        return ContractTerms(
            self.terms["contract_size"],
            is_inverse=self.terms["is_inverse"],
            is_quanto=self.terms["is_quanto"],
        )


def _gaps(catalog: ExchangeCatalog, day: Span) -> Iterator[Span]:
    for incident in catalog.incidents_on((day.start, day.end)):
        end = day.end if incident.end is None else microseconds(incident.end)
        yield Span(microseconds(incident.start), end).clipped_to(day)
