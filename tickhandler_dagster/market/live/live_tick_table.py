"""The tables of live ticks: a raw row, whose it is, and its number in the order of arrival.

What belongs here: the columns a live tick has beside the vendor's. What does not: which lines are
rows (`adapters/spool_lines.py`) and where they go (`streaming/sinks/`).

A row's number makes "no tick lost, none twice" something a query can show: the numbers of a venue
and data type have no hole but where the warehouse refused rows, and none comes twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tables import Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

SEQUENCE = "sequence"

_IDENTITY = (
    Column("venue", pl.String(), "Tardis exchange id.", bounds=Bounds(one_of=tuple(VenueId))),
    Column("symbol", pl.String(), "The symbol as the feed spells it."),
    Column(
        "instrument_key",
        pl.String(),
        "Canonical key VENUE:TYPE:SYMBOL; null where the universe did not list the symbol.",
        is_nullable=True,
    ),
    Column(
        SEQUENCE,
        pl.Int64(),
        "Number of the row in its venue and data type: the first row's arrival in microseconds "
        "since the epoch, then one more with each row.",
        bounds=Bounds(ge=0),
    ),
)


def _live_table(data_type: DataType) -> Table:
    return Table(
        name=f"live_ticks_{data_type.value.lower()}",
        grain=f"one {data_type} row of the live feed, in order of arrival",
        key=("venue", SEQUENCE),
        columns=(*_IDENTITY, *RAW_TABLES[data_type].stored.columns),
    )


LIVE_TICK_TABLES: Mapping[DataType, Table] = MappingProxyType(
    {data_type: _live_table(data_type) for data_type in DataType}
)
"""The table of live ticks of each data type."""


def live_ticks(
    rows: pl.DataFrame,
    venue: VenueId,
    data_type: DataType,
    *,
    keys: Mapping[str, str],
    first_sequence: int,
) -> pl.DataFrame:
    """Rows of the feed as rows of the live table, in the same order.

    Args:
        rows: The stored columns of the data type, and `symbol`.
        venue: Whose.
        data_type: Of which type.
        keys: Instrument keys by symbol.
        first_sequence: Number of the first row.
    """
    return rows.with_columns(
        pl.lit(str(venue)).alias("venue"),
        pl.col("symbol")
        .replace_strict(keys, default=None, return_dtype=pl.String())
        .alias("instrument_key"),
        pl.int_range(first_sequence, first_sequence + rows.height, dtype=pl.Int64()).alias(
            SEQUENCE
        ),
    ).select(LIVE_TICK_TABLES[data_type].names)
