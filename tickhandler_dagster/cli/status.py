"""`tickhandler status`: what of a span is materialized, failed, running or missing, and the queue.

What belongs here: reading the instance and the text. What does not: what the data says of itself,
which is `check-gaps` and `report`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from rich.table import Table

from tickhandler_dagster.automation.backfills import (
    BackfillState,
    is_daemon_alive,
    state_of,
    unfinished_backfills,
)
from tickhandler_dagster.cli.gaps import Span
from tickhandler_dagster.cli.mode_screen import ModeScreen
from tickhandler_dagster.cli.platform import Platform
from tickhandler_dagster.cli.selection import Partitions, cells_in, chosen_assets

STATES = ("materialized", "failed", "running", "missing")

_OF_DAGSTER = {"MATERIALIZED": "materialized", "FAILED": "failed", "IN_PROGRESS": "running"}
_OPEN_RUNS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SHOWN_RUNS = 20


@dataclass(frozen=True)
class OpenRun:
    """A run that is not over."""

    run_id: str
    status: str
    partitions: str
    assets: tuple[str, ...]


def run_status(platform: Platform, span: Span, assets: Sequence[str], *, as_json: bool) -> None:
    """Print where the span's partitions are, and what is queued.

    Raises:
        InvalidInput: a name fits no asset.
    """
    partitions = platform.partitions
    keys = chosen_assets(assets, partitions) if assets else list(partitions)
    found = {
        key.to_user_string(): statuses
        for key in keys
        if (statuses := partition_statuses(platform.instance, key, partitions, span))
    }
    runs = _open_runs(platform.instance)
    backfills = [
        state_of(platform.instance, name) for name in unfinished_backfills(platform.instance)
    ]
    if as_json:
        sys.stdout.write(json.dumps(_as_json(platform, found, runs, backfills), indent=1) + "\n")
    else:
        _show(ModeScreen(as_json=False), platform, found, runs, backfills)


def partition_statuses(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Partitions, span: Span
) -> dict[str, str]:
    """By partition of the span one of `STATES`."""
    wanted = cells_in(partitions[key], span, span.report.venues)
    if not wanted:
        return {}
    known = instance.get_status_by_partition(key, wanted, partitions[key]) or {}
    return {
        one: "missing" if (status := known.get(one)) is None else _OF_DAGSTER[status.value]
        for one in wanted
    }


def _open_runs(instance: dg.DagsterInstance) -> list[OpenRun]:
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_OPEN_RUNS))
    return [
        OpenRun(
            run.run_id,
            run.status.value.lower(),
            _partitions_of(run),
            tuple(sorted(key.to_user_string() for key in run.asset_selection or ())),
        )
        for run in runs
    ]


def _partitions_of(run: dg.DagsterRun) -> str:
    ends = [run.tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end")]
    return "...".join(dict.fromkeys(ends)) if all(ends) else run.tags.get("dagster/partition", "")


def _as_json(
    platform: Platform,
    found: Mapping[str, Mapping[str, str]],
    runs: Sequence[OpenRun],
    backfills: Sequence[BackfillState],
) -> dict[str, object]:
    return {
        "assets": {
            asset: {
                **_counts(statuses),
                "not_materialized": {
                    one: status for one, status in statuses.items() if status != "materialized"
                },
            }
            for asset, statuses in found.items()
        },
        "daemon": is_daemon_alive(platform.instance),
        "runs": [
            {
                "run_id": run.run_id,
                "status": run.status,
                "partitions": run.partitions,
                "assets": list(run.assets),
            }
            for run in runs
        ],
        "backfills": [
            {"id": one.name, "title": one.title, "runs": dict(one.runs), "failed": len(one.failed)}
            for one in backfills
        ],
    }


def _counts(statuses: Mapping[str, str]) -> dict[str, int]:
    counts = Counter(statuses.values())
    return {"partitions": len(statuses), **{state: counts[state] for state in STATES}}


def _show(
    screen: ModeScreen,
    platform: Platform,
    found: Mapping[str, Mapping[str, str]],
    runs: Sequence[OpenRun],
    backfills: Sequence[BackfillState],
) -> None:
    table = Table("asset")
    for header in ("partitions", *STATES):
        table.add_column(header, justify="right")
    table.add_column("first not there")
    for asset, statuses in found.items():
        absent = [one for one in sorted(statuses) if statuses[one] != "materialized"]
        counts = _counts(statuses)
        numbers = (f"{count:,}" for count in counts.values())
        table.add_row(asset, *numbers, f"{absent[0]} {statuses[absent[0]]}" if absent else "")
    screen.console.print(table)
    by_status = Counter(run.status for run in runs)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(by_status.items()))
    daemon = "running" if is_daemon_alive(platform.instance) else "not running"
    screen.say(f"runs: {told or 'none queued or running'}; daemon: {daemon}")
    for run in runs[:_SHOWN_RUNS]:
        screen.say(f"  {run.run_id[:8]} {run.status} {run.partitions} {' '.join(run.assets)}")
    for one in backfills:
        counts_text = ", ".join(f"{count:,} {status}" for status, count in one.runs.items())
        screen.say(f"  backfill {one.name} {one.title}: {counts_text or 'no run yet'}")
