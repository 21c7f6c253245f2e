"""The DuckDB warehouse: SQL over days that were published, with nothing to administer.

What belongs here: the `Warehouse` over the catalogue and the files of days. What does not: how the
file `warehouse.duckdb` is read and replaced (`duckdb_catalogue.py`), what a day's file holds
(`warehouse_day_files.py`) and the text of views (`duckdb_views.py`).

Publishing a day writes its rows as one file beside the others, with no lock held, and then switches
the view in one short step. The roads not taken: views over the lake's own objects (no copy, but a
reader would see half a rebuilt day, fail on an object that was removed, and open 300 footers per
day), and rows inside the DuckDB file (one writer locks out every reader, and six years of bars
would have to be copied to serve them).
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tickhandler_dagster.adapters.duckdb_catalogue import (
    DATABASE_NAME,
    StoredTable,
    changed_copy,
    day_column_of,
    opened_copy,
    published_days,
    replace_days,
    store_table,
    stored_table,
)
from tickhandler_dagster.adapters.duckdb_views import PublishedDay, StoredColumn, quoted, rows_query
from tickhandler_dagster.adapters.object_store import LocalObjectStore, ObjectStore
from tickhandler_dagster.adapters.warehouse import Receipt, TableDay
from tickhandler_dagster.adapters.warehouse_day_files import (
    retire,
    sweep_day_files,
    write_day_file,
)
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    InvalidSetting,
    MissingUpstream,
)
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    import duckdb

_DAYS_AT_ONCE = 31


@contextlib.contextmanager
def open_for_reading(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse in that folder as it is now, for any SQL that only reads; times are in UTC.

    It never waits for a writer and never makes one wait. The connection goes on showing the moment
    it was opened at; the files it needs stay for a day.

    Raises:
        MissingUpstream: nothing was ever published into the folder.
        CorruptData: the file is not a warehouse that this version of DuckDB reads.
        StorageDenied: the folder may not be read.
    """
    with opened_copy(folder) as connection:
        if connection is None:
            raise MissingUpstream(
                str(folder / DATABASE_NAME),
                "nothing was published yet",
                remedy="Materialize assets of the group warehouse, or set WAREHOUSE_FOLDER to the "
                "folder that has the tables",
            )
        yield connection


class DuckDbWarehouse:
    """Tables as views over the files of published days.

    Args:
        folder: Where `warehouse.duckdb` and the files are; made when the first table is.
        store: Where the lake's objects are.
    """

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self._folder = LocalObjectStore(folder)
        self._store = store

    @property
    def folder(self) -> Path:
        """Where the warehouse is, absolute."""
        return self._folder.root

    def ensure(self, table: WarehouseTable) -> None:
        """Make the table, or add the columns it lacks; nothing is lost.

        A column that the table no longer has stays, and is null in days published from now on.

        Raises:
            InvalidSetting: a column of the stored table has another type.
            ConcurrentWrite: another writer did not finish in time.
            StorageDenied: the folder may not be written.
        """
        with opened_copy(self.folder) as connection:
            stored = None if connection is None else stored_table(connection, table.name)
        if self._wanted(table, stored) == stored:
            return
        with changed_copy(self.folder) as connection:
            stored = stored_table(connection, table.name)
            store_table(connection, table, self._wanted(table, stored))

    def publish(self, table: WarehouseTable, days: Sequence[TableDay]) -> list[Receipt]:
        """Replace these days; one receipt per day, in the order given.

        Readers see the days of a month at once, when all of them are written and counted.

        Raises:
            ConcurrentWrite: an object changed since its manifest was read, or another writer did
                not finish in time.
            CorruptData: an object contradicts its manifest or the table.
            InvalidSetting: a column of the stored table has another type.
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        self.ensure(table)
        receipts: list[Receipt] = []
        for start in range(0, len(days), _DAYS_AT_ONCE):
            receipts += self._publish(table, days[start : start + _DAYS_AT_ONCE])
        return receipts

    def counts(
        self, table: WarehouseTable, days: Sequence[dt.date]
    ) -> Mapping[tuple[dt.date, VenueId], int]:
        """Rows by day and venue; days and venues without rows are left out.

        Raises:
            CorruptData: the file is not a warehouse that this version of DuckDB reads.
        """
        with opened_copy(self.folder) as connection:
            return {} if connection is None else _counts(connection, table, days)

    def query(self, sql: str) -> pa.Table:
        """The answer to a question in DuckDB's SQL, whole in memory; times are in UTC.

        Raises:
            InvalidInput: DuckDB does not take the question.
            CorruptData: a file of the warehouse is missing or broken.
            MissingUpstream: nothing was ever published.
        """
        import duckdb  # noqa: PLC0415  (a fifth of a second that only the warehouse pays)

        with open_for_reading(self.folder) as connection:
            try:
                return connection.execute(sql).to_arrow_table()
            except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError) as error:
                raise InvalidInput(
                    "SQL",
                    str(error).strip().splitlines()[0],
                    remedy="Correct the question; `SHOW TABLES` lists the tables and "
                    "`DESCRIBE candles_1m` a table's columns",
                ) from error

    def _wanted(self, table: WarehouseTable, stored: StoredTable | None) -> StoredTable:
        """What the stored table has to become: its own columns first, in their order."""
        now = {column.name: StoredColumn.of(column) for column in table.table.columns}
        kept = () if stored is None else stored.columns
        for column in kept:
            if column.name in now and now[column.name].data_type != column.data_type:
                raise InvalidSetting(
                    "WAREHOUSE_FOLDER",
                    f"{self.folder} has {table.name}.{column.name} with another type",
                    was=column.data_type,
                    expected=now[column.name].data_type,
                    remedy="Set it to another folder and publish again: the lake has every day, "
                    "and the old folder stays as it is",
                )
        old = {column.name for column in kept}
        return StoredTable(
            f"{table.table.grain[0].upper()}{table.table.grain[1:]}.",
            str(self.folder),
            (
                *(now.get(column.name, column) for column in kept),
                *(column for name, column in now.items() if name not in old),
            ),
        )

    def _publish(self, table: WarehouseTable, days: Sequence[TableDay]) -> list[Receipt]:
        known, columns = self._known(table)
        fresh = [day for day in days if self._is_new(day, known.get(day.day), len(columns))]
        written = [self._written(table, day, columns) for day in fresh if day.objects]
        if fresh:
            self._switch(table, fresh, written)
        rows = {item.day: item.rows for item in (*known.values(), *written)}
        new = {day.day for day in fresh}
        return [
            Receipt(
                day=day.day,
                rows=rows[day.day] if day.objects else 0,
                bytes=day.bytes if day.day in new else 0,
                job_id="",
                is_new=day.day in new,
            )
            for day in days
        ]

    def _known(
        self, table: WarehouseTable
    ) -> tuple[dict[dt.date, PublishedDay], tuple[StoredColumn, ...]]:
        with opened_copy(self.folder) as connection:
            stored = None if connection is None else stored_table(connection, table.name)
            if connection is None or stored is None:
                raise ConcurrentWrite(
                    table.name,
                    "the table is gone since it was made",
                    remedy="Publish again, and let nobody remove files of WAREHOUSE_FOLDER",
                )
            known = {item.day: item for item in published_days(connection, table.name)}
            return known, stored.columns

    def _is_new(self, day: TableDay, known: PublishedDay | None, width: int) -> bool:
        """The day has to be written: other objects, columns that came later, or a lost file."""
        if known is None:
            return bool(day.objects)
        return (
            known.digest != day.digest
            or known.width < width
            or self._folder.size(known.file) is None
        )

    def _written(
        self, table: WarehouseTable, day: TableDay, columns: Sequence[StoredColumn]
    ) -> PublishedDay:
        file = write_day_file(table, day, columns, lake=self._store, folder=self._folder)
        return PublishedDay(day.day, day.digest, file.path, file.rows, len(columns))

    def _switch(
        self, table: WarehouseTable, days: Sequence[TableDay], written: Sequence[PublishedDay]
    ) -> None:
        """Show the written days, and count them as a reader would before anybody sees them."""
        changed = [day.day for day in days]
        with changed_copy(self.folder) as connection:
            known = published_days(connection, table.name)
            needed = {item.file for item in (*known, *written)}
            sweep_day_files(table, needed, folder=self._folder)
            self._require(written)
            replace_days(connection, table, removed=changed, added=written)
            _require_counts(_counts(connection, table, changed), table, days)
            kept = {item.file for item in written}
            retire(
                (item.file for item in known if item.day in changed and item.file not in kept),
                folder=self._folder,
            )

    def _require(self, written: Sequence[PublishedDay]) -> None:
        for item in written:
            if self._folder.size(item.file) is None:
                raise ConcurrentWrite(
                    item.file,
                    "somebody removed the file before it was published",
                    remedy="Publish again, and let nobody remove files of WAREHOUSE_FOLDER",
                )


def _counts(
    connection: duckdb.DuckDBPyConnection, table: WarehouseTable, days: Sequence[dt.date]
) -> dict[tuple[dt.date, VenueId], int]:
    """Rows by day and venue, from the files of these days alone."""
    stored = stored_table(connection, table.name)
    if stored is None:
        return {}
    wanted = set(days)
    day_column = day_column_of(table, stored.columns)
    query = rows_query(
        stored.columns,
        [item for item in published_days(connection, table.name) if item.day in wanted],
        day_column=day_column,
        folder=stored.folder,
    )
    is_date = day_column.data_type == "DATE"
    moment = quoted(day_column.name) + ("" if is_date else " AT TIME ZONE 'UTC'")
    rows = connection.execute(
        f"SELECT CAST({moment} AS DATE), venue, count(*) "  # noqa: S608  (names are quoted)
        f"FROM ({query}) GROUP BY ALL"
    ).fetchall()
    return {(day, VenueId(venue)): count for day, venue, count in rows}


def _require_counts(
    found: Mapping[tuple[dt.date, VenueId], int], table: WarehouseTable, days: Sequence[TableDay]
) -> None:
    expected = {(day.day, venue): rows for day in days for venue, rows in day.rows_by_venue.items()}
    for cell in sorted(expected.keys() | found.keys()):
        if found.get(cell, 0) != expected.get(cell, 0):
            raise CorruptData(
                f"{table.name} of {cell[0]} and {cell[1]}",
                "the table would not hold what the lake says, and was left as it is",
                was=f"{found.get(cell, 0)} rows",
                expected=f"{expected.get(cell, 0)} rows",
                remedy="Publish again; if it stays so, report it",
            )
