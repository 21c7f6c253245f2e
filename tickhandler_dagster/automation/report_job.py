"""The job `missing_tick_reports`: the completeness of a span as a page and as files of rows.

What belongs here: the run's configuration and its metadata. What does not: the numbers
(`pipeline/completeness_report.py`) and the files (`report_files.py`).
"""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.retries import as_dagster
from tickhandler_dagster.automation.repair_job import RepairConfig, RepairScope
from tickhandler_dagster.automation.report_files import write_report
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
from tickhandler_dagster.pipeline.completeness_report import CompletenessReport
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

JOB, OP = "missing_tick_reports", "report_missing_ticks"


class ReportConfig(dg.Config):
    """What a report is told; the words of the launchpad.

    Attributes: see the description of each.
    """

    start_date: str = Field(
        default="", description="First UTC day, YYYY-MM-DD; the grid's first day where empty."
    )
    end_date: str = Field(
        default="", description="Last UTC day, included; the grid's last day where empty."
    )
    venues: list[str] = Field(
        default=[], description="Venues; those of DOWNLOAD_VENUES where empty."
    )
    data_types: list[str] = Field(
        default=[], description="Data types; all that are downloaded where empty."
    )
    output: str = Field(
        default="report", description="Folder of the page and the files, on the run's machine."
    )


def build_report_job(
    scope: RepairScope, policy: QualityPolicy, *, lake_name: str
) -> dg.JobDefinition:
    """The job.

    Args:
        scope: The grid and what is downloaded.
        policy: How states are taken.
        lake_name: How the page calls the lake.
    """

    @dg.op(
        name=OP,
        description="Read the completeness tables of a span; write a page, CSV and Parquet.",
        out=dg.Out(dg.Nothing),
    )
    def report_missing_ticks(
        context: dg.OpExecutionContext,
        config: ReportConfig,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
    ) -> None:
        folder = Path(config.output).absolute()
        try:
            found, paths = write_report(
                _span(config, scope),
                folder,
                lake=lake,
                lake_name=lake_name,
                policy=policy,
                on_progress=progress,
            )
        except TickhandlerError as error:
            raise as_dagster(error) from error
        context.add_output_metadata(_metadata(found, paths))

    @dg.job(
        name=JOB,
        description="Which ticks are missing, day by day: one HTML page, and CSV and Parquet rows.",
        config=_defaults(scope),
    )
    def missing_tick_reports() -> None:
        report_missing_ticks()

    return missing_tick_reports


def _defaults(scope: RepairScope) -> dg.RunConfig:
    """What the launchpad shows: the whole grid, for somebody to make smaller."""
    return dg.RunConfig(
        ops={
            OP: ReportConfig(
                start_date=scope.plan.first_day.isoformat(),
                venues=[str(venue) for venue in scope.plan.venues],
            )
        }
    )


def _span(config: ReportConfig, scope: RepairScope) -> ReportSpan:
    """The span that the configuration means; names and dates as a repair reads them."""
    request = scope.request(
        RepairConfig(
            venues=config.venues,
            since=config.start_date,
            until=config.end_date,
            data_types=config.data_types,
        ),
        scope.layout(),
    )
    return ReportSpan(
        start=request.since,
        end=request.until,
        venues=request.venues,
        data_types=request.data_types,
    )


def _metadata(found: CompletenessReport, paths: Sequence[Path]) -> dict[str, dg.MetadataValue]:
    rows, cells = found.by_state(), found.whole_cells_by_state()
    table = markdown.table(
        ["state", "instrument-days", "cells without a table"],
        [(state, rows[state], cells[state]) for state in DataState],
    )
    return {
        "states": dg.MetadataValue.md(table),
        "worst verdict": dg.MetadataValue.text(str(found.worst_verdict())),
        "page": dg.MetadataValue.path(paths[0]),
        "files": dg.MetadataValue.json([str(path) for path in paths]),
    }
