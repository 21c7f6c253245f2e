"""The partition grid: date x venue, or date x some venues where a type exists only there.

What belongs here: definitions and mappings, built from a list of venues. The core chain shares one
definition object and no explicit mapping: only then can one run, one schedule and one command do a
day. A type that some venues lack gets a definition of its own, so that a cell exists only where
data can exist. What is of a day over all venues has the days alone.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, parse_date
from tickhandler_dagster.market.klines import KLINE_VENUES
from tickhandler_dagster.market.venues import VENUES, VenueId

# Dagster orders the parts of a key by the names of the dimensions: these two give `date|venue`.
DATE = "date"
VENUE = "venue"


@dataclass(frozen=True)
class Grid:
    """Every partitions definition of the platform.

    Attributes:
        days: One partition per UTC day, over all venues; the date of every other definition.
        venues: One partition per venue.
        core: Date x all venues.
        by_type: Date x the venues that have the type; the core object itself where all have it.
        klines: Date x the venues with public klines; the core object itself where all have them,
            None where none has.
    """

    days: dg.DailyPartitionsDefinition
    venues: dg.StaticPartitionsDefinition
    core: dg.MultiPartitionsDefinition
    by_type: Mapping[DataType, dg.MultiPartitionsDefinition]
    klines: dg.MultiPartitionsDefinition | None

    def upstream_of(self, data_type: DataType) -> dg.PartitionMapping | None:
        """How a cell of the type and its core cell find each other; None where they are the same.

        The static form is the only one that gives no "required but missing" parent for a venue
        that lacks the type.
        """
        if self.by_type[data_type] is self.core:
            return None
        return _by_venue({key: key for key in self._venues_of(data_type)})

    def upstream_of_klines(self) -> dg.PartitionMapping | None:
        """How a cell with klines and its core cell find each other; None where they are one."""
        if self.klines is None or self.klines is self.core:
            return None
        return _by_venue({key: key for key in _keys_of(self.klines)})

    def feeding_all(self, data_type: DataType) -> dg.PartitionMapping:
        """How a core cell finds the type's cells of its day, whatever the venue."""
        everywhere = self.venues.get_partition_keys()
        return _by_venue(dict.fromkeys(self._venues_of(data_type), everywhere))

    def _venues_of(self, data_type: DataType) -> Sequence[str]:
        return _keys_of(self.by_type[data_type])


def all_venues_of_the_day() -> dg.PartitionMapping:
    """How a day alone finds its cells on all venues, and each of these finds its day."""
    return dg.MultiToSingleDimensionPartitionMapping(DATE)


def _keys_of(days: dg.MultiPartitionsDefinition) -> Sequence[str]:
    return days.get_partitions_def_for_dimension(VENUE).get_partition_keys()


def _by_venue(downstream: Mapping[str, str | Sequence[str]]) -> dg.PartitionMapping:
    """The same day; venues as listed, upstream to downstream."""
    return dg.MultiPartitionMapping(
        {
            DATE: dg.DimensionPartitionMapping(DATE, dg.TimeWindowPartitionMapping()),
            VENUE: dg.DimensionPartitionMapping(VENUE, dg.StaticPartitionMapping(downstream)),
        }
    )


def build_grid(venues: Sequence[VenueId], start: dt.date, end: dt.date | None = None) -> Grid:
    """The grid of these venues, in this order, from the UTC day `start` to `end` or yesterday.

    Types that none of the venues has are left out of `by_type`.
    """
    date = dg.DailyPartitionsDefinition(
        start_date=start.isoformat(),
        end_date=(end + dt.timedelta(days=1)).isoformat() if end else None,
        timezone="UTC",
    )

    def days_on(some: Sequence[VenueId]) -> dg.MultiPartitionsDefinition:
        return dg.MultiPartitionsDefinition({DATE: date, VENUE: _static(some)})

    core = days_on(venues)

    def partial_days(some: Sequence[VenueId]) -> dg.MultiPartitionsDefinition:
        return core if len(some) == len(venues) else days_on(some)

    having = {
        data_type: [venue for venue in venues if data_type in VENUES[venue].data_types]
        for data_type in DataType
    }
    with_klines = [venue for venue in venues if venue in KLINE_VENUES]
    return Grid(
        days=date,
        venues=_static(venues),
        core=core,
        by_type={data_type: partial_days(some) for data_type, some in having.items() if some},
        klines=partial_days(with_klines) if with_klines else None,
    )


def _static(venues: Sequence[VenueId]) -> dg.StaticPartitionsDefinition:
    # Plain texts: Dagster does not store members of somebody else's enum.
    return dg.StaticPartitionsDefinition([venue.value for venue in venues])


def cells_of(context: dg.AssetExecutionContext) -> list[VenueDay]:
    """The cells the run is asked for, earliest first."""
    return sorted(VenueDay.parse(str(key)) for key in context.partition_keys)


def days_of(context: dg.AssetExecutionContext) -> list[dt.date]:
    """The days that a run of an asset partitioned by day alone is asked for, earliest first."""
    return sorted(parse_date(str(key)) for key in context.partition_keys)
