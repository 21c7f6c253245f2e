"""The commands about data that is not as it should be: found missing, changed, repaired.

What belongs here: their options. What they do is in `repair.py`, `gaps.py` and `recheck.py`,
imported when one is chosen.
"""

from __future__ import annotations

from typing import Annotated

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
    Verbose,
    names,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (repair, check_gaps, missing_tick_reports, validate, recheck):
        app.command()(command)


def repair(
    *,
    venues: Venues = "",
    since: Annotated[
        str,
        typer.Option("--since", "--start-date", help="First UTC day; the grid's first by default."),
    ] = "",
    until: Annotated[
        str,
        typer.Option("--until", "--end-date", help="Last UTC day; the grid's last by default."),
    ] = "",
    data_types: DataTypes = "",
    states: Annotated[
        str, typer.Option(help="Comma list of states, or `missing` for all that are missing.")
    ] = "",
    instruments: Annotated[
        str, typer.Option(help="Comma list of instrument keys or patterns with * and ?.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Show the plan and start nothing.")] = False,
    now: Annotated[
        bool, typer.Option(help="Run here, one run after another, instead of by the daemon.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Ask again for every failed or missing partition, and make again what reads it."""
    from tickhandler_dagster.automation.repair_job import (  # noqa: PLC0415  (see the charter)
        RepairConfig,
    )
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )
    from tickhandler_dagster.cli.repair import run_repair  # noqa: PLC0415  (see the charter)

    config = RepairConfig(
        venues=names(venues),
        since=since,
        until=until,
        data_types=names(data_types),
        states=names(states),
        instruments=names(instruments),
        dry_run=dry_run,
    )
    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        _exit(is_well=run_repair(platform, config, is_now=now, as_json=as_json))


def check_gaps(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Look again at what every day should have, and print what is missing."""
    from tickhandler_dagster.cli.gaps import Span, run_check_gaps  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        span = Span.parse(start_date, end_date, names(venues), names(data_types), platform)
        _exit(is_well=run_check_gaps(platform, span, as_json=as_json))


def missing_tick_reports(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Print what `check-gaps` prints, and write the report page of the span."""
    from tickhandler_dagster.cli.gaps import (  # noqa: PLC0415  (see the charter)
        Span,
        run_missing_tick_reports,
    )
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        span = Span.parse(start_date, end_date, names(venues), names(data_types), platform)
        _exit(is_well=run_missing_tick_reports(platform, span, as_json=as_json))


def validate(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Run the checks of a span and print which passed and which failed."""
    from tickhandler_dagster.cli.gaps import Span, run_validate  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        types = names(data_types)
        span = Span.parse(start_date, end_date, names(venues), types, platform)
        _exit(is_well=run_validate(platform, span, is_typed=bool(types), as_json=as_json))


def recheck(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    content: Annotated[
        bool, typer.Option("--content", help="Read every file whole and compare hashes.")
    ] = False,
    fetch_again: Annotated[
        bool,
        typer.Option("--repair", help="Fetch what changed again, and make again what reads it."),
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Compare the files that were taken with the vendor's files of today."""
    from tickhandler_dagster.cli.gaps import Span  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )
    from tickhandler_dagster.cli.recheck import run_recheck  # noqa: PLC0415  (see the charter)

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        span = Span.parse(start_date, end_date, names(venues), names(data_types), platform)
        _exit(
            is_well=run_recheck(
                platform, span, content=content, is_repair=fetch_again, as_json=as_json
            )
        )


def _exit(*, is_well: bool) -> None:
    raise typer.Exit(0 if is_well else EXIT_FAILED_RUN)
