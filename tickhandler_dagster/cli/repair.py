"""`tickhandler repair`: the plan on the screen, then the runs, by the daemon or right here.

What does not belong here: the plan (`market/repair_plan.py`) and the order of stages
(`automation/repair_runs.py`), which the page's job shares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import dagster as dg
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.automation.repair_job import (
    JOB,
    OP,
    PLAN_HEADER,
    RepairConfig,
    cells_of_plan,
    check_daemon,
    plan_of,
    plan_rows,
)
from tickhandler_dagster.automation.repair_runs import Cells, run_plan
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.repair_plan import CellRange, RepairPlan, Stage, cell_ranges
from tickhandler_dagster.market.venues import VenueId

_MULTI = frozenset({"candles", "bars", "mft_features"})
"""Assets of one computation: a run of all that are wanted reads its inputs once."""


def run_repair(platform: Platform, config: RepairConfig, *, is_now: bool, as_json: bool) -> bool:
    """Show the plan and run it.

    Returns:
        Whether there was nothing to do or every run succeeded.

    Raises:
        InvalidInput: a date or a name is wrong.
        TransientError: no daemon runs that could take the backfills up.
    """
    plan = plan_of(config, platform.scope, platform.lake)
    screen = Console(stderr=as_json)
    if not as_json:
        _show(screen, plan)
    is_whole = True
    if not (plan.is_empty or config.dry_run):
        run = _run_here if is_now else _run_by_daemon
        is_whole = run(platform, config, plan, screen)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(plan, config, is_whole=is_whole), indent=1) + "\n")
    return is_whole


def _show(screen: Console, plan: RepairPlan) -> None:
    if plan.is_empty:
        screen.print("Nothing to repair.")
        return
    table = Table(*PLAN_HEADER)
    for row in plan_rows(plan):
        table.add_row(*row)
    screen.print(table)
    screen.print(f"{cells_of_plan(plan):,} cells of {len(plan.items)} assets")


def _as_json(plan: RepairPlan, config: RepairConfig, *, is_whole: bool) -> dict[str, object]:
    return {
        "cells": cells_of_plan(plan),
        "dry_run": config.dry_run,
        "whole": is_whole,
        "plan": [
            {
                "asset": item.asset,
                "stage": item.stage.name.lower(),
                "cells": [str(cell) for cell in item.cells],
                "why": dict(item.why),
            }
            for item in plan.items
        ],
    }


def _run_by_daemon(
    platform: Platform, config: RepairConfig, plan: RepairPlan, screen: Console
) -> bool:
    """A run of the page's own job; it plans again, and ends when the daemon is done."""
    del plan
    check_daemon(platform.instance)
    screen.print(
        "The daemon takes the backfills up; follow them under Runs in the page. "
        "Stopping this command stops what was not started yet: call it again to go on."
    )
    result = platform.repository.get_job(JOB).execute_in_process(
        instance=platform.instance,
        run_config={
            "ops": {OP: {"config": config.model_dump()}},
            **platform.log_config(quiet_level="INFO"),
        },
        raise_on_error=False,
    )
    return _told(screen, f"run {result.run_id[:8]}", result)


def _run_here(platform: Platform, config: RepairConfig, plan: RepairPlan, screen: Console) -> bool:
    del config
    stages = HereStages(platform, screen)
    return run_plan(plan, platform.partitions, stages).is_whole


@dataclass(frozen=True)
class HereStages:
    """Runs stages in this process, one run after another.

    Attributes:
        platform: Where.
        screen: Told of every run.
        again: Instruments whose files a cell of a raw asset fetches again; such a cell has a run
            of its own.
    """

    platform: Platform
    screen: Console
    again: Mapping[tuple[str, VenueDay], tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, stage: Stage, cells: Cells) -> frozenset[VenueId]:
        """Run the cells; give the venues of which a run failed."""
        failed: set[VenueId] = set()
        runs = list(_runs(cells, {asset for asset, _ in self.again}))
        for number, (keys, part) in enumerate(runs, 1):
            names = " ".join(key.to_user_string() for key in keys)
            title = f"{stage.name.lower()} {number}/{len(runs)}: {names} {part}"
            result = self.platform.run_assets(keys, part, self._config(keys, part))
            if not _told(self.screen, title, result):
                failed.add(part.venue)
        return frozenset(failed)

    def _config(
        self, keys: tuple[dg.AssetKey, ...], part: CellRange
    ) -> dict[str, list[str]] | None:
        instruments = self.again.get(
            (keys[0].to_user_string(), VenueDay(part.first, part.venue)), ()
        )
        return {"instruments": list(instruments)} if instruments else None


def _runs(
    cells: Cells, cell_by_cell: Collection[str]
) -> Iterator[tuple[tuple[dg.AssetKey, ...], CellRange]]:
    """Runs in the plan's order: what one computation makes of the same days is one run."""
    for _, group in groupby(cells.items(), key=lambda item: _computation(item[0])):
        by_range: dict[CellRange, list[dg.AssetKey]] = {}
        for key, of_key in group:
            is_single = key.to_user_string() in cell_by_cell
            for part in _single_cells(of_key) if is_single else cell_ranges(of_key):
                by_range.setdefault(part, []).append(key)
        for part, keys in by_range.items():
            yield tuple(keys), part


def _single_cells(cells: Iterable[VenueDay]) -> Iterator[CellRange]:
    return (CellRange(cell.venue, cell.date, cell.date) for cell in sorted(cells))


def _computation(key: dg.AssetKey) -> str:
    return key.path[0] if key.path[0] in _MULTI else key.to_user_string()


def _told(screen: Console, title: str, result: dg.ExecuteInProcessResult) -> bool:
    screen.print(f"{'ok    ' if result.success else 'failed'} {title}", highlight=False)
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            told = failure.user_failure_data.description if failure.user_failure_data else None
            screen.print(f"       {told or (failure.error and failure.error.message)}")
    return bool(result.success)
