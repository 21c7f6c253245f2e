"""The warehouses an installation can fill.

What belongs here: their names. Their tables are in `warehouse_tables.py`, which loads every feature
and is therefore apart.
"""

from __future__ import annotations

from enum import StrEnum


class WarehouseKind(StrEnum):
    """Which warehouse an installation fills."""

    DUCKDB = "duckdb"
    BIGQUERY = "bigquery"
