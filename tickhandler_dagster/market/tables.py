"""How a stored table is described: one `Table`, from which schema, check and docs follow.

What belongs here: the vocabulary. The tables themselves are in `raw_tables.py` and the modules
named `…_table.py`; the Pandera schema is derived in `schema_check.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import polars as pl
import pyarrow as pa

TIMESTAMP = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a non-null value may be: numbers between limits, or one of a list of texts.

    Attributes:
        gt: The value is greater.
        ge: The value is greater or equal.
        lt: The value is smaller.
        le: The value is smaller or equal.
        one_of: The value is one of these.
    """

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    one_of: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column.

    Attributes:
        name: Carries its unit as a suffix unless the unit is the venue's or there is none.
        dtype: Polars type; times are `timestamp[us, UTC]`.
        description: One sentence for the catalogue and the warehouse.
        unit: In words, empty where dimensionless.
        is_nullable: A null means "undefined" and is allowed.
        bounds: The rule of every non-null value.
    """

    name: str
    dtype: pl.DataType
    description: str
    unit: str = ""
    is_nullable: bool = False
    bounds: Bounds = Bounds()


@dataclass(frozen=True, slots=True)
class RowRule:
    """Something that holds between the columns of every row.

    Attributes:
        name: What is true when it holds.
        holds: A Boolean expression over the columns; null counts as true.
    """

    name: str
    holds: pl.Expr


@dataclass(frozen=True, slots=True)
class Table:
    """A stored table.

    Attributes:
        name: As it is called in the lake and the warehouse.
        grain: What one row is.
        columns: In stored order.
        key: Columns that identify a row; empty where rows are events that may repeat.
        rules: What holds between columns.
        sorted_by: A column whose values never decrease; empty where there is no such order.
        has_computed_numbers: Its numbers are results and seldom repeat, unlike prices and sizes.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rules: tuple[RowRule, ...] = ()
    sorted_by: str = ""
    has_computed_numbers: bool = False

    def column(self, name: str) -> Column:
        """The column of that name; `KeyError` where there is none."""
        return {column.name: column for column in self.columns}[name]

    @property
    def names(self) -> list[str]:
        """Column names in stored order."""
        return [column.name for column in self.columns]

    @property
    def polars_schema(self) -> pl.Schema:
        """Names and Polars types in stored order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def arrow_schema(self) -> pa.Schema:
        """Names, Arrow types and nullability in stored order; no dictionary types.

        One plain text type in every file is what lets files of different days concatenate; the
        dictionary is an encoding of the pages, not a type.
        """
        return _arrow_schema(self.columns)


@lru_cache
def _arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Kept, since a partition of many small files asks for it once per file."""
    schema = {column.name: column.dtype for column in columns}
    fields = pl.DataFrame(schema=schema).to_arrow().schema
    return pa.schema(
        pa.field(
            field.name,
            _plain(field.type),
            nullable=column.is_nullable,
            metadata=_field_metadata(column),
        )
        for field, column in zip(fields, columns, strict=True)
    )


def _field_metadata(column: Column) -> dict[str, str]:
    return {"description": column.description} | ({"unit": column.unit} if column.unit else {})


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_large_list(dtype) or pa.types.is_list(dtype):
        return pa.list_(_plain(dtype.value_type))
    return dtype
