"""Which cells of an asset are there, at the first look: each day and venue is looked at once.

What belongs here: the same answer that Dagster gives for the grid of an asset, sooner. What does
not: where Dagster keeps it from then on, and how it takes in what came since.

The first look at an asset turns every cell that was ever made into an object and checks it, and
fetches every event that made or planned one: 30,660 cells take Dagster 1.4 seconds of processor
time, and the overview asks for all assets at once (`docs/scale.md`). The road not taken, a sensor
that looks so that no person looks first, costs the same, and on Postgres a look while runs commit
can pass over a cell for good. Modules behind Dagster's public face are used: the version is pinned,
and a test holds every answer against Dagster's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEventType
from dagster._core.definitions.partitions.utils.multi import MultiPartitionKey
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from tickhandler_dagster.instance.known_cells import KnownCells, Verdicts

if TYPE_CHECKING:
    from dagster._core.loader import LoadingContext
    from dagster._core.storage.event_log import SqlEventLogStorage as _Base
    from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
else:
    _Base = object  # what it is mixed into is a storage already

_MADE = DagsterEventType.ASSET_MATERIALIZATION
_PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class LinearGrid(dg.MultiPartitionsDefinition):
    """A grid that tells its cells from others without making an object of each.

    Args:
        grid: The same as Dagster has it.
        verdicts: What was said of its days and venues already.
    """

    def __init__(self, grid: dg.MultiPartitionsDefinition, verdicts: Verdicts) -> None:
        super().__init__({one.name: one.partitions_def for one in grid.partitions_defs})
        self._known = KnownCells(self, verdicts)

    def filter_valid_partition_keys(self, partition_keys: set[str]) -> set[MultiPartitionKey]:
        """Those of the keys that are cells of the grid; plain texts, which is what is stored."""
        return {key for key in partition_keys if key in self._known}  # type: ignore[misc]


def linear_grid(
    days: dg.PartitionsDefinition | None, verdicts: Verdicts
) -> dg.PartitionsDefinition | None:
    """The same grid as a `LinearGrid`; any other definition as it is."""
    if type(days) is not dg.MultiPartitionsDefinition:
        return days
    return LinearGrid(days, verdicts)


class LinearGridStates(_Base):
    """Mixed into an event log storage: the first look at an asset's cells takes a fraction."""

    def get_asset_status_cache_values(
        self,
        partitions_defs_by_key: Iterable[tuple[dg.AssetKey, dg.PartitionsDefinition | None]],
        context: LoadingContext,
    ) -> Sequence[AssetStatusCacheValue | None]:
        """What is known of the cells of each asset, brought up to now and kept."""
        verdicts = Verdicts()
        grids = [(key, linear_grid(days, verdicts)) for key, days in partitions_defs_by_key]
        return super().get_asset_status_cache_values(grids, context)

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: dg.AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """Run and event of the newest plan of each cell that was not made since.

        Dagster fetches the newest plan and the newest making of every cell and compares them here;
        the database compares them by its index alone, and gives back the few that are left.
        """
        newest = self._latest_event_ids_by_partition_subquery(
            asset_key, [_MADE, _PLANNED], after_cursor=after_storage_id
        )
        made, planned = (
            sa.func.max(sa.case((newest.c.dagster_event_type == kind.value, newest.c.id)))
            for kind in (_MADE, _PLANNED)
        )
        waiting = (
            sa.select(planned.label("id"))
            .group_by(newest.c.partition)
            .having(planned > sa.func.coalesce(made, 0))
            .subquery()
        )
        events = SqlEventLogStorageTable.c
        query = sa.select(events.partition, events.run_id, events.id).join(
            waiting, events.id == waiting.c.id
        )
        with self.index_connection() as connection:
            return {row.partition: (row.run_id, row.id) for row in connection.execute(query)}
