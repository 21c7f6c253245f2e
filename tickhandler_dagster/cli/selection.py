"""Assets and partitions that a person names: families, keys and patterns, days and venues.

What belongs here: from names to asset keys and to the partition keys of each. What does not: what
is done with them (`backfill.py`, `status.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import dagster as dg

from tickhandler_dagster.cli.gaps import Span
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.nearest import did_you_mean
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import VENUE

Partitions = Mapping[dg.AssetKey, dg.PartitionsDefinition]


def chosen_assets(wanted: Sequence[str], partitions: Partitions) -> list[dg.AssetKey]:
    """The assets of these names, in the order in which the code location has them.

    A name is a key (`raw_ticks/trades`), a family (`candles`), or a pattern with * and ?.

    Raises:
        InvalidInput: a name fits no asset.
    """
    by_name = {key.to_user_string(): key for key in partitions}
    found: set[dg.AssetKey] = set()
    for name in wanted:
        fitting = {
            key
            for text, key in by_name.items()
            if fnmatchcase(text, name) or key.path[0] == name.removesuffix("/*")
        }
        if not fitting:
            families = sorted({key.path[0] for key in partitions})
            raise InvalidInput(
                f"'{name}'",
                "not an asset that has partitions",
                expected=f"a key, a pattern, or one of {', '.join(families)}",
                remedy=did_you_mean(name, [*families, *by_name], otherwise="Correct the name"),
            )
        found |= fitting
    return [key for key in partitions if key in found]


def is_by_cell(partitions: dg.PartitionsDefinition) -> bool:
    """A partition is a day of a venue."""
    return isinstance(partitions, dg.MultiPartitionsDefinition)


def is_by_day(partitions: dg.PartitionsDefinition) -> bool:
    """A partition is a day over all venues."""
    return isinstance(partitions, dg.DailyPartitionsDefinition)


def cells_in(
    partitions: dg.PartitionsDefinition, span: Span, venues: Iterable[VenueId]
) -> list[str]:
    """Keys of the span's partitions: of these venues, of its days, or both."""
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        having = partitions.get_partitions_def_for_dimension(VENUE).get_partition_keys()
        on = [venue for venue in venues if str(venue) in set(having)]
        return [str(VenueDay(day, venue)) for venue in on for day in span.report.days]
    if is_by_day(partitions):
        return [str(day) for day in span.report.days]
    return [str(venue) for venue in venues if partitions.has_partition_key(str(venue))]
