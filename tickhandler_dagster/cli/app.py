"""The command's modes and options, and the one place where an error becomes text and an exit code.

What belongs here: reading arguments. What a mode does is in the module of its name, imported when
it is chosen: `--help` must not pay for Dagster.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.cli import (
    export_commands,
    mode_commands,
    operation_commands,
    quality_commands,
    spending_commands,
    sql_command,
    streaming_commands,
)
from tickhandler_dagster.cli.arguments import OldFormsGroup
from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN, EXIT_PERMANENT, EXIT_TRANSIENT
from tickhandler_dagster.cli.options import ConfigFile, End, EnvFile, Start
from tickhandler_dagster.cli.report import report
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import PermanentError, TickhandlerError
from tickhandler_dagster.market.venues import parse_venue
from tickhandler_dagster.settings import load_settings

DEMO_VENUES = "binance,binance-futures,deribit,okex-swap"

app = typer.Typer(
    name="tickhandler",
    cls=OldFormsGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=__doc__.split("\n")[0],
)
export_commands.register(app)
mode_commands.register(app)
operation_commands.register(app)
quality_commands.register(app)
spending_commands.register(app)
sql_command.register(app)
streaming_commands.register(app)

Home = Annotated[Path, typer.Option(help="Folder of the demo: its lake and Dagster's instance.")]
Venues = Annotated[str, typer.Option(help="Comma list of venues.")]
Seed = Annotated[int, typer.Option(help="Seed of the simulated market.")]
Scale = Annotated[float, typer.Option(help="Factor on the simulated number of rows.")]
Port = Annotated[int, typer.Option(help="Port of the page or the server; 0 takes a free one.")]


@app.command()
def demo(
    *,
    home: Home = Path(".demo"),
    start_date: Start = "2024-08-08",
    end_date: End = "2024-08-09",
    venues: Venues = DEMO_VENUES,
    days: Annotated[
        int, typer.Option(help="So many days instead of an end date; more than 7 in ranges.")
    ] = 0,
    seed: Seed = 7,
    scale: Scale = 0.5,
    marts: Annotated[bool, typer.Option(help="Make dbt's marts at the end.")] = True,
) -> None:
    """Run simulated days through Dagster, from instruments to features, tables and dbt's marts."""
    from tickhandler_dagster.cli.demo import Demo, run_demo  # noqa: PLC0415  (see the charter)

    start = parse_date(start_date)
    is_whole = run_demo(
        Demo(
            home=home.absolute(),
            start=start,
            end=start + dt.timedelta(days=days - 1) if days else parse_date(end_date),
            venues=tuple(parse_venue(name) for name in venues.split(",")),
            seed=seed,
            scale=scale,
            has_marts=marts,
        )
    )
    raise typer.Exit(0 if is_whole else EXIT_FAILED_RUN)


@app.command()
def ui(home: Home = Path(".demo"), port: Port = 3000) -> None:
    """Open Dagster's page over the demo, the sandbox behind it."""
    from tickhandler_dagster.cli.ui import run_ui  # noqa: PLC0415  (see the charter)

    run_ui(home.absolute(), port=port)


@app.command()
def settings(
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write, read and remove an object of the lake.")
    ] = False,
) -> None:
    """Check the settings and show them, the key hidden, and where the lake is."""
    from tickhandler_dagster.resources.lake_store import (  # noqa: PLC0415  (see the charter)
        check_lake,
        lake_name,
    )

    found = load_settings(env_file, config_file)
    for name, text in found.variables().items():
        typer.echo(f"{name}={text}")
    typer.echo(f"# The lake is {lake_name(found)}")
    if check:
        typer.echo(f"# {check_lake(found)}")


class Dictionary(StrEnum):
    """The generated pages of `docs/` and of the dbt project."""

    FEATURES = "features"
    MFT = "mft"
    TABLES = "tables"
    DBT_SOURCES = "dbt-sources"
    DBT_DOCS = "dbt-docs"
    COMMANDS = "commands"


@app.command()
def dictionary(page: Dictionary) -> None:
    """Print a dictionary: features, mid-frequency features, tables, dbt's sources, commands."""
    from tickhandler_dagster.cli.command_table import (  # noqa: PLC0415  (see the charter)
        command_table,
    )
    from tickhandler_dagster.market.data_dictionary import (  # noqa: PLC0415  (see the charter)
        data_dictionary,
    )
    from tickhandler_dagster.market.dbt_sources import (  # noqa: PLC0415  (see the charter)
        dbt_docs,
        dbt_sources,
    )
    from tickhandler_dagster.market.features.dictionary import (  # noqa: PLC0415  (see the charter)
        feature_dictionary,
    )
    from tickhandler_dagster.market.mft.dictionary import (  # noqa: PLC0415  (see the charter)
        mft_dictionary,
    )

    pages: dict[Dictionary, Callable[[], str]] = {
        Dictionary.FEATURES: feature_dictionary,
        Dictionary.MFT: mft_dictionary,
        Dictionary.TABLES: data_dictionary,
        Dictionary.DBT_SOURCES: dbt_sources,
        Dictionary.DBT_DOCS: dbt_docs,
        Dictionary.COMMANDS: command_table,
    }
    typer.echo(pages[page](), nl=False)


@app.command()
def sandbox(
    folder: Annotated[
        Path | None, typer.Option(help="Serve these CSV datasets instead of the simulator.")
    ] = None,
    port: Port = 8000,
    seed: Seed = 7,
    scale: Scale = 1.0,
) -> None:
    """Serve the vendor's HTTP and datasets APIs on this machine."""
    from tickhandler_dagster.cli.sandbox import run_sandbox  # noqa: PLC0415  (see the charter)

    run_sandbox(folder, port=port, seed=seed, scale=scale)


app.command()(report)


def main() -> None:
    """Run the command; an error of ours is one line and an exit code, not a traceback."""
    try:
        app()
    except TickhandlerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_PERMANENT if isinstance(error, PermanentError) else EXIT_TRANSIENT)
