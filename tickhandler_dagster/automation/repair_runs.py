"""A repair as Dagster runs it: stage after stage, each begun when the one before it is over.

What belongs here: the order, what is already under way, which venues go no further. What does not:
Dagster's calls (`backfills.py`), the job around it (`jobs.py`) and the plan (`market`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import dagster as dg

from tickhandler_dagster.automation.backfills import (
    Backfill,
    Ending,
    start_backfill,
    unfinished_repairs,
    wait_for,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.repair_plan import PlannedAsset, RepairPlan, Stage
from tickhandler_dagster.market.venues import VenueId

Cells: TypeAlias = Mapping[dg.AssetKey, frozenset[VenueDay]]
Partitions: TypeAlias = Mapping[dg.AssetKey, dg.PartitionsDefinition]

RunStage: TypeAlias = Callable[[Stage, Cells], frozenset[VenueId]]
"""Runs the cells of a stage to their end; gives the venues of which a run failed."""

OnStart: TypeAlias = Callable[[Backfill], None]

_IN_ORDER = frozenset({Stage.CANDLES})
"""Stages in which a day takes over what the day before handed on: a run per venue, days in a row.

Dagster cuts a selection along whichever of days and venues are fewer; a backfill of one venue it
can only cut along the days in a row.
"""


@dataclass(frozen=True)
class Repaired:
    """What became of a repair.

    Attributes:
        given_up: Venues of which a run failed, by the stage in which it did; their later stages
            were left out, and their completeness is as it was, so that the next repair plans them
            again.
    """

    given_up: Mapping[Stage, frozenset[VenueId]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Every run succeeded."""
        return not any(self.given_up.values())


def run_plan(plan: RepairPlan, partitions: Partitions, run_stage: RunStage) -> Repaired:
    """Run the stages in order; a venue that fails in one goes no further.

    The record of completeness comes last: until it is written the lake says what was broken, and
    a repair that was stopped half way is planned again as a whole.
    """
    failed: dict[Stage, frozenset[VenueId]] = {}
    for stage in Stage:
        gone = frozenset().union(*failed.values())
        cells = stage_cells(plan.of(stage), partitions, without=gone)
        if cells:
            failed[stage] = run_stage(stage, cells)
    return Repaired(failed)


def stage_cells(
    items: Iterable[PlannedAsset], partitions: Partitions, *, without: Iterable[VenueId] = ()
) -> dict[dg.AssetKey, frozenset[VenueDay]]:
    """The cells of the items by asset, of assets that the code location has."""
    gone = frozenset(without)
    found = {
        asset_key(item.asset): frozenset(cell for cell in item.cells if cell.venue not in gone)
        for item in items
    }
    return {key: cells for key, cells in found.items() if cells and key in partitions}


def asset_key(name: str) -> dg.AssetKey:
    """The key of a planned asset."""
    return dg.AssetKey(name.split("/"))


class BackfillStages:
    """Runs stages as backfills of the instance's daemon.

    Args:
        instance: Where they are queued.
        partitions: The definition of every asset.
        venues: Venues of the grid in its order: a run's range names two of them.
        repair: Id of the repair.
        on_start: Called with every backfill that is waited for, new or under way.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        partitions: Partitions,
        *,
        venues: Sequence[VenueId],
        repair: str,
        on_start: OnStart,
    ) -> None:
        self._instance = instance
        self._partitions = partitions
        self._venues = tuple(venues)
        self._repair = repair
        self._on_start = on_start
        self.endings: list[Ending] = []

    def __call__(self, stage: Stage, cells: Cells) -> frozenset[VenueId]:
        """Start what is not under way, wait for all of it; give the venues that failed."""
        waiting = [one for one in unfinished_repairs(self._instance) if _overlaps(one, cells)]
        started = [
            start_backfill(
                self._instance,
                part,
                self._partitions,
                repair=self._repair,
                title=f"repair {self._repair}: {_title(stage, part)}",
            )
            for part in _parts(stage, _without(cells, waiting))
        ]
        for backfill in (*waiting, *started):
            self._on_start(backfill)
        endings = wait_for(self._instance, [*waiting, *started])
        self.endings += endings
        return frozenset(venue for ending in endings for venue in self._failed(ending))

    def _failed(self, ending: Ending) -> Iterable[VenueId]:
        if ending.is_broken_off:
            yield from {cell.venue for cells in ending.backfill.cells.values() for cell in cells}
        for first, last in ending.failed:
            rows = sorted(map(self._venues.index, (first.venue, last.venue)))
            yield from self._venues[rows[0] : rows[1] + 1]


def _parts(stage: Stage, cells: Cells) -> list[Cells]:
    """The cells as they are started together; none where there are none."""
    if stage not in _IN_ORDER:
        return [cells] if cells else []
    venues = sorted({cell.venue for of_key in cells.values() for cell in of_key})
    return [_of_venue(cells, venue) for venue in venues]


def _of_venue(cells: Cells, venue: VenueId) -> Cells:
    found = {
        key: frozenset(cell for cell in of_key if cell.venue is venue)
        for key, of_key in cells.items()
    }
    return {key: of_key for key, of_key in found.items() if of_key}


def _without(cells: Cells, backfills: Iterable[Backfill]) -> Cells:
    left = dict(cells)
    for backfill in backfills:
        for key, of_key in backfill.cells.items():
            left[key] = left.get(key, frozenset()) - of_key
    return {key: of_key for key, of_key in left.items() if of_key}


def _overlaps(backfill: Backfill, cells: Cells) -> bool:
    return any(backfill.cells.get(key, frozenset()) & of_key for key, of_key in cells.items())


def _title(stage: Stage, cells: Cells) -> str:
    venues = {cell.venue for of_key in cells.values() for cell in of_key}
    days = {cell.date for of_key in cells.values() for cell in of_key}
    names = min(venues) if len(venues) == 1 else f"{len(venues)} venues"
    return f"{stage.name.lower()} of {names}, {min(days)} to {max(days)}"
