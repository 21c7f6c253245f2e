"""What dbt is told of the warehouse: its tables as sources, their staging models, texts of columns.

What belongs here: how a table reads in dbt's YAML and docs blocks. What does not: the tables
(`warehouse_tables.py`), and the marts, which are written by hand in `dbt_bigquery/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import TIMESTAMP, Column
from tickhandler_dagster.market.warehouse_tables import WarehouseTable, warehouse_tables

_INTRODUCTION = """\
# Generated from the tables the code writes by (`make dictionary`); do not edit.
# Columns of one kind of table are written once and referred to (`&candles`, `*candles`).
version: 2

sources:
  - name: warehouse
    description: What the platform publishes, a UTC day at a time, the same in both warehouses.
    database: "{{ target.project if target.type == 'bigquery' else 'warehouse' }}"
    schema: "{{ env_var('BIGQUERY_DATASET', 'tickhandler') if target.type == 'bigquery' else 'main' }}"
    tables:
"""  # noqa: E501  (YAML has no way to break a quoted line without changing it)

_TYPES: dict[pl.DataType, str] = {
    pl.String(): "string",
    pl.Float64(): "float64",
    pl.Int64(): "int64",
    pl.Int32(): "int32",
    pl.Int8(): "int8",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    TIMESTAMP: "timestamp",
    pl.List(pl.String()): "array<string>",
}
"""How a type is called in dbt; staging casts the narrow integers to `int64`."""

RENAMED = {"rows": "row_count"}
"""Columns whose name is a keyword of BigQuery, and what staging calls them."""


def dbt_sources(windows: Windows | None = None) -> str:
    """The page, the same text for the same tables and windows.

    Example:
        >>> dbt_sources().splitlines()[0]
        '# Generated from the tables the code writes by (`make dictionary`); do not edit.'
    """
    tables = warehouse_tables(windows or Windows())
    lines = [*_sources(tables), "", "models:", *_staging(tables)]
    return _INTRODUCTION + "\n".join(lines) + "\n"


def dbt_docs() -> str:
    """A docs block per column, which a mart names where the column passes through.

    Example:
        >>> "{% docs candles__volume %}" in dbt_docs()
        True
    """
    blocks = ["Generated from the tables the code writes by (`make dictionary`); do not edit.", ""]
    known: set[str] = set()
    for item in warehouse_tables(Windows()):
        if item.source.value not in known:
            known.add(item.source.value)
            blocks += (_block(item.source.value, column) for column in item.table.columns)
    return "\n".join(blocks)


def _block(kind: str, column: Column) -> str:
    name = RENAMED.get(column.name, column.name)
    return f"{{% docs {kind}__{name} %}}\n{_meaning(column)}\n{{% enddocs %}}\n"


def _sources(tables: tuple[WarehouseTable, ...]) -> Iterator[str]:
    known: set[str] = set()
    for item in tables:
        yield f"      - name: {item.name}"
        yield f"        description: {_quoted(_grain(item))}"
        yield f"        config: {{meta: {{day_column: {item.day_column}}}}}"
        kind = item.source.value
        if kind in known:
            yield f"        columns: *{kind}"
            continue
        known.add(kind)
        yield f"        columns: &{kind}"
        yield from (f"          - {_column(column, column.name)}" for column in item.table.columns)


def _staging(tables: tuple[WarehouseTable, ...]) -> Iterator[str]:
    for item in tables:
        yield f"  - name: stg_{item.name}"
        yield f"    description: {_quoted(_grain(item) + ' Columns renamed and cast, no more.')}"
        if not RENAMED.keys() & set(item.table.names):
            yield f"    columns: *{item.source.value}"
            continue
        yield "    columns:"
        yield from (
            f"      - {_column(column, RENAMED.get(column.name, column.name))}"
            for column in item.table.columns
        )


def _grain(item: WarehouseTable) -> str:
    length = f" of {item.timeframe.value}" if item.timeframe else ""
    return f"One row is {item.table.grain}{length}."


def _column(column: Column, name: str) -> str:
    text = _quoted(_meaning(column))
    return f"{{name: {name}, data_type: {_quoted(_TYPES[column.dtype])}, description: {text}}}"


def _meaning(column: Column) -> str:
    return column.description + (f" Unit: {column.unit}." if column.unit else "")


def _quoted(text: str) -> str:
    """JSON's texts are YAML's."""
    return json.dumps(text, ensure_ascii=False)
