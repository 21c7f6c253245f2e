"""The job `repair`: from what the launchpad is told to the runs that make the lake whole.

What belongs here: the run's configuration, its default, the op and its metadata. What does not:
which cells (`market/repair_plan.py`) and the order of runs (`repair_runs.py`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.retries import as_dagster
from tickhandler_dagster.automation.backfills import Backfill, is_daemon_alive
from tickhandler_dagster.automation.repair_runs import BackfillStages, Repaired, run_plan
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput, TickhandlerError, TransientError
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.market.repair import ASKED_AGAIN, RepairRequest, parse_states
from tickhandler_dagster.market.repair_plan import LakeLayout, RepairPlan
from tickhandler_dagster.market.venues import VenueId, parse_venue
from tickhandler_dagster.partitions.grid import DATE, Grid
from tickhandler_dagster.pipeline.mft_inputs import MftPlan
from tickhandler_dagster.pipeline.repair import read_plan, repair_layout
from tickhandler_dagster.reporting import markdown

JOB, OP = "repair", "repair_partitions"

# A repair waits for its backfills as long as they take; the instance's own limit is for runs that
# compute.
_LONGEST_S = 14 * 86_400


class RepairConfig(dg.Config):
    """What a repair is told; the words of the launchpad and of the command.

    Attributes: see the description of each.
    """

    venues: list[str] = Field(
        default=[], description="Venues; those of DOWNLOAD_VENUES where empty."
    )
    since: str = Field(
        default="", description="First UTC day, YYYY-MM-DD; the grid's first day where empty."
    )
    until: str = Field(
        default="", description="Last UTC day, included; the grid's last day where empty."
    )
    data_types: list[str] = Field(
        default=[], description="Data types; those of DOWNLOAD_DATA_TYPES where empty."
    )
    states: list[str] = Field(
        default=[],
        description=(
            "States to ask the vendor for again; `missing` stands for all that are missing, also "
            f"those that wait for the vendor or the subscription. Where empty: "
            f"{', '.join(ASKED_AGAIN)}."
        ),
    )
    instruments: list[str] = Field(
        default=[],
        description="Instrument keys or patterns with * and ? that decide; all where empty.",
    )
    dry_run: bool = Field(default=False, description="Plan and show, and start nothing.")


@dataclass(frozen=True)
class RepairScope:
    """What can be repaired: the grid, what is made of what, and what is downloaded at all.

    Attributes:
        plan: What is computed of mid-frequency features.
        grid: The grid.
        downloads: Types that are downloaded, by venue.
        sets: Named sets of features.
    """

    plan: MftPlan
    grid: Grid
    downloads: Mapping[VenueId, Sequence[DataType]]
    sets: Sequence[FeatureSet] = ()

    def layout(self) -> LakeLayout:
        """The grid as of now: its last day is yesterday, or where it ends.

        Raises:
            InvalidInput: the grid has no day yet.
        """
        days = self.grid.core.get_partitions_def_for_dimension(DATE)
        last = days.get_last_partition_key()
        if last is None:
            raise InvalidInput(
                "the partition grid",
                "without a day",
                was=f"first day {self.plan.first_day}",
                expected="a first day before today",
                remedy="Set PARTITION_START_DATE",
            )
        return repair_layout(
            self.plan,
            last_day=dt.date.fromisoformat(last),
            downloads=self.downloads,
            sets=self.sets,
        )

    def request(self, config: RepairConfig, layout: LakeLayout) -> RepairRequest:
        """The request that the configuration means.

        Raises:
            InvalidInput: a name or a date is wrong, or the venue is not in the grid.
        """
        fetched = tuple(venue for venue in layout.venues if self.downloads.get(venue))
        return RepairRequest(
            venues=tuple(self._known(name, layout) for name in config.venues) or fetched,
            since=parse_date(config.since) if config.since else layout.first_day,
            until=parse_date(config.until) if config.until else layout.last_day,
            data_types=tuple(map(parse_data_type, config.data_types)) or self._types(),
            states=parse_states(config.states),
            instruments=tuple(config.instruments),
        )

    def _types(self) -> tuple[DataType, ...]:
        """What is downloaded of any venue: completeness also has rows of what is not."""
        return tuple(
            one for one in DataType if any(one in some for some in self.downloads.values())
        )

    @staticmethod
    def _known(name: str, layout: LakeLayout) -> VenueId:
        venue = parse_venue(name)
        if venue not in layout.venues:
            raise InvalidInput(
                f"'{name}'",
                "not a venue of the partition grid",
                expected=f"one of {', '.join(layout.venues)}",
                remedy="Add it to DOWNLOAD_VENUES",
            )
        return venue


def plan_of(config: RepairConfig, scope: RepairScope, lake: Lake) -> RepairPlan:
    """The plan for what somebody asks.

    Raises:
        InvalidInput: a part of the configuration is wrong.
        CorruptData: a completeness table cannot be read.
    """
    layout = scope.layout()
    return read_plan(scope.request(config, layout), lake=lake, layout=layout)


def build_repair_job(
    scope: RepairScope, partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition]
) -> dg.JobDefinition:
    """The job.

    Args:
        scope: What can be repaired.
        partitions: The definition of every asset of the code location.
    """

    @dg.op(
        name=OP,
        description="Plan from the completeness tables, start backfills of exactly those cells.",
        out=dg.Out(dg.Nothing),
    )
    def repair_partitions(
        context: dg.OpExecutionContext, config: RepairConfig, lake: dg.ResourceParam[Lake]
    ) -> None:
        try:
            plan = plan_of(config, scope, lake)
            context.log.info("planned %s cells", f"{cells_of_plan(plan):,}")
            if config.dry_run or plan.is_empty:
                context.add_output_metadata(_planned(plan))
                return
            check_daemon(context.instance)
        except TickhandlerError as error:
            raise as_dagster(error) from error
        _run(context, plan, scope, partitions)

    @dg.job(
        name=JOB,
        description=(
            "Ask the vendor again for every failed or missing partition of some venues and days, "
            "and make again what reads it: exactly those cells, in order, as backfills."
        ),
        tags={"dagster/max_runtime": str(_LONGEST_S)},
        config=dg.RunConfig(ops={OP: _default(scope)}),
    )
    def repair_job() -> None:
        repair_partitions()

    return repair_job


def _run(
    context: dg.OpExecutionContext,
    plan: RepairPlan,
    scope: RepairScope,
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition],
) -> None:
    def on_start(backfill: Backfill) -> None:
        context.log.info("%s: backfill %s, %s", backfill.title, backfill.name, backfill.link)

    stages = BackfillStages(
        context.instance,
        partitions,
        venues=scope.plan.venues,
        # The same where Dagster starts a run again whose process died.
        repair=(context.run.root_run_id or context.run_id)[:8],
        on_start=on_start,
    )
    repaired = run_plan(plan, partitions, stages)
    metadata = _planned(plan) | _launched(stages)
    if not repaired.is_whole:
        raise dg.Failure(description=_given_up(repaired), metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


def cells_of_plan(plan: RepairPlan) -> int:
    """Number of cells of all assets."""
    return sum(len(item.cells) for item in plan.items)


def plan_rows(plan: RepairPlan) -> list[tuple[str, str, str, str]]:
    """The plan as rows of asset, venue, days and why."""
    return [
        (
            item.asset,
            str(one.venue),
            str(one.first) if one.days == 1 else f"{one.first} to {one.last} ({one.days:,} days)",
            ", ".join(f"{count:,} {reason}" for reason, count in item.why.items()),
        )
        for item in plan.items
        for one in item.ranges
    ]


PLAN_HEADER = ("asset", "venue", "days", "why (of the asset: files or cells)")


def _planned(plan: RepairPlan) -> dict[str, dg.MetadataValue]:
    rows = plan_rows(plan)
    return {
        "cells": dg.MetadataValue.int(cells_of_plan(plan)),
        "plan": dg.MetadataValue.md(markdown.table(PLAN_HEADER, rows, limit=100)),
    }


def _launched(stages: BackfillStages) -> dict[str, dg.MetadataValue]:
    rows = [
        (
            f"[{ending.backfill.name}]({ending.backfill.link})",
            ending.backfill.title,
            sum(map(len, ending.backfill.cells.values())),
            ending.runs,
            "whole" if ending.is_whole else f"{len(ending.failed)} runs failed",
        )
        for ending in stages.endings
    ]
    table = markdown.table(["backfill", "title", "cells", "runs", "end"], rows)
    return {"backfills": dg.MetadataValue.md(table)}


def _given_up(repaired: Repaired) -> str:
    parts = [
        f"{', '.join(sorted(venues))} in {stage.name.lower()}"
        for stage, venues in repaired.given_up.items()
        if venues
    ]
    return (
        f"repair: a run failed ({'; '.join(parts)}). "
        "Look at it, and start the repair again: it plans what is left."
    )


def check_daemon(instance: dg.DagsterInstance) -> None:
    """Refuse to queue backfills that nobody would take up.

    Raises:
        TransientError: no daemon was heard of lately.
    """
    if not is_daemon_alive(instance):
        raise TransientError(
            "Dagster's daemon",
            "not running",
            expected="a daemon that takes up backfills",
            remedy="Start `dagster dev` or `dagster-daemon run`, or repair with --now",
        )


def _default(scope: RepairScope) -> RepairConfig:
    """What the launchpad shows: everything written out, so that a person only deletes."""
    return RepairConfig(
        venues=[str(venue) for venue in scope.plan.venues],
        since=scope.plan.first_day.isoformat(),
        states=[str(state) for state in ASKED_AGAIN],
    )
