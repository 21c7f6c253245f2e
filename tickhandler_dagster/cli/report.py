"""`tickhandler report`: the completeness of a span as one page and as files of rows.

What belongs here: options, progress and the closing table. What does not: the numbers
(`pipeline/completeness_report.py`) and the page (`reporting/completeness_page`).
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN
from tickhandler_dagster.cli.options import (
    ConfigFile,
    DataTypes,
    End,
    EnvFile,
    Json,
    Level,
    Start,
    Venues,
    chosen_settings,
    names,
)
from tickhandler_dagster.market.data_types import DataType, parse_data_type
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.venues import parse_venue
from tickhandler_dagster.settings import Settings

if TYPE_CHECKING:
    from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
    from tickhandler_dagster.pipeline.completeness_report import CompletenessReport


class FailOn(StrEnum):
    """From which verdict of the policy on the command fails."""

    ERROR = "error"
    WARNING = "warning"


def report(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    output: Annotated[Path, typer.Option(help="Folder of the page and the files.")] = Path(
        "report"
    ),
    fail_on: Annotated[
        FailOn | None, typer.Option(help="Exit with 1 where the policy reaches this verdict.")
    ] = None,
    as_json: Json = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Show what is there, missing or partial, day by day: an HTML page, CSV and Parquet."""
    from tickhandler_dagster.pipeline.completeness_reading import (  # noqa: PLC0415  (slow import)
        ReportSpan,
    )

    start, end = parse_date(start_date), parse_date(end_date)
    chosen_venues = tuple(map(parse_venue, names(venues)))
    chosen_types = tuple(map(parse_data_type, names(data_types)))
    settings = chosen_settings(env_file, config_file, log_level)
    span = ReportSpan(
        start=start,
        end=end,
        venues=tuple(dict.fromkeys(chosen_venues or settings.download_venues)),
        data_types=chosen_types or _types(settings),
    )
    found, paths = write_report(span, settings, output)
    if as_json:
        typer.echo(json.dumps(_summary(found, paths), indent=1))
    else:
        _print_summary(found, paths)
    raise typer.Exit(EXIT_FAILED_RUN if is_failing(found, fail_on) else 0)


def write_report(
    span: ReportSpan, settings: Settings, folder: Path
) -> tuple[CompletenessReport, list[Path]]:
    """Write the page and the files of rows; gives the numbers and the paths."""
    from rich.console import Console  # noqa: PLC0415  (slow import)
    from rich.progress import Progress as Bars  # noqa: PLC0415  (slow import)

    from tickhandler_dagster.automation import report_files  # noqa: PLC0415  (slow import)
    from tickhandler_dagster.market.quality.policy import QualityPolicy  # noqa: PLC0415  (slow import)
    from tickhandler_dagster.resources.lake_store import (  # noqa: PLC0415  (slow import)
        build_lake,
        lake_name,
    )

    # On the error stream: what is printed as JSON stays JSON.
    with Bars(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("days", total=len(span.days))
        return report_files.write_report(
            span,
            folder,
            lake=build_lake(settings),
            lake_name=lake_name(settings),
            policy=settings.quality_policy or QualityPolicy(),
            on_progress=lambda step: bars.update(bar, completed=step.done),
        )


def is_failing(found: CompletenessReport, fail_on: FailOn | None) -> bool:
    """The worst verdict is at least as severe as the one asked for."""
    failing = {FailOn.ERROR: ("error",), FailOn.WARNING: ("error", "warning")}
    return fail_on is not None and found.worst_verdict() in failing[fail_on]


def _types(settings: Settings) -> tuple[DataType, ...]:
    return tuple(dict.fromkeys(settings.download_data_types))


def _summary(found: CompletenessReport, paths: list[Path]) -> dict[str, object]:
    return {
        "start_date": found.span.start.isoformat(),
        "end_date": found.span.end.isoformat(),
        "venues": [str(venue) for venue in found.span.venues],
        "data_types": [str(data_type) for data_type in found.span.data_types],
        "instrument_days": {str(state): count for state, count in found.by_state().items()},
        "cells_without_table": {
            str(state): count for state, count in found.whole_cells_by_state().items()
        },
        "totals": {
            name: number for name, number in found.totals().items() if name != "instruments"
        },
        "worst_verdict": str(found.worst_verdict()),
        "paths": [str(path) for path in paths],
    }


def _print_summary(found: CompletenessReport, paths: list[Path]) -> None:
    from rich.box import SIMPLE  # noqa: PLC0415  (slow import)
    from rich.console import Console  # noqa: PLC0415  (slow import)
    from rich.table import Table  # noqa: PLC0415  (slow import)

    table = Table(title=f"Completeness {found.span.start} to {found.span.end}", box=SIMPLE)
    table.add_column("state", no_wrap=True)
    table.add_column("instrument-days", justify="right", no_wrap=True)
    table.add_column("cells without a table", justify="right", no_wrap=True)
    whole = found.whole_cells_by_state()
    for state, count in found.by_state().items():
        table.add_row(str(state), f"{count:,}", f"{whole[state]:,}")
    Console(file=sys.stdout).print(table)
    typer.echo(f"worst verdict of the policy: {found.worst_verdict()}")
    for path in paths:
        typer.echo(str(path))
