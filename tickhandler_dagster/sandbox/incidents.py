"""Times in which a simulated venue's recorder was down, as the vendor reports them.

What belongs here: the list. The hole in the data is made by `instrument_day.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from tickhandler_dagster.market.days import US_PER_SECOND, day_start_us
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class Incident:
    """A half-open span without data and the vendor's words about it."""

    start_us: int
    end_us: int
    details: str


def incidents_around(event: dt.date) -> Mapping[VenueId, tuple[Incident, ...]]:
    """One outage of half an hour on the event day, on one venue."""
    start = day_start_us(event) + (3 * 60 + 10) * 60 * US_PER_SECOND
    outage = Incident(start, start + 30 * 60 * US_PER_SECOND, "simulated outage of the recorder")
    return {VenueId.BINANCE_FUTURES: (outage,)}
