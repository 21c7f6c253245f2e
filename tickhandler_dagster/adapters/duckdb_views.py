"""The SQL of the DuckDB warehouse's views, as text.

What belongs here: how a column, a view and its comments are written. What does not: running them
(`duckdb_catalogue.py`) and the files they read (`warehouse_day_files.py`).

A view is a union of one query per calendar month and width of its files, each with the bounds of
its month: DuckDB drops months that a question excludes before it opens any of their files. One list
of all files would be shorter, and would open six years of footers to answer about one day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.tables import TIMESTAMP, Column

_TYPES: Mapping[pl.DataType, str] = MappingProxyType(
    {
        pl.String(): "VARCHAR",
        pl.List(pl.String()): "VARCHAR[]",
        pl.Boolean(): "BOOLEAN",
        pl.Int8(): "TINYINT",
        pl.Int32(): "INTEGER",
        pl.Int64(): "BIGINT",
        pl.Float64(): "DOUBLE",
        pl.Date(): "DATE",
        TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    }
)
_DTYPES: Mapping[str, pl.DataType] = MappingProxyType(
    {name: dtype for dtype, name in _TYPES.items()}
)


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column of a table of the warehouse.

    Attributes:
        name: As SQL calls it.
        data_type: DuckDB's name of its type.
        description: One sentence, with the unit.
    """

    name: str
    data_type: str
    description: str

    @classmethod
    def of(cls, column: Column) -> StoredColumn:
        """The column as DuckDB has it."""
        unit = f" Unit: {column.unit}." if column.unit else ""
        return cls(column.name, _TYPES[column.dtype], column.description + unit)

    @property
    def dtype(self) -> pl.DataType:
        """Its polars type."""
        return _DTYPES[self.data_type]


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """A day of a table that readers see.

    Attributes:
        day: The UTC day.
        digest: `TableDay.digest` of what it was made of.
        file: Its file, under the warehouse's folder.
        rows: Rows in the file.
        width: Columns in the file: the first ones of the table, since later ones are appended.
    """

    day: dt.date
    digest: str
    file: str
    rows: int
    width: int


def quoted(name: str) -> str:
    """A name as an identifier.

    Example:
        >>> quoted("close")
        '"close"'
    """
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as a literal.

    Example:
        >>> text("bar's end")
        "'bar''s end'"
    """
    return "'" + value.replace("'", "''") + "'"


def moment(day: dt.date, data_type: str) -> str:
    """The start of a UTC day as a literal of that type, whatever the session's time zone is.

    Example:
        >>> moment(dt.date(2024, 8, 8), "DATE")
        "DATE '2024-08-08'"
    """
    clock = "" if data_type == "DATE" else " 00:00:00+00"
    return f"{data_type} {text(day.isoformat() + clock)}"


def day_bounds(column: StoredColumn, start: dt.date, end: dt.date) -> str:
    """The condition that a row lies in the days `[start, end)`."""
    name = quoted(column.name)
    return (
        f"{name} >= {moment(start, column.data_type)} AND {name} < {moment(end, column.data_type)}"
    )


def rows_query(
    columns: Sequence[StoredColumn],
    days: Sequence[PublishedDay],
    *,
    day_column: StoredColumn,
    folder: str,
) -> str:
    """The rows of these days, by the files that hold them.

    Args:
        columns: All columns of the table; a file without the last ones has nulls there.
        days: In any order; without one the query has no row.
        day_column: The column whose day is the partition.
        folder: The warehouse's folder, absolute.
    """
    ordered = sorted(days, key=lambda item: (item.day, item.width))
    branches = [
        _month_query(columns, list(items), day_column=day_column, folder=folder)
        for _, items in groupby(sorted(ordered, key=_month_and_width), key=_month_and_width)
    ]
    return " UNION ALL ".join(branches) or f"SELECT {_selected(columns, width=0)} WHERE false"


def _month_and_width(item: PublishedDay) -> tuple[int, int, int]:
    return item.day.year, item.day.month, item.width


def _month_query(
    columns: Sequence[StoredColumn],
    days: Sequence[PublishedDay],
    *,
    day_column: StoredColumn,
    folder: str,
) -> str:
    files = ", ".join(text(f"{folder}/{item.file}") for item in days)
    bounds = day_bounds(day_column, days[0].day, days[-1].day + dt.timedelta(days=1))
    return (
        f"SELECT {_selected(columns, width=days[0].width)} "  # noqa: S608  (names are quoted)
        f"FROM read_parquet([{files}], hive_partitioning = false) WHERE {bounds}"
    )


def _selected(columns: Sequence[StoredColumn], *, width: int) -> str:
    return ", ".join(
        quoted(column.name)
        if place < width
        else f"CAST(NULL AS {column.data_type}) AS {quoted(column.name)}"
        for place, column in enumerate(columns)
    )


def comment(kind: str, name: str, description: str) -> str:
    """The statement that describes a view or a column.

    Example:
        >>> print(comment("COLUMN", 'candles."close"', "Last price."))
        COMMENT ON COLUMN candles."close" IS 'Last price.'
    """
    return f"COMMENT ON {kind} {name} IS {text(description)}"
