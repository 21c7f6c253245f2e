"""Where the lake keeps what is live: ticks, bars, how bars differ from the batch's, dead letters.

What belongs here: the forms of these paths. What does not: the grammar they are part of
(`market/paths.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.path_form import PathForm
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class LiveTicksFile(PathForm):
    """Live ticks of a venue, one file per delivery of the sink and hour of arrival.

    `sequence` is the number of the first row (`live/live_tick_table.py`): the same rows, delivered
    again after a crash, replace their file.
    """

    form = (
        "live_ticks/by_date/day-{date}/data_type-{data_type}/venue-{venue}/hour-{hour}"
        "/{sequence}.parquet"
    )

    date: dt.date
    data_type: DataType
    venue: VenueId
    hour: str
    sequence: int


@dataclass(frozen=True, slots=True)
class LiveCandlesFile(PathForm):
    """Live bars of a venue that open in an hour: what a round published, or `bars_…`, all of it."""

    form = (
        "live_candles/by_date/day-{date}/timeframe-{timeframe}/venue-{venue}/hour-{hour}"
        "/{name}.parquet"
    )

    date: dt.date
    timeframe: Timeframe
    venue: VenueId
    hour: str
    name: str


@dataclass(frozen=True, slots=True)
class LiveDifferencesFile(PathForm):
    """Live bars of a venue's day that are not the batch's bars."""

    form = "live_differences/by_date/day-{date}/venue-{venue}/differences.parquet"

    date: dt.date
    venue: VenueId


@dataclass(frozen=True, slots=True)
class DeadLettersFile(PathForm):
    """Live rows that their table does not take, each with the reason.

    `sequence` is the number of the first row of the delivery they came with.
    """

    form = "dead_letters/{name}/by_date/day-{date}/venue-{venue}/{sequence}.parquet"

    name: str
    date: dt.date
    venue: VenueId
    sequence: int
