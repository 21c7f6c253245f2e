"""The commands of operation: what is where, ranges of it as backfills of the daemon, metrics.

What belongs here: their options. What they do is in `status.py`, `backfill.py` and `metrics.py`,
imported when one is chosen.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN, EXIT_TRANSIENT
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
    completing,
    names,
)

FAMILIES = (
    *("exchange_catalog", "instruments", "raw_ticks", "options_surface", "candles", "bars"),
    *("mft_features", "mft_sets", "completeness", "bar_audit", "kline_conformance", "warehouse"),
)
"""Families of assets that a shell offers; the code location has the last word."""

_Assets = Annotated[
    str,
    typer.Option(
        autocompletion=completing(FAMILIES),
        help="List of assets: keys, families such as candles, or patterns with * and ?.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, backfill, metrics):
        app.command()(command)


def status(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    assets: _Assets = "",
    as_json: Json = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Show what of a span is materialized, failed, running or missing, and the queue."""
    from tickhandler_dagster.cli.gaps import Span  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )
    from tickhandler_dagster.cli.status import run_status  # noqa: PLC0415  (see the charter)

    with open_platform(env_file, config_file, is_verbose=False, log_level=log_level) as platform:
        span = Span.parse(start_date, end_date, names(venues), [], platform)
        run_status(platform, span, names(assets), as_json=as_json)


def backfill(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    assets: _Assets = "",
    missing: Annotated[
        bool, typer.Option("--missing", help="Only partitions that are missing or failed.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the backfills to their end.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the backfills and start nothing.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Start backfills of days, venues and assets, which the daemon runs."""
    from tickhandler_dagster.cli.backfill import (  # noqa: PLC0415  (see the charter)
        plan_parts,
        run_backfill,
    )
    from tickhandler_dagster.cli.gaps import Span  # noqa: PLC0415  (see the charter)
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        span = Span.parse(start_date, end_date, names(venues), names(data_types), platform)
        parts = plan_parts(platform, span, names(assets), is_missing_only=missing)
        is_whole = run_backfill(platform, parts, is_waiting=wait, is_dry=dry_run, as_json=as_json)
    raise typer.Exit(0 if is_whole else EXIT_FAILED_RUN)


def metrics(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 9464,
    days: Annotated[int, typer.Option(min=1, help="Days back that are looked at.")] = 14,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Print them and end.")] = False,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Serve runs, queue, partitions, checks and alerts as numbers for Prometheus."""
    from tickhandler_dagster.cli.metrics import (  # noqa: PLC0415  (see the charter)
        Serving,
        print_metrics,
        serve_metrics,
    )
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    with open_platform(env_file, config_file, is_verbose=False) as platform:
        if not once:
            serve_metrics(platform, Serving(host, port, days, every))
        elif not print_metrics(platform, days):
            raise typer.Exit(EXIT_TRANSIENT)
