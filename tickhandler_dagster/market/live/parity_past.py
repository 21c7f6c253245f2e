"""What live and batch did not share of the days before, so that bars of the day differ by it.

What belongs here: which rows of the differences of earlier days say so. What does not: reading them
(`pipeline/live_past.py`) and what follows for a bar (`parity_causes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.market.live.live_differences_table import LiveDifferenceCause
from tickhandler_dagster.market.tables import TIMESTAMP

OF_ROWS = (LiveDifferenceCause.LOST, LiveDifferenceCause.LATE, LiveDifferenceCause.REVISED)
"""Causes for which the two sides stood on different rows."""

OF_MEMORY = (*OF_ROWS, LiveDifferenceCause.KERNEL, LiveDifferenceCause.UNEXPLAINED)
"""Causes for which the two sides remember a day differently."""

PAST_COLUMNS = ("instrument_key", "timeframe", "ts_open", "cause", "fields", "rows_of_trades")
"""What is read of the differences of the day before."""

_WHOLE_BAR = ("gap_ms", "coverage")
_TRADES = "id_gap_count"
_SCHEMA = pl.Schema({"ts_open": TIMESTAMP, "bar_cause": pl.String(), "trade_cause": pl.String()})


@dataclass(frozen=True, slots=True)
class LivePast:
    """What an instrument's bars of a day look back at from before it.

    Attributes:
        disturbed: Bars of the day before in which rows differed: `ts_open` and the causes.
        is_remembered_otherwise: A day that a memory reaches back to was not the same on both sides.
    """

    disturbed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SCHEMA))
    is_remembered_otherwise: bool = False


def disturbed_bars(differences: pl.DataFrame) -> pl.DataFrame:
    """The bars whose own rows differed, of the differences of a day, instrument and timeframe.

    A bar that differs because it looks back at such a bar is not one: a column would else look
    back twice as far over midnight.

    Shape: `ts_open`, `bar_cause` where every column is concerned and `trade_cause` where those of
    trades are, one row per bar by `ts_open`.
    """
    fields, cause = pl.col("fields"), pl.col("cause")
    is_whole = (fields.list.len() == 0) | pl.any_horizontal(
        fields.list.contains(name) for name in _WHOLE_BAR
    )
    is_of_trades = pl.col("rows_of_trades").is_not_null() | fields.list.contains(_TRADES)
    return (
        differences.filter(cause.is_in([str(one) for one in OF_ROWS]) & (is_whole | is_of_trades))
        .group_by("ts_open")
        .agg(
            bar_cause=cause.filter(is_whole).first(), trade_cause=cause.filter(is_of_trades).first()
        )
        .sort("ts_open")
        .cast(_SCHEMA)
    )
