"""The table of minutes in which our bars and the venue's klines differ.

What belongs here: causes and columns. What does not: how a cause is found (`kline_comparison.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.klines import COUNT, FIELDS, KLINE_SCHEMA
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table


class DifferenceCause(StrEnum):
    """What explains a minute in which bar and kline differ."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    LOST = "lost"
    LATE = "late"
    BOUNDARY = "boundary"
    REVISED = "revised"


DIFFERENCE_CAUSE_MEANINGS: Mapping[DifferenceCause, str] = MappingProxyType(
    {
        DifferenceCause.MISSING_HERE: "the venue has trades and we have none, and no gap tells why",
        DifferenceCause.MISSING_THERE: "we have trades and the venue's klines have none",
        DifferenceCause.LOST: "a known gap touches the minute",
        DifferenceCause.LATE: "our bar is provisional: a file that is still to come can change it",
        DifferenceCause.BOUNDARY: (
            "the minute and its neighbour together agree: a trade lies across their edge"
        ),
        DifferenceCause.REVISED: "nothing of ours explains it: the venue or the vendor changed it",
    }
)

BAR_COLUMN: Mapping[str, str] = MappingProxyType(
    {name: name for name in FIELDS}
    | {"quote_volume": "notional", "amount": "amount_sum", "buy_volume": "buy_volume_sum"}
)
"""The bar's column that each field of a kline is compared with."""


def kline_column(name: str) -> str:
    """The column that holds the kline's value of a field."""
    return f"kline_{name}"


def _pair(name: str) -> tuple[Column, Column]:
    own = CANDLE_TABLE.column(BAR_COLUMN[name])
    words = name.replace("_", " ")
    return tuple(
        Column(
            column,
            KLINE_SCHEMA[name],
            f"{whose} {words}; null where it has none.",
            unit=own.unit,
            is_nullable=True,
        )
        for column, whose in ((name, "The bar's"), (kline_column(name), "The kline's"))
    )  # type: ignore[return-value]


KLINE_DIFFERENCES_TABLE = Table(
    name="kline_differences",
    grain="one minute in which an instrument's bar and the venue's own kline differ",
    key=("date", "venue", "instrument_key", "ts_open"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", pl.String(), "Tardis exchange id."),
        Column("instrument_key", pl.String(), "Canonical key VENUE:TYPE:SYMBOL."),
        Column("ts_open", TIMESTAMP, "First moment of the minute.", unit="UTC"),
        Column(
            "cause",
            pl.String(),
            "What explains it.",
            bounds=Bounds(one_of=tuple(DifferenceCause)),
        ),
        Column("fields", pl.List(pl.String()), "Fields that differ; all where one side is empty."),
        Column(
            "status",
            pl.String(),
            "The bar's status; null where there is no bar.",
            is_nullable=True,
            bounds=Bounds(one_of=tuple(BarStatus)),
        ),
        Column(
            "is_final",
            pl.Boolean(),
            "No file that is still to come can change the bar.",
            is_nullable=True,
        ),
        Column(
            "gap_ms",
            pl.Float64(),
            "Time inside the bar that lies in known gaps.",
            unit="ms",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
        *(column for name in FIELDS for column in _pair(name)),
    ),
    rules=(
        RowRule(
            "one side at least has trades",
            (pl.col(COUNT).fill_null(0) > 0) | pl.col(kline_column("close")).is_not_null(),
        ),
    ),
)
