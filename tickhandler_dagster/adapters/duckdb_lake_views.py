"""Views of DuckDB over the lake's own files, under the names that the warehouse has.

What belongs here: making them, in memory or in a file. What does not: which objects a day has
(`pipeline/warehouse_days.py`) and the warehouse, whose files are copies (`duckdb_warehouse.py`).

Nothing is copied and nothing is frozen: the views show what the lake holds when they are asked, and
name the files there were when they were made. A day that was made since is not in them; one that is
being made anew can be seen half done. Who needs neither asks the warehouse.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.duckdb_catalogue import (
    SCHEMA,
    StoredTable,
    replace_days,
    store_table,
)
from tickhandler_dagster.adapters.duckdb_views import PublishedDay, StoredColumn
from tickhandler_dagster.adapters.leftovers import owner_tag
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.warehouse import TableDay
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class LakeView:
    """A table as the lake has it.

    Attributes:
        table: Which.
        days: Its days and their objects.
    """

    table: WarehouseTable
    days: Sequence[TableDay]


@contextlib.contextmanager
def lake_connection(views: Iterable[LakeView], root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory with the views; times are in UTC.

    Args:
        views: What it shows.
        root: The lake's folder.
    """
    import duckdb  # noqa: PLC0415  (slow import)

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _make(connection, views, root)
        yield connection


def write_lake_views(file: Path, views: Iterable[LakeView], root: Path) -> None:
    """Write a DuckDB file with the views; one that is there is replaced whole.

    Args:
        file: Where.
        views: What it shows.
        root: The lake's folder; the views name it.

    Raises:
        StorageDenied: the folder may not be written.
    """
    import duckdb  # noqa: PLC0415  (slow import)

    with storage_errors(file, setting="--file"):
        file.parent.mkdir(parents=True, exist_ok=True)
        made = file.with_name(f".{owner_tag()}-{file.name}")
        made.unlink(missing_ok=True)
        try:
            with duckdb.connect(made) as connection:
                _make(connection, views, root)
            made.replace(file)
        finally:
            made.unlink(missing_ok=True)


def _make(connection: duckdb.DuckDBPyConnection, views: Iterable[LakeView], root: Path) -> None:
    connection.execute(SCHEMA)
    for view in views:
        columns = tuple(StoredColumn.of(column) for column in view.table.table.columns)
        stored = StoredTable(view.table.table.grain, str(root), columns)
        store_table(connection, view.table, stored, is_described=False)
        files = [
            PublishedDay(day.day, item.sha256, item.path, item.rows, len(columns))
            for day in view.days
            for item in day.objects
        ]
        replace_days(connection, view.table, removed=[], added=files)
