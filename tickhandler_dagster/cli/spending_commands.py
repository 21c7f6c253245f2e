"""The commands of spending: what a selection would take, and doing exactly that.

What belongs here: their options. What they do is in `plan.py` and `run_plan.py`, imported when one
is chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN
from tickhandler_dagster.cli.options import (
    ConfigFile,
    DataTypes,
    End,
    EnvFile,
    Force,
    Json,
    Level,
    Start,
    Venues,
    Verbose,
    names,
)

Assets = Annotated[
    str,
    typer.Option(help="Comma list of raw_ticks, candles, mft_features, warehouse; all by default."),
]
MaxInstruments = Annotated[
    int, typer.Option(min=0, help="Files per partition at most, the largest; 0 for all.")
]
PriceFile = Annotated[
    Path | None, typer.Option(help="YAML file with numbers in place of the list prices.")
]
Cores = Annotated[int, typer.Option(min=0, help="Cores; 0 for all of this machine.")]
Rate = Annotated[float, typer.Option(min=0, help="Megabytes per second from the vendor; 0 for 20.")]
Save = Annotated[Path | None, typer.Option(help="Keep the plan in this file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (plan, run):
        app.command()(command)


def plan(
    *,
    start_date: Start,
    end_date: End,
    venues: Venues = "",
    data_types: DataTypes = "",
    assets: Assets = "",
    force: Force = False,
    max_instruments: MaxInstruments = 0,
    prices: PriceFile = None,
    cores: Cores = 0,
    download_rate: Rate = 0.0,
    save: Save = None,
    as_json: Json = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Print what a selection would fetch, store, load and cost, and start nothing."""
    from tickhandler_dagster.cli.plan import (  # noqa: PLC0415  (see the charter)
        PlanRequest,
        run_plan_command,
    )
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )

    request = PlanRequest(
        start=start_date,
        end=end_date,
        venues=names(venues),
        data_types=names(data_types),
        assets=names(assets),
        is_forced=force,
        max_instruments=max_instruments,
        prices=prices,
        cores=cores,
        download_rate=download_rate,
    )
    with open_platform(env_file, config_file, is_verbose=False, log_level=log_level) as platform:
        run_plan_command(platform, request, as_json=as_json, save=save)


def run(
    *,
    plan: Annotated[Path, typer.Option(help="File that `tickhandler plan --save` wrote.")],
    dry_run: Annotated[bool, typer.Option(help="Check the plan and start nothing.")] = False,
    verbose: Verbose = False,
    log_level: Level = None,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Run exactly a saved plan, here, and print what it took beside the estimate."""
    from tickhandler_dagster.cli.platform import (  # noqa: PLC0415  (see the charter)
        open_platform,
    )
    from tickhandler_dagster.cli.run_plan import run_saved_plan  # noqa: PLC0415  (see the charter)

    with open_platform(env_file, config_file, is_verbose=verbose, log_level=log_level) as platform:
        is_whole = run_saved_plan(platform, plan, is_dry=dry_run)
    raise typer.Exit(0 if is_whole else EXIT_FAILED_RUN)
