"""Questions to the warehouse, in words that BigQuery and DuckDB understand alike.

What belongs here: their SQL as text. What does not: asking them (`pipeline/warehouse_publish.py`).

A moment is a bare text: both engines turn it into the type of the column beside it, offset
included, and both skip the days that it excludes. `TIMESTAMP '…'` would be a moment to one of them
and to the other a reading of a clock in the session's time zone.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from tickhandler_dagster.market.warehouse_tables import WarehouseTable


def final_rows_question(table: WarehouseTable, first: dt.date, last: dt.date) -> str:
    """Rows that nothing can change any more, by UTC day from `first` to `last`, both included.

    Columns of the answer: `day`, `final_rows`. The session's time zone has to be UTC.
    """
    return (
        f"SELECT CAST({table.day_column} AS DATE) AS day, "  # noqa: S608  (names of ours)
        "SUM(CASE WHEN is_final THEN 1 ELSE 0 END) AS final_rows "
        f"FROM {table.name} WHERE {days_condition(table, first, last)} GROUP BY 1"
    )


def day_question(table: WarehouseTable, day: dt.date) -> str:
    """What somebody might ask first: rows of the day by venue, and how many of them are final."""
    final = ", SUM(CASE WHEN is_final THEN 1 ELSE 0 END) AS final_rows"
    return (
        f"SELECT venue, COUNT(*) AS row_count{final if table.has_final_rows else ''}\n"
        f"FROM {table.name}\n"
        f"WHERE {days_condition(table, day, day)}\n"
        "GROUP BY venue ORDER BY venue"
    )


def days_condition(table: WarehouseTable, first: dt.date, last: dt.date) -> str:
    """The condition that a row lies in the UTC days from `first` to `last`, both included."""
    end = last + dt.timedelta(days=1)
    clock = "" if table.table.column(table.day_column).dtype == pl.Date() else " 00:00:00+00"
    name = table.day_column
    return f"{name} >= '{first}{clock}' AND {name} < '{end}{clock}'"
