"""The warehouse Protocol: days of the lake published into tables, whole or not at all.

What belongs here: what both warehouses promise and the values they speak in. The warehouses are
`duckdb_warehouse.py` and `bigquery_warehouse.py`; which objects a day has is `pipeline/`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseTable


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """An object of the lake that a day of a table is made of.

    Attributes:
        path: Under the lake's root.
        venue: Whose rows it holds.
        rows: How many.
        bytes: Its size.
        sha256: Its content.
    """

    path: str
    venue: VenueId
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TableDay:
    """All rows of a UTC day of a table, of every venue, as objects of the lake.

    Attributes:
        day: The UTC day of `WarehouseTable.day_column`.
        objects: What it is made of; empty where the day has no row.
    """

    day: dt.date
    objects: tuple[LoadedObject, ...]

    @property
    def rows(self) -> int:
        """Rows of the day."""
        return sum(item.rows for item in self.objects)

    @property
    def bytes(self) -> int:
        """Size of its objects."""
        return sum(item.bytes for item in self.objects)

    @property
    def digest(self) -> str:
        """Changes when and only when a row of the day can have changed, in hex."""
        parts = sorted(f"{item.path}\n{item.venue}\n{item.sha256}\n" for item in self.objects)
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    @property
    def rows_by_venue(self) -> Mapping[VenueId, int]:
        """Rows of each venue that has any."""
        rows = Counter[VenueId]()
        for item in self.objects:
            rows[item.venue] += item.rows
        return {venue: count for venue, count in sorted(rows.items()) if count}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What publishing a day did.

    Attributes:
        day: Which day.
        rows: Rows the table holds of the day, counted after the load.
        bytes: Bytes that were loaded; 0 where nothing had to be.
        job_id: The warehouse's name of the work; empty where it has none.
        is_new: Something was loaded: the day was not published with this content before.
    """

    day: dt.date
    rows: int
    bytes: int
    job_id: str
    is_new: bool


class Warehouse(Protocol):
    """Tables that SQL asks, filled from the lake.

    A published day replaces what the table held of it, atomically: a reader sees the old day or the
    new one. Publishing again, after a crash, or beside another process gives the same table.
    """

    def ensure(self, table: WarehouseTable) -> None:
        """Make the table, or add the columns it lacks; nothing is lost.

        Raises:
            InvalidSetting: a column of the stored table has another type.
        """
        ...

    def publish(self, table: WarehouseTable, days: Sequence[TableDay]) -> list[Receipt]:
        """Replace these days; one receipt per day, in the order given.

        Raises:
            CorruptData: after the load the table does not hold what the lake says.
        """
        ...

    def counts(
        self, table: WarehouseTable, days: Sequence[dt.date]
    ) -> Mapping[tuple[dt.date, VenueId], int]:
        """Rows by day and venue; days and venues without rows are left out."""
        ...

    def query(self, sql: str) -> pa.Table:
        """The answer to a question in the warehouse's SQL."""
        ...
