"""A table of the warehouse as BigQuery defines it: types, partitions, clusters, descriptions.

What belongs here: `bigquery_schema`, the one place where a stored type becomes BigQuery's, and what
a table that exists may differ in. What does not: loading (`bigquery_warehouse.py`).

Every column may be null there, also those that never are: a required column can be added to no
table and loaded from no older file. That a column holds no null is checked where it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.tables import TIMESTAMP, Column, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

if TYPE_CHECKING:
    from google.cloud import bigquery

BIGQUERY_TYPES: Mapping[pl.DataType, str] = MappingProxyType(
    {
        TIMESTAMP: "TIMESTAMP",
        pl.Date(): "DATE",
        pl.Int8(): "INTEGER",
        pl.Int32(): "INTEGER",
        pl.Int64(): "INTEGER",
        pl.Float64(): "FLOAT",
        pl.Boolean(): "BOOLEAN",
        pl.String(): "STRING",
        pl.Binary(): "BYTES",
    }
)
"""BigQuery's type of each stored type; total over the tables, to which a test holds it."""

FILTER_REQUIRED = frozenset({Timeframe.S15, Timeframe.M1})
"""Tables of these timeframes refuse a question without a filter on the day: it would read years."""

_DESCRIPTION_CHARACTERS = 1024


def bigquery_schema(table: Table) -> list[bigquery.SchemaField]:
    """The columns of a table in stored order; lists are repeated fields.

    Example:
        >>> from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
        >>> [field.field_type for field in bigquery_schema(INSTRUMENTS_TABLE)][:2]
        ['DATE', 'STRING']
    """
    from google.cloud import bigquery  # noqa: PLC0415  (slow import)

    fields = []
    for column in table.columns:
        kind, mode = _type_of(column)
        description = _description(column)
        field = bigquery.SchemaField(column.name, kind, mode=mode, description=description)
        fields.append(field)
    return fields


def table_definition(item: WarehouseTable, table_id: str) -> bigquery.Table:
    """The table as it is made: day partitions, clusters, labels, a filter where it saves years.

    Args:
        item: Which table.
        table_id: Project, dataset and name with stops between them.
    """
    from google.cloud import bigquery  # noqa: PLC0415  (slow import)

    made = bigquery.Table(table_id, schema=bigquery_schema(item.table))
    made.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.DAY, field=item.day_column
    )
    made.clustering_fields = list(item.clustering)
    made.require_partition_filter = item.timeframe in FILTER_REQUIRED
    made.description = item.table.grain
    made.labels = {"product": "tickhandler", "source": item.source.value}
    return made


def reconciled(item: WarehouseTable, stored: bigquery.Table) -> list[str]:
    """Bring `stored` up to the table; the names of the properties that changed.

    Raises:
        InvalidSetting: a column has another type, or it is a table of something else.
    """
    table_id = f"{stored.project}.{stored.dataset_id}.{stored.table_id}"
    return brought_up_to(table_definition(item, table_id), stored)


def brought_up_to(wanted: bigquery.Table, stored: bigquery.Table) -> list[str]:
    """Bring `stored` up to `wanted`; the names of the properties that changed.

    Columns are added at the end and described anew, never removed or changed.

    Raises:
        InvalidSetting: a column has another type, or it is a table of something else.
    """
    _check_layout(wanted, stored)
    by_name = {field.name: field for field in wanted.schema}
    known = {field.name for field in stored.schema}
    for field in stored.schema:
        if field.name in by_name:
            _check_type(stored, field, by_name[field.name])
    schema = [by_name.get(field.name, field) for field in stored.schema]
    schema += [field for field in wanted.schema if field.name not in known]
    changed = []
    if [field.to_api_repr() for field in schema] != [f.to_api_repr() for f in stored.schema]:
        stored.schema = schema
        changed.append("schema")
    for name in ("description", "labels", "require_partition_filter"):
        if (getattr(stored, name) or None) != (getattr(wanted, name) or None):
            setattr(stored, name, getattr(wanted, name))
            changed.append(name)
    return changed


def _type_of(column: Column) -> tuple[str, str]:
    if isinstance(column.dtype, pl.List):
        inner = column.dtype.inner
        return BIGQUERY_TYPES[inner if isinstance(inner, pl.DataType) else inner()], "REPEATED"
    return BIGQUERY_TYPES[column.dtype], "NULLABLE"


def _description(column: Column) -> str:
    text = f"{column.description} Unit: {column.unit}." if column.unit else column.description
    return text[:_DESCRIPTION_CHARACTERS]


def _check_layout(wanted: bigquery.Table, stored: bigquery.Table) -> None:
    cut = wanted.time_partitioning
    partitioning = stored.time_partitioning
    is_cut_so = bool(partitioning and partitioning.type_ == cut.type_)
    found = partitioning.field if is_cut_so else None
    if stored.table_type == "TABLE" and found == cut.field:
        return
    raise InvalidSetting(
        f"BigQuery table {stored.full_table_id or stored.table_id}",
        "a table of something else has this name",
        was=f"{(stored.table_type or 'TABLE').lower()} partitioned by {found or 'nothing'}",
        expected=f"a table with a partition per {cut.type_.lower()} of {cut.field}",
        remedy="Set BIGQUERY_DATASET to another dataset, or rename that table; it was left alone",
    )


def _check_type(
    stored: bigquery.Table, found: bigquery.SchemaField, wanted: bigquery.SchemaField
) -> None:
    if (found.field_type, found.mode) == (wanted.field_type, wanted.mode):
        return
    raise InvalidSetting(
        f"BigQuery table {stored.full_table_id or stored.table_id}",
        f"column {found.name} has another type",
        was=f"{found.mode} {found.field_type}",
        expected=f"{wanted.mode} {wanted.field_type}",
        remedy="Rename that table or set BIGQUERY_DATASET to another dataset and publish again; "
        "nothing was changed",
    )
