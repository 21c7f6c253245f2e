"""The table of dead letters: live rows that their table does not take, kept with the reason.

What belongs here: its columns, and how a row of any table becomes one of these.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.quality.row_rules import REASON
from tickhandler_dagster.market.tables import Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

DEAD_LETTERS_TABLE = Table(
    name="dead_letters",
    grain="one live row that its table did not take",
    columns=(
        Column("table", pl.String(), "Name of the table that did not take it."),
        Column("venue", pl.String(), "Tardis exchange id.", bounds=Bounds(one_of=tuple(VenueId))),
        Column(
            "symbol",
            pl.String(),
            "The symbol as the feed spells it, or the instrument key of a bar.",
        ),
        Column(
            "sequence",
            pl.Int64(),
            "The row's number in its table's order; of a bar its place in the request.",
            bounds=Bounds(ge=0),
        ),
        Column(REASON, pl.String(), "Name of the broken rule, or the words of the warehouse."),
        Column("row", pl.String(), "The row as JSON."),
    ),
)


def dead_letters(rows: pl.DataFrame, table: str, *, symbol: str = "symbol") -> pl.DataFrame:
    """Rows with their `reason` and `sequence` as dead letters.

    Args:
        rows: Columns of the table they were meant for, and `reason` and `sequence`.
        table: Its name.
        symbol: The column that says whose a row is.
    """
    content = [name for name in rows.columns if name != REASON]
    return rows.select(
        pl.lit(table).alias("table"),
        "venue",
        pl.col(symbol).alias("symbol"),
        "sequence",
        REASON,
        pl.struct(content).struct.json_encode().alias("row"),
    )
