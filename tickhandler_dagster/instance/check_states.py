"""The status of every cell of a check, in one pass over what the event log says of the cells.

What belongs here: the same answer that Dagster gives, in linear time. What does not: the query that
the cells come from, which is Dagster's own.

Dagster adds one cell after the other to a set it copies each time: 30,660 cells, the six years of
fourteen venues, take it 12 seconds of processor time for one check, and the page asks at every
look (`docs/scale.md`). The road not taken, fewer days or fewer checks, hides what the grid is for.
Modules behind Dagster's public face are used: the version is pinned, and a test holds every answer
against Dagster's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import dagster as dg
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus,
    AssetCheckExecutionResolvedStatus,
    AssetCheckPartitionInfo,
)
from dagster._core.storage.asset_check_state import AssetCheckState, _valid_partition_key
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from tickhandler_dagster.instance.known_cells import KnownCells, Verdicts

_EVALUATED = {
    AssetCheckExecutionRecordStatus.SUCCEEDED: AssetCheckExecutionResolvedStatus.SUCCEEDED,
    AssetCheckExecutionRecordStatus.FAILED: AssetCheckExecutionResolvedStatus.FAILED,
}


class LinearCheckState(AssetCheckState):
    """What is known of a check; updating it takes time in proportion to the cells."""

    def with_updates(
        self,
        key: dg.AssetCheckKey,
        partitions_def: dg.PartitionsDefinition | None,
        partition_records: Sequence[AssetCheckPartitionInfo],
        run_statuses: Mapping[str, dg.DagsterRunStatus],
    ) -> AssetCheckState:
        """The state after these records; Dagster's own way where the check has no partitions."""
        if partitions_def is None:
            return super().with_updates(key, partitions_def, partition_records, run_statuses)
        cells, is_known = _Cells(self), _tells_cells(partitions_def)
        for record in partition_records:
            if is_known(record.partition_key):
                cells.take(record)
        cells.end_runs(run_statuses)

        def subset(keys: Iterable[str]) -> SerializableEntitySubset[dg.AssetCheckKey]:
            return SerializableEntitySubset(key, partitions_def.subset_with_partition_keys(keys))

        newest = max(map(_newest_event, partition_records), default=self.latest_storage_id)
        return AssetCheckState(
            latest_storage_id=newest,
            subsets={status: subset(keys) for status, keys in cells.by_status.items()},
            in_progress_runs={run: subset(keys) for run, keys in cells.by_run.items()},
        )


class LinearCheckStates:
    """Mixed into an event log storage: the status of a check takes linear time.

    Dagster begins with what the storage remembers of a check, for which its own storages have
    nothing, and updates that: here with nothing as well, which updates itself in one pass.
    """

    def get_checkpointed_asset_check_state(
        self, keys: Sequence[dg.AssetCheckKey]
    ) -> Mapping[dg.AssetCheckKey, AssetCheckState]:
        """Nothing, for each check."""
        return {key: LinearCheckState.empty() for key in keys}


class _Cells:
    """Cells by status, and those of unfinished runs by run, as sets that change in place."""

    def __init__(self, state: AssetCheckState) -> None:
        self.by_status: dict[AssetCheckExecutionResolvedStatus, set[str]] = {
            status: _keys(state.subsets.get(status)) for status in AssetCheckExecutionResolvedStatus
        }
        self.by_run: dict[str, set[str]] = defaultdict(set)
        for run, subset in state.in_progress_runs.items():
            self.by_run[run] |= _keys(subset)

    def take(self, record: AssetCheckPartitionInfo) -> None:
        """What the newest event of a cell says."""
        cell = str(record.partition_key)
        if record.latest_execution_status is AssetCheckExecutionRecordStatus.PLANNED:
            self.by_status[AssetCheckExecutionResolvedStatus.IN_PROGRESS].add(cell)
            self.by_run[record.latest_planned_run_id].add(cell)
        elif record.is_current:
            self.by_status[_EVALUATED[record.latest_execution_status]].add(cell)
        else:  # materialized since: nothing is known of what is there now
            for cells in self.by_status.values():
                cells.discard(cell)

    def end_runs(self, statuses: Mapping[str, dg.DagsterRunStatus]) -> None:
        """Cells that a run planned and ended without."""
        ended = AssetCheckExecutionResolvedStatus
        for run, status in statuses.items():
            if status in FINISHED_STATUSES and run in self.by_run:
                cells = self.by_run.pop(run)
                is_failure = status is dg.DagsterRunStatus.FAILURE
                self.by_status[ended.IN_PROGRESS] -= cells
                self.by_status[ended.EXECUTION_FAILED if is_failure else ended.SKIPPED] |= cells


def _tells_cells(partitions_def: dg.PartitionsDefinition) -> Callable[[str | None], bool]:
    """What tells a cell from another text, or from none."""
    if not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return lambda key: _valid_partition_key(key, partitions_def)
    known = KnownCells(partitions_def, Verdicts())
    return lambda key: key is not None and key in known


def _keys(subset: SerializableEntitySubset[dg.AssetCheckKey] | None) -> set[str]:
    return set() if subset is None else set(subset.subset_value.get_partition_keys())


def _newest_event(record: AssetCheckPartitionInfo) -> int:
    return max(record.latest_check_event_storage_id, record.latest_materialization_storage_id or 0)
