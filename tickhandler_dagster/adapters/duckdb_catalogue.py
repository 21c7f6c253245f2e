"""The file `warehouse.duckdb`: what is published, the views over it, and how it is replaced.

What belongs here: reading the file without a lock, and changing it under one. What does not: what a
day holds (`warehouse_day_files.py`) and the text of the views (`duckdb_views.py`).

Nobody writes the file that others have open. A change is made to a private copy, which replaces the
file whole: readers keep the one they opened, a killed writer leaves nothing, and DuckDB's own lock,
which would turn readers away, is never met. The copy is small, because the file has no rows of the
tables in it: a few megabytes for six years of every table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.duckdb_views import (
    PublishedDay,
    StoredColumn,
    comment,
    quoted,
    rows_query,
)
from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.object_store import LocalObjectStore, storage_errors
from tickhandler_dagster.market.errors import CorruptData, StorageFull
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    import duckdb

DATABASE_NAME = "warehouse.duckdb"

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS published;
CREATE TABLE IF NOT EXISTS published.tables (
    table_name VARCHAR, description VARCHAR, folder VARCHAR
);
CREATE TABLE IF NOT EXISTS published.columns (
    table_name VARCHAR, position INTEGER, name VARCHAR, data_type VARCHAR, description VARCHAR
);
CREATE TABLE IF NOT EXISTS published.days (
    table_name VARCHAR, day DATE, digest VARCHAR, file VARCHAR, rows BIGINT, width INTEGER
);
"""
"""What the file keeps of tables, columns and days; the views follow from it."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table as the file has it.

    Attributes:
        description: What one row is.
        folder: The folder that its views name, absolute.
        columns: In the order of the views.
    """

    description: str
    folder: str
    columns: tuple[StoredColumn, ...]


@contextlib.contextmanager
def opened_copy(folder: Path) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """A private snapshot of the file, read-only and in UTC; None where nothing was ever published.

    A copy and not the file: DuckDB would take a lock that a person's own session can hold, and
    would give a second reader in this process the older snapshot of the first.

    Raises:
        CorruptData: the file is not a DuckDB database of this version.
        StorageDenied: the folder may not be read.
    """
    source = folder / DATABASE_NAME
    with tempfile.TemporaryDirectory(prefix="tickhandler-warehouse-") as scratch:
        copy = Path(scratch) / DATABASE_NAME
        if not _copied(source, copy):
            yield None
            return
        with _connected(copy, source, is_read_only=True) as connection:
            yield connection


@contextlib.contextmanager
def changed_copy(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A transaction on the file: it is replaced when the block ends well, else nothing happened.

    Writers wait for each other here, so that a block is short and does no heavy work.

    Raises:
        ConcurrentWrite: another writer did not finish in time.
        CorruptData: the file is not a DuckDB database of this version.
        StorageFull: the device has no space left.
        StorageDenied: the folder may not be written.
    """
    store, source = LocalObjectStore(folder), folder / DATABASE_NAME
    with exclusive_lock(folder / f"{DATABASE_NAME}.lock"), store.scratch() as scratch:
        copy = scratch / DATABASE_NAME
        _copied(source, copy)
        with _connected(copy, source, is_read_only=False) as connection:
            connection.execute(f"BEGIN; {SCHEMA}")
            yield connection
            connection.execute("COMMIT; CHECKPOINT")
        store.publish(copy, DATABASE_NAME)


def _copied(source: Path, copy: Path) -> bool:
    with storage_errors(source, setting="WAREHOUSE_FOLDER"):
        try:
            shutil.copyfile(source, copy)
        except FileNotFoundError:
            return False
    return True


@contextlib.contextmanager
def _connected(
    copy: Path, source: Path, *, is_read_only: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb  # noqa: PLC0415  (a fifth of a second that only the warehouse pays)

    try:
        with duckdb.connect(copy, read_only=is_read_only) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
    except (duckdb.IOException, duckdb.SerializationException) as error:
        raise _file_error(error, source) from error


def _file_error(error: Exception, source: Path) -> CorruptData | StorageFull:
    """What it means that DuckDB cannot use a file; it tells a full device by words alone."""
    reason = str(error).strip().splitlines()[0]
    if os.strerror(errno.ENOSPC).lower() in reason.lower():
        return StorageFull(
            str(source),
            "no space left",
            was=reason,
            remedy="Free space on the device of WAREHOUSE_FOLDER; then publish again",
        )
    return CorruptData(
        str(source),
        "the file, or one that it names, is missing or not one that this version of DuckDB reads",
        was=reason,
        remedy="Move warehouse.duckdb away and publish again: the lake has every day",
    )


def stored_table(connection: duckdb.DuckDBPyConnection, name: str) -> StoredTable | None:
    """The table as it is stored; None where it was never made."""
    found = connection.execute(
        "SELECT description, folder FROM published.tables WHERE table_name = ?", [name]
    ).fetchone()
    if found is None:
        return None
    columns = connection.execute(
        "SELECT name, data_type, description FROM published.columns "
        "WHERE table_name = ? ORDER BY position",
        [name],
    ).fetchall()
    description, folder = found
    return StoredTable(description, folder, tuple(StoredColumn(*column) for column in columns))


def published_days(connection: duckdb.DuckDBPyConnection, name: str) -> list[PublishedDay]:
    """Every published day of a table, by day."""
    rows = connection.execute(
        "SELECT day, digest, file, rows, width FROM published.days "
        "WHERE table_name = ? ORDER BY day",
        [name],
    ).fetchall()
    return [PublishedDay(*row) for row in rows]


def store_table(
    connection: duckdb.DuckDBPyConnection,
    table: WarehouseTable,
    stored: StoredTable,
    *,
    is_described: bool = True,
) -> None:
    """Write what a table is, and make its views.

    Args:
        connection: The file, or a database in memory.
        table: Which table.
        stored: What it is.
        is_described: Comment the views and their columns: seconds for a table of bars.
    """
    connection.execute("DELETE FROM published.tables WHERE table_name = ?", [table.name])
    connection.execute("DELETE FROM published.columns WHERE table_name = ?", [table.name])
    connection.execute(
        "INSERT INTO published.tables VALUES (?, ?, ?)",
        [table.name, stored.description, stored.folder],
    )
    connection.executemany(
        "INSERT INTO published.columns VALUES (?, ?, ?, ?, ?)",
        [
            (table.name, place, column.name, column.data_type, column.description)
            for place, column in enumerate(stored.columns)
        ],
    )
    # Comments bind their view once per column: over a view without files that costs nothing.
    _make_inner_view(connection, table, stored, days=())
    _make_outer_views(connection, table, stored, is_described=is_described)
    _make_inner_view(connection, table, stored, days=published_days(connection, table.name))


def replace_days(
    connection: duckdb.DuckDBPyConnection,
    table: WarehouseTable,
    *,
    removed: Sequence[dt.date],
    added: Sequence[PublishedDay],
) -> None:
    """Let days go and put others in their place, in the catalogue and in the view."""
    name = table.name
    if removed:
        connection.executemany(
            "DELETE FROM published.days WHERE table_name = ? AND day = ?",
            [(name, day) for day in removed],
        )
    if added:
        connection.executemany(
            "INSERT INTO published.days VALUES (?, ?, ?, ?, ?, ?)",
            [(name, *dataclasses.astuple(item)) for item in added],
        )
    stored = stored_table(connection, name)
    if stored is not None:
        _make_inner_view(connection, table, stored, days=published_days(connection, name))


def day_column_of(table: WarehouseTable, columns: Sequence[StoredColumn]) -> StoredColumn:
    """The column whose day is the partition."""
    return next(column for column in columns if column.name == table.day_column)


def _make_inner_view(
    connection: duckdb.DuckDBPyConnection,
    table: WarehouseTable,
    stored: StoredTable,
    *,
    days: Sequence[PublishedDay],
) -> None:
    query = rows_query(
        stored.columns,
        days,
        day_column=day_column_of(table, stored.columns),
        folder=stored.folder,
    )
    connection.execute(f"CREATE OR REPLACE VIEW published.{quoted(table.name)} AS {query}")


def _make_outer_views(
    connection: duckdb.DuckDBPyConnection,
    table: WarehouseTable,
    stored: StoredTable,
    *,
    is_described: bool,
) -> None:
    inner = f"published.{quoted(table.name)}"
    views = {table.name: (f"FROM {inner}", stored.description)}
    if table.has_final_rows:
        views[table.final_view] = (
            f"FROM {inner} WHERE is_final",
            f"{stored.description} Only rows that no file still to come can change.",
        )
    for name, (query, description) in views.items():
        view = quoted(name)
        connection.execute(f"CREATE OR REPLACE VIEW {view} AS {query}")
        if not is_described:
            continue
        connection.execute(comment("VIEW", view, description))
        for column in stored.columns:
            connection.execute(
                comment("COLUMN", f"{view}.{quoted(column.name)}", column.description)
            )
