"""A table's columns in Dagster's terms, so that the catalogue shows types, units and meanings."""

from typing import Any

import dagster as dg

from tickhandler_dagster.market.tables import Bounds, Column, Table


def column_schema(table: Table) -> dict[str, Any]:
    """Definition metadata of an asset that stores the table."""
    return {
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name=column.name,
                    type=str(column.dtype),
                    description=_description(column),
                    constraints=dg.TableColumnConstraints(
                        nullable=column.is_nullable, other=_limits(column.bounds)
                    ),
                )
                for column in table.columns
            ]
        ),
        "grain": table.grain,
    }


def _description(column: Column) -> str:
    return f"{column.description} Unit: {column.unit}." if column.unit else column.description


def _limits(bounds: Bounds) -> list[str]:
    signs = ((">", bounds.gt), (">=", bounds.ge), ("<", bounds.lt), ("<=", bounds.le))
    limits = [f"{sign} {limit:g}" for sign, limit in signs if limit is not None]
    return limits + ([f"one of {', '.join(bounds.one_of)}"] if bounds.one_of else [])
