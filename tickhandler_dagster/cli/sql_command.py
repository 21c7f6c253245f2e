"""The command `sql`: its options.

What belongs here: reading them. What it does is in `sql.py`, imported when it is chosen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tickhandler_dagster.cli.options import ConfigFile, EnvFile, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sql)


def sql(
    question: Annotated[str, typer.Argument(help="A question in SQL.")] = "",
    *,
    file: Annotated[
        Path | None, typer.Option(help="Write a DuckDB file with a view of every table.")
    ] = None,
    start_date: Annotated[str, typer.Option(help="First UTC day; the lake's first.")] = "",
    end_date: Annotated[str, typer.Option(help="Last UTC day, included; the lake's last.")] = "",
    warehouse: Annotated[
        bool, typer.Option("--warehouse", help="Ask the published tables, not the lake.")
    ] = False,
    as_json: Json = False,
    env_file: EnvFile = None,
    config_file: ConfigFile = None,
) -> None:
    """Ask the lake in SQL, or write a DuckDB file with views over it."""
    from tickhandler_dagster.cli.sql import SqlRequest, run_sql  # noqa: PLC0415  (see the charter)

    request = SqlRequest(
        question=question,
        file=file,
        start=start_date,
        end=end_date,
        is_of_warehouse=warehouse,
        as_json=as_json,
    )
    run_sql(request, env_file, config_file)
