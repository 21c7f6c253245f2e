"""Which cells of an asset are there, at the first look: each day and venue is looked at once.

What belongs here: the same answer that Dagster gives for the grid of an asset, sooner. What does
not: where Dagster keeps it from then on, and how it takes in what came since.

The first look at an asset turns every cell that was ever made into an object and checks it: 30,660
cells take Dagster 1.4 seconds of processor time, and the overview asks for all assets at once
(`docs/scale.md`). The road not taken, a sensor that looks so that no person looks first, costs the
same, and on Postgres a look while runs commit can pass over a cell for good. Modules behind
Dagster's public face are used: the version is pinned, and a test holds every answer against
Dagster's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.partitions.utils.multi import (
    MULTIPARTITION_KEY_DELIMITER,
    MultiPartitionKey,
)

if TYPE_CHECKING:
    from dagster._core.loader import LoadingContext
    from dagster._core.storage.event_log import EventLogStorage as _Base
    from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
else:
    _Base = object  # what it is mixed into is a storage already


class LinearGrid(dg.MultiPartitionsDefinition):
    """A grid that tells its cells from others without making an object of each."""

    def filter_valid_partition_keys(self, partition_keys: set[str]) -> set[MultiPartitionKey]:
        """Those of the keys that are cells of the grid; plain texts, which is what is stored."""
        dimensions = [one.partitions_def for one in self.partitions_defs]
        parts = [key.split(MULTIPARTITION_KEY_DELIMITER) for key in partition_keys]
        columns = zip(*(some for some in parts if len(some) == len(dimensions)), strict=True)
        known = [
            of_dimension.filter_valid_partition_keys(set(column))
            for of_dimension, column in zip(dimensions, columns, strict=False)
        ]
        cells = map(MULTIPARTITION_KEY_DELIMITER.join, product(*known)) if known else ()
        return partition_keys.intersection(cells)  # type: ignore[return-value]


def linear_grid(days: dg.PartitionsDefinition | None) -> dg.PartitionsDefinition | None:
    """The same grid as a `LinearGrid`; any other definition as it is."""
    if type(days) is not dg.MultiPartitionsDefinition:
        return days
    return LinearGrid({one.name: one.partitions_def for one in days.partitions_defs})


class LinearGridStates(_Base):
    """Mixed into an event log storage: the first look at an asset's cells takes a fraction."""

    def get_asset_status_cache_values(
        self,
        partitions_defs_by_key: Iterable[tuple[dg.AssetKey, dg.PartitionsDefinition | None]],
        context: LoadingContext,
    ) -> Sequence[AssetStatusCacheValue | None]:
        """What is known of the cells of each asset, brought up to now and kept."""
        grids = [(key, linear_grid(days)) for key, days in partitions_defs_by_key]
        return super().get_asset_status_cache_values(grids, context)
