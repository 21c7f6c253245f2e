"""Cells that are not there at their deadline as signals.

What belongs here: which cells are expected of a day, and asking for just those. Dagster's own
freshness looks at an asset's latest materialization of any partition, so that filling a day of
2021 makes yesterday fresh; it is not used.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType

from tickhandler_dagster.assets.raw_ticks import FAMILY
from tickhandler_dagster.automation.event_pages import Materialized
from tickhandler_dagster.automation.wording import asset_path, cell_name
from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, VenueDay, day_start_us
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import VENUE
from tickhandler_dagster.settings import Settings

DAYS_BACK = (2, 1)
"""Days whose deadline is looked at: yesterday's, and the one before in case nobody was awake."""

# Deadlines pass at known times; the look in between is for a policy or a grid that changed.
LOOK_AGAIN_US = 900_000_000
_US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """An asset with a cell per day and venue that somebody waits for.

    Attributes:
        asset_key: Which asset.
        venues: Venues of which a cell is expected.
        by: UTC time of the next day by which it has to be there.
    """

    asset_key: dg.AssetKey
    venues: tuple[VenueId, ...]
    by: dt.time

    def deadline_us(self, day: dt.date) -> int:
        """When a day's cells have to be there, microseconds since the epoch."""
        seconds = (self.by.hour * 60 + self.by.minute) * 60 + self.by.second
        return day_start_us(day) + US_PER_DAY + seconds * _US_PER_SECOND


@dataclass(frozen=True, slots=True)
class Expected:
    """What is waited for, and of which days.

    Attributes:
        streams: The assets.
        first: First day of the grid.
        last: Last day of the grid; None where it grows.
    """

    streams: tuple[Stream, ...]
    first: dt.date
    last: dt.date | None

    def due(self, now_us: int) -> Iterator[tuple[Stream, dt.date]]:
        """Streams and days whose deadline passed within the last days."""
        today = dt.date(1970, 1, 1) + dt.timedelta(days=now_us // US_PER_DAY)
        for back in DAYS_BACK:
            day = today - dt.timedelta(days=back)
            if day < self.first or (self.last is not None and day > self.last):
                continue
            for stream in self.streams:
                if stream.deadline_us(day) <= now_us:
                    yield stream, day

    def has_to_look(self, looked_us: int | None, now_us: int) -> bool:
        """A deadline passed since the last look, or the last look is long ago."""
        if looked_us is None or not looked_us <= now_us < looked_us + LOOK_AGAIN_US:
            return True
        return any(stream.deadline_us(day) > looked_us for stream, day in self.due(now_us))


def expected_cells(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], settings: Settings, policy: AlertPolicy
) -> Expected:
    """What the settings download and the policy has a deadline for."""
    return Expected(
        streams=tuple(
            Stream(key, venues, by)
            for definition in assets
            if isinstance(definition, dg.AssetsDefinition) and definition.is_materializable
            for key in sorted(definition.keys)
            if (by := policy.deadline(key.to_user_string())) is not None
            and _is_fed(definition, key, settings)
            and (venues := _venues(definition.partitions_def, settings))
        ),
        first=settings.partition_start_date,
        last=settings.partition_end_date,
    )


def _is_fed(definition: dg.AssetsDefinition, key: dg.AssetKey, settings: Settings) -> bool:
    """Its data type is downloaded, or one of those that it is made from."""
    needed = [one for one in (key, *definition.asset_deps[key]) if one.path[0] == FAMILY]
    return not needed or any(
        DataType(one.path[1]) in settings.download_data_types for one in needed
    )


def _venues(days: dg.PartitionsDefinition | None, settings: Settings) -> tuple[VenueId, ...]:
    if not isinstance(days, dg.MultiPartitionsDefinition):
        return ()
    own = days.get_partitions_def_for_dimension(VENUE).get_partition_keys()
    return tuple(venue for venue in settings.download_venues if venue.value in own)


def late_signals(instance: dg.DagsterInstance, expected: Expected, now_us: int) -> Iterator[Signal]:
    """Every expected cell of the last days whose deadline passed: late, or there."""
    days: dict[Stream, list[dt.date]] = {}
    for stream, day in expected.due(now_us):
        days.setdefault(stream, []).append(day)
    for stream, some in days.items():
        yield from _of_stream(instance, stream, some, now_us)


def _of_stream(
    instance: dg.DagsterInstance, stream: Stream, days: Sequence[dt.date], now_us: int
) -> Iterator[Signal]:
    cells = [VenueDay(day, venue) for day in days for venue in stream.venues]
    there = instance.event_log_storage.get_latest_storage_id_by_partition(
        stream.asset_key,
        DagsterEventType.ASSET_MATERIALIZATION,
        partitions={str(cell) for cell in cells},
    )
    for cell in cells:
        is_late = str(cell) not in there
        at_us = stream.deadline_us(cell.date) if is_late else now_us
        yield _signal(stream.asset_key, cell, is_late=is_late, at_us=at_us, by=stream.by)


def arrival_signal(item: Materialized) -> Signal | None:
    """A cell that came is not late any more, however old; None where it is no cell of the grid."""
    try:
        cell = VenueDay.parse(item.partition or "")
    except InvalidInput:
        return None  # a catalogue, or an asset of somebody else in the same instance
    return _signal(item.asset_key, cell, is_late=False, at_us=item.at_us)


def _signal(
    key: dg.AssetKey, cell: VenueDay, *, is_late: bool, at_us: int, by: dt.time | None = None
) -> Signal:
    name = cell_name(key.to_user_string(), str(cell))
    next_day = cell.date + dt.timedelta(days=1)
    return Signal(
        kind=IncidentKind.LATE_PARTITION,
        subject=name,
        is_bad=is_late,
        urgency=Urgency.ERROR,
        group=f"partitions of {cell}",
        at_us=at_us,
        summary=(
            f"{name}: not materialized by its deadline, {next_day} {by:%H:%M} UTC."
            if is_late
            else f"{name}: materialized."
        ),
        link=f"{asset_path(key)}?view=partitions",
    )
