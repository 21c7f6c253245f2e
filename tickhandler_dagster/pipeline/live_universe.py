"""What a live session has to know from the lake: the newest universes, and the days before.

What belongs here: finding and reading them. What does not: choosing instruments
(`market/live/symbol_choice.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.paths import InstrumentsFile, parse_path
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.pipeline.candle_state import read_candle_states


def newest_universes(
    lake: Lake, venues: Collection[VenueId]
) -> Mapping[VenueId, tuple[dt.date, pl.DataFrame]]:
    """The newest stored universe of each venue, with its day; venues without one are left out.

    Raises:
        MissingUpstream: none of the venues has one.
    """
    days: dict[VenueId, dt.date] = {}
    for path in lake.store.list("instrument_availability/by_date/"):
        item = parse_path(path)
        if isinstance(item, InstrumentsFile) and item.venue in venues:
            days[item.venue] = max(item.date, days.get(item.venue, item.date))
    found = {
        venue: (day, frame)
        for venue, day in sorted(days.items())
        if (frame := lake.read_table(InstrumentsFile(day, venue))) is not None
    }
    if not found:
        example = VenueDay(dt.date(2024, 8, 1), min(venues)) if venues else "2024-08-01|binance"
        raise MissingUpstream(
            "instruments",
            "no universe of these venues is in the lake",
            expected=f"one of {', '.join(sorted(venues))}",
            remedy=f"Run, with yesterday's day: {materialize('instruments', example)}",
        )
    return found


def memory_reader(lake: Lake) -> Callable[[dt.date, str], DayMemory | None]:
    """Gives what an instrument remembers at the start of a date: its state of the day before.

    A day's states are read once; None where the candles of the day before are not in the lake.
    """

    @lru_cache(maxsize=64)
    def states(cell: VenueDay) -> Mapping[str, str]:
        return {key: state.memory for key, state in read_candle_states(lake, cell).items()}

    def memory(date: dt.date, key: str) -> DayMemory | None:
        venue = _venue_of(key)
        if venue is None:
            return None
        text = states(VenueDay(date - dt.timedelta(days=1), venue)).get(key)
        return None if text is None else DayMemory.from_json(text)

    return memory


def _venue_of(key: str) -> VenueId | None:
    name = key.partition(":")[0]
    return next((venue.id for venue in VENUES.values() if venue.key_name == name), None)
