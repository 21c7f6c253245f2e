"""What newly came in flows on: the sensor `follow` and the job that makes what reads it.

What belongs here: which ticks came in by hand, by a command or by a backfill, and starting what
follows from them. What does not: what follows (`market/repair_plan.py`), the order of runs
(`repair_runs.py`). The clock and repairs make what follows themselves.

Not Dagster's conditions: they know edges, and that a bar reads the day after its own and a feature
months before its own is no edge. Asking them of every cell of every asset would also cost seconds
at every look.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from pydantic import Field

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.raw_ticks import FAMILY
from tickhandler_dagster.assets.retries import as_dagster
from tickhandler_dagster.automation.backfills import (
    REPAIR_PRIORITY,
    REPAIR_TAG,
    start_partitions,
    state_of,
    unfinished_backfills,
    wait_until_over,
)
from tickhandler_dagster.automation.daily_jobs import DAY_TAG
from tickhandler_dagster.automation.event_pages import end_of_log
from tickhandler_dagster.automation.repair_job import RepairScope, check_daemon
from tickhandler_dagster.automation.repair_runs import BackfillStages, asset_key, run_plan
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import VenueDay, parse_date
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.repair import BrokenPartition
from tickhandler_dagster.market.repair_plan import (
    INSTRUMENTS,
    CellRange,
    LakeLayout,
    RepairPlan,
    cell_ranges,
)
from tickhandler_dagster.market.venues import parse_venue
from tickhandler_dagster.pipeline.repair import plan_broken

JOB = SENSOR = "follow"
OP = "make_what_reads_it"
_PAGE = 1_000
_LONGEST_S = 14 * 86_400
_TABLES = "warehouse"


class FollowConfig(dg.Config):
    """Which ticks came in: the sensor writes it, and a person can."""

    ticks: list[str] = Field(
        description="Days of a venue and type in a row: 'trades binance 2024-08-08 2024-08-09'."
    )


def build_follow(
    scope: RepairScope,
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition],
    *,
    interval_s: int,
    is_on: bool,
) -> tuple[dg.JobDefinition, dg.SensorDefinition]:
    """The job and its sensor.

    Args:
        scope: The grid and what reads what.
        partitions: The definition of every asset.
        interval_s: Seconds between two looks.
        is_on: The sensor runs from the start.
    """
    job = _job(scope, partitions)
    status = dg.DefaultSensorStatus

    @dg.sensor(
        name=SENSOR,
        job_name=JOB,
        minimum_interval_seconds=interval_s,
        default_status=status.RUNNING if is_on else status.STOPPED,
        description=(
            "Starts candles, features, audits, completeness and tables of days whose ticks came in "
            "by hand or by a backfill, as soon as nothing else runs. Begins nothing new."
        ),
    )
    def follow(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance = context.instance
        end = end_of_log(instance)
        if context.cursor is None:
            context.update_cursor(str(end))
            return dg.SkipReason("Begins with what comes in from now on.")
        if is_busy(instance):
            return dg.SkipReason("Waits until the runs and backfills that go on are over.")
        found = arrivals(instance, int(context.cursor))
        context.update_cursor(str(end))
        if not found:
            return dg.SkipReason("Nothing came in.")
        config = FollowConfig(ticks=ranges_text(found))
        return dg.RunRequest(
            run_key=str(end),
            run_config=dg.RunConfig(ops={OP: config}),
            tags={"dagster/priority": str(REPAIR_PRIORITY)},
        )

    return job, follow


def is_busy(instance: dg.DagsterInstance) -> bool:
    """Something goes on that may itself make what follows."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)), limit=1)
    return bool(runs) or bool(unfinished_backfills(instance))


def arrivals(instance: dg.DagsterInstance, cursor: int) -> dict[DataType, dict[VenueDay, int]]:
    """Raw cells that were materialized after the cursor, each with its storage id.

    Runs of the clock and of repairs are left out.
    """
    found: dict[DataType, dict[VenueDay, int]] = {}
    by_run: dict[str, bool] = {}
    while True:
        rows = instance.get_asset_event_summary_records(
            event_type=DagsterEventType.ASSET_MATERIALIZATION,
            after_storage_id=cursor,
            limit=_PAGE,
            ascending=True,
        )
        for row in rows:
            cursor = row.storage_id
            if row.asset_key.path[0] != FAMILY or row.partition is None:
                continue
            run_id = row.run_id or ""
            if run_id not in by_run:
                by_run[run_id] = _follows_by_itself(instance, run_id)
            if not by_run[run_id]:
                cells = found.setdefault(DataType(row.asset_key.path[1]), {})
                cells[VenueDay.parse(row.partition)] = row.storage_id
        if len(rows) < _PAGE:
            return found


def _follows_by_itself(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is not None and (DAY_TAG in run.tags or REPAIR_TAG in run.tags)


def ranges_text(found: Mapping[DataType, Iterable[VenueDay]]) -> list[str]:
    """The cells as the run's configuration has them."""
    return [
        f"{data_type} {one.venue} {one.first} {one.last}"
        for data_type, cells in sorted(found.items())
        for one in cell_ranges(cells)
    ]


def parse_ranges(texts: Iterable[str]) -> list[BrokenPartition]:
    """The inverse of `ranges_text`.

    Raises:
        InvalidInput: a name or a date is wrong.
    """
    found = []
    for text in texts:
        name, venue, first, last = text.split()
        one = CellRange(parse_venue(venue), parse_date(first), parse_date(last))
        found += [
            BrokenPartition(
                parse_data_type(name),
                VenueDay(one.first + dt.timedelta(days=day), one.venue),
                {},
            )
            for day in range(one.days)
        ]
    return found


def _job(
    scope: RepairScope, partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition]
) -> dg.JobDefinition:
    @dg.op(
        name=OP,
        description="Plan what reads these ticks, start backfills of what is older than they are.",
        out=dg.Out(dg.Nothing),
    )
    def make_what_reads_it(
        context: dg.OpExecutionContext, config: FollowConfig, lake: dg.ResourceParam[Lake]
    ) -> None:
        try:
            layout = scope.layout()
            came = parse_ranges(config.ticks)
            plan = plan_of_followers(context.instance, came, lake, layout)
            if plan.is_empty:
                context.log.info("nothing to make: all of it is younger than these ticks")
                return
            check_daemon(context.instance)
        except TickhandlerError as error:
            raise as_dagster(error) from error
        _run(context, plan, scope, partitions)

    @dg.job(
        name=JOB,
        description="Make what reads ticks that came in: exactly those cells, in order.",
        tags={"dagster/max_runtime": str(_LONGEST_S)},
    )
    def follow_job() -> None:
        make_what_reads_it()

    return follow_job


def plan_of_followers(
    instance: dg.DagsterInstance,
    came: Sequence[BrokenPartition],
    lake: Lake,
    layout: LakeLayout,
) -> RepairPlan:
    """What reads the ticks and is older than they are."""
    plan = plan_broken(came, lake=lake, layout=layout)
    newest = max(
        (
            id_
            for data_type in {one.data_type for one in came}
            for id_ in _ids(
                instance,
                dg.AssetKey([FAMILY, data_type.value]),
                {one.cell for one in came if one.data_type is data_type},
            ).values()
        ),
        default=0,
    )
    items = []
    for item in plan.items:
        if item.asset == INSTRUMENTS or item.asset.startswith(f"{FAMILY}/"):
            continue
        made = _ids(instance, asset_key(item.asset), set(item.cells))
        cells = tuple(cell for cell in item.cells if made.get(str(cell), 0) < newest)
        if cells:
            items.append(replace(item, cells=cells))
    return RepairPlan(tuple(items))


def _ids(instance: dg.DagsterInstance, key: dg.AssetKey, cells: set[VenueDay]) -> Mapping[str, int]:
    return instance.event_log_storage.get_latest_storage_id_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, partitions={str(cell) for cell in cells}
    )


def _run(
    context: dg.OpExecutionContext,
    plan: RepairPlan,
    scope: RepairScope,
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition],
) -> None:
    name = (context.run.root_run_id or context.run_id)[:8]
    stages = BackfillStages(
        context.instance,
        partitions,
        venues=scope.plan.venues,
        repair=name,
        on_start=lambda one: context.log.info("%s: backfill %s", one.title, one.link),
    )
    repaired = run_plan(plan, partitions, stages)
    days = sorted({cell.date.isoformat() for item in plan.items for cell in item.cells})
    tables = dict.fromkeys(_kept_tables(context.instance, partitions), days)
    is_whole = repaired.is_whole
    if tables:
        backfill = start_partitions(
            context.instance,
            tables,
            partitions,
            tags={REPAIR_TAG: name, "dagster/priority": str(REPAIR_PRIORITY)},
            title=f"follow {name}: tables, {days[0]} to {days[-1]}",
        )
        wait_until_over(context.instance, backfill)
        is_whole = is_whole and state_of(context.instance, backfill).is_whole
    context.add_output_metadata(
        {"cells": dg.MetadataValue.int(sum(len(item.cells) for item in plan.items))}
    )
    if not is_whole:
        raise dg.Failure(
            "follow: a run failed. Look at it, and start this run again: it plans what is left.",
            allow_retries=False,
        )


def _kept_tables(
    instance: dg.DagsterInstance, partitions: Iterable[dg.AssetKey]
) -> Iterator[dg.AssetKey]:
    """Tables of the warehouse that were ever published."""
    keys = [key for key in partitions if key.path[0] == _TABLES]
    for record in instance.get_asset_records(keys):
        if record.asset_entry.last_materialization_storage_id is not None:
            yield record.asset_entry.asset_key
