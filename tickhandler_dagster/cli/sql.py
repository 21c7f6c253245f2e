"""`tickhandler sql`: a question to the lake or the warehouse, or a DuckDB file over the lake.

What belongs here: what the command does and prints. What does not: its options
(`sql_command.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.adapters.duckdb_lake_views import lake_connection, write_lake_views
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.days import parse_date
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.lake_sql import (
    days_of_lake,
    lake_views,
    tables_in,
    views_root,
)
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.resources.warehouse import build_warehouse
from tickhandler_dagster.settings import Settings, load_settings

_WIDE = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlRequest:
    """What was asked for.

    Attributes:
        question: In SQL; empty where a file alone is wanted.
        file: Write the views here.
        start: First day, or empty for the lake's first (of a folder).
        end: Last day, included, or empty for the lake's last (of a folder).
        is_of_warehouse: Ask the tables that were published.
        as_json: Print rows as JSON.
    """

    question: str
    file: Path | None
    start: str
    end: str
    is_of_warehouse: bool
    as_json: bool


def run_sql(request: SqlRequest, env_file: Path | None, config_file: Path | None) -> None:
    """Answer, or write the file.

    Raises:
        InvalidInput: no question and no file, a question that DuckDB does not understand, or one
            to a bucket that names no days.
        MissingUpstream: the lake has no day of the span.
    """
    settings = load_settings(env_file, config_file)
    if not request.question and request.file is None:
        raise InvalidInput(
            "sql", "nothing asked", remedy='Give a question, as in tickhandler sql "select 1"'
        )
    if request.is_of_warehouse:
        warehouse = build_warehouse(settings, build_lake(settings).store)
        _print(_answer(lambda: warehouse.query(request.question)), request)
    else:
        _ask_lake(request, settings)


def _answer(ask: Callable[[], pa.Table]) -> pa.Table:
    try:
        return ask()
    except duckdb.Error as error:
        raise InvalidInput(
            "the question",
            str(error).strip().splitlines()[0],
            remedy="Tables are candles_<timeframe>, mft_features_<timeframe>, options_surface, "
            "instruments, completeness",
        ) from error


def _ask_lake(request: SqlRequest, settings: Settings) -> None:
    lake = build_lake(settings)
    start, end = (parse_date(text) if text else None for text in (request.start, request.end))
    days = days_of_lake(lake, start, end)
    tables = warehouse_tables(settings.mft_windows or Windows())
    if request.file is not None:
        if not isinstance(lake.store, LocalObjectStore):
            raise InvalidInput(
                "--file",
                "views over a bucket would name copies that are cleared away",
                remedy="Give the question itself, or ask the warehouse (--warehouse)",
            )
        write_lake_views(request.file, lake_views(lake, tables, days), lake.store.root)
        sys.stderr.write(f"{request.file}: {len(tables)} tables, {days[0]} to {days[-1]}\n")
    if request.question:
        views = lake_views(lake, tables_in(request.question, tables), days)
        with views_root(lake, views) as root, lake_connection(views, root) as connection:
            asked = connection.execute
            _print(_answer(lambda: asked(request.question).to_arrow_table()), request)


def _print(found: pa.Table, request: SqlRequest) -> None:
    if request.as_json:
        for row in found.to_pylist():
            sys.stdout.write(json.dumps(row, default=str) + "\n")
        return
    table = Table(*found.column_names)
    for row in found.to_pylist():
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)
