"""Dagster backfills of exactly chosen cells: start, find, wait for, judge.

What belongs here: everything of ours that needs Dagster's own modules behind its public face. The
public ways are GraphQL, which a run in a code location has no address for, and the page. Both end
in the call made here; the version is pinned and the end-to-end tests go through it. What does not:
which cells (`market/repair_plan.py`) and in which order (`repair_runs.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.utils import make_new_backfill_id

from tickhandler_dagster.market.days import VenueDay

REPAIR_TAG = "tickhandler/repair"
BACKFILL_TAG = "dagster/backfill"
POLL_S = 1.0
REPAIR_PRIORITY = 10
"""Priority of a repair's runs in the queue."""

_DAEMON = "BACKFILL"
_UNFINISHED = [one for one in BulkActionStatus if one not in BULK_ACTION_TERMINAL_STATUSES]
_ENDED_BADLY = (BulkActionStatus.FAILED, BulkActionStatus.CANCELED)
_PARTITION_TAGS = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
    "dagster/partition",
)


@dataclass(frozen=True)
class Backfill:
    """A backfill of a repair.

    Attributes:
        name: Its id.
        title: What it is about.
        cells: Its cells by asset.
    """

    name: str
    title: str
    cells: Mapping[dg.AssetKey, frozenset[VenueDay]]

    @property
    def link(self) -> str:
        """Its place on the page."""
        return f"/runs/b/{self.name}"


@dataclass(frozen=True)
class Ending:
    """How a backfill ended.

    Attributes:
        backfill: Which.
        runs: Number of its runs.
        failed: The two ends of the partition range of every run that failed and was not made good.
        is_broken_off: It ended before its runs were over, or never had them.
    """

    backfill: Backfill
    runs: int
    failed: tuple[tuple[VenueDay, VenueDay], ...]
    is_broken_off: bool

    @property
    def is_whole(self) -> bool:
        """Every run succeeded.

        Not what Dagster says of a backfill: a run that found nothing to store skips its cell, which
        Dagster counts as failed.
        """
        return not self.failed and not self.is_broken_off


def is_daemon_alive(instance: dg.DagsterInstance) -> bool:
    """The daemon that works on backfills has been heard of lately."""
    return instance.get_daemon_statuses([_DAEMON])[_DAEMON].healthy is True


def start_backfill(
    instance: dg.DagsterInstance,
    cells: Mapping[dg.AssetKey, Iterable[VenueDay]],
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition],
    *,
    repair: str,
    title: str,
) -> Backfill:
    """Ask the daemon for these cells of these assets and no others.

    Args:
        instance: Where the backfill is queued.
        cells: Cells by asset; none of them empty.
        partitions: The definition of every asset.
        repair: Which repair it belongs to, for its tag.
        title: What the page shows.
    """
    chosen = {key: frozenset(of_key) for key, of_key in cells.items()}
    keys = {key: [str(cell) for cell in sorted(of_key)] for key, of_key in chosen.items()}
    name = start_partitions(instance, keys, partitions, tags=_tags(repair), title=title)
    return Backfill(name, title, chosen)


def _tags(repair: str) -> dict[str, str]:
    # After the clock's days, before backfills of history, which have none.
    return {REPAIR_TAG: repair, "dagster/priority": str(REPAIR_PRIORITY)}


def start_partitions(
    instance: dg.DagsterInstance,
    chosen: Mapping[dg.AssetKey, Sequence[str]],
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition],
    *,
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any] | None = None,
) -> str:
    """Ask the daemon for these partitions of these assets and no others; gives the backfill's id.

    Args:
        instance: Where the backfill is queued.
        chosen: Partition keys by asset; none of them empty.
        partitions: The definition of every asset.
        tags: Of the backfill and its runs.
        title: What the page shows.
        run_config: Of every run.
    """
    # Its decorator hides from mypy which arguments the named tuple takes.
    subset = AssetGraphSubset(  # type: ignore[call-arg]
        {key: partitions[key].subset_with_partition_keys(of_key) for key, of_key in chosen.items()},
        set(),
    )
    name = make_new_backfill_id()
    instance.add_backfill(
        PartitionBackfill.from_asset_graph_subset(
            backfill_id=name,
            backfill_timestamp=time.time(),
            tags=dict(tags),
            dynamic_partitions_store=instance,
            asset_graph_subset=subset,
            title=title,
            description=None,
            run_config=dict(run_config or {}) or None,
        )
    )
    return name


@dataclass(frozen=True)
class BackfillState:
    """Where a backfill is.

    Attributes:
        name: Its id.
        title: What it is about.
        is_over: Nothing of it will start or go on.
        is_broken_off: It ended before its runs were over, or never had them.
        runs: Number of its runs by status.
        failed: Runs that failed and were not made good, each as its id.
    """

    name: str
    title: str
    is_over: bool
    is_broken_off: bool
    runs: Mapping[str, int]
    failed: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """It is over, and every run succeeded."""
        return self.is_over and not (self.failed or self.is_broken_off)


def state_of(instance: dg.DagsterInstance, name: str) -> BackfillState:
    """Where a backfill is now; one that nobody knows is broken off."""
    found = instance.get_backfill(name)
    runs = instance.get_runs(filters=dg.RunsFilter(tags={BACKFILL_TAG: name}))
    return BackfillState(
        name=name,
        title="" if found is None else found.title or "",
        is_over=found is None or found.status in BULK_ACTION_TERMINAL_STATUSES,
        is_broken_off=found is None or found.status in _ENDED_BADLY,
        runs=Counter(run.status.value.lower() for run in runs),
        failed=tuple(run.run_id for run in _not_made_good(runs) if run.is_finished),
    )


def unfinished_backfills(instance: dg.DagsterInstance) -> list[str]:
    """Ids of the backfills that are still going on, whoever started them."""
    return [
        one.backfill_id
        for one in instance.get_backfills(filters=BulkActionsFilter(statuses=_UNFINISHED))
    ]


def unfinished_targets(
    instance: dg.DagsterInstance,
) -> list[Mapping[dg.AssetKey, dg.PartitionsSubset]]:
    """The partitions of every backfill that is still going on, by asset: done ones are among them.

    A backfill has no runs in its first half minute, and its later runs only when earlier ones are
    over: what it will make is known from it alone.
    """
    open_ones = instance.get_backfills(filters=BulkActionsFilter(statuses=_UNFINISHED))
    found = [one.asset_backfill_data for one in open_ones]
    return [one.target_subset.partitions_subsets_by_asset_key for one in found if one is not None]


def unfinished_repairs(instance: dg.DagsterInstance) -> list[Backfill]:
    """The backfills of repairs that are still going on."""
    open_ones = instance.get_backfills(filters=BulkActionsFilter(statuses=_UNFINISHED))
    return [
        Backfill(one.backfill_id, one.title or "", _cells_of(one))
        for one in open_ones
        if REPAIR_TAG in one.tags and one.asset_backfill_data is not None
    ]


def _cells_of(backfill: PartitionBackfill) -> dict[dg.AssetKey, frozenset[VenueDay]]:
    data = backfill.asset_backfill_data
    subsets = {} if data is None else data.target_subset.partitions_subsets_by_asset_key
    return {
        key: frozenset(VenueDay.parse(str(one)) for one in subset.get_partition_keys())
        for key, subset in subsets.items()
    }


def wait_for(instance: dg.DagsterInstance, backfills: Sequence[Backfill]) -> list[Ending]:
    """Wait until all of them are over; the daemon tells nobody, so it is asked every second."""
    return [_wait(instance, backfill) for backfill in backfills]


def wait_until_over(instance: dg.DagsterInstance, name: str) -> None:
    """Wait until nothing of a backfill will start or go on."""
    while not state_of(instance, name).is_over:
        time.sleep(POLL_S)


def _wait(instance: dg.DagsterInstance, backfill: Backfill) -> Ending:
    while True:
        found = instance.get_backfill(backfill.name)
        if found is None or found.status in BULK_ACTION_TERMINAL_STATUSES:
            is_broken_off = found is None or found.status in _ENDED_BADLY
            return _ending(instance, backfill, is_broken_off=is_broken_off)
        time.sleep(POLL_S)


def _ending(instance: dg.DagsterInstance, backfill: Backfill, *, is_broken_off: bool) -> Ending:
    runs = instance.get_runs(filters=dg.RunsFilter(tags={BACKFILL_TAG: backfill.name}))
    failed = [_span(run.tags) for run in _not_made_good(runs)]
    return Ending(backfill, len(runs), tuple(failed), is_broken_off)


def _not_made_good(runs: Sequence[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """Runs without a success, their own or that of another try."""
    # A run whose process died is started again under a new id, with the first one as its root.
    made_good = {
        run.root_run_id or run.run_id for run in runs if run.status is dg.DagsterRunStatus.SUCCESS
    }
    return [run for run in runs if (run.root_run_id or run.run_id) not in made_good]


def _span(tags: Mapping[str, str]) -> tuple[VenueDay, VenueDay]:
    first, last, single = (tags.get(name) for name in _PARTITION_TAGS)
    ends = (first, last) if first and last else (single, single)
    return VenueDay.parse(str(ends[0])), VenueDay.parse(str(ends[1]))
