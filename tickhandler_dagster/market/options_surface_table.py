"""The option surface table: one row per bar's end, for an underlying of a venue.

What belongs here: the columns that say which row it is, and the rules between columns. The values
are the entries of `features/option_surface_entries.py`, their arithmetic is `options/`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.exact import WATERMARK_US
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.family import DayGrid, as_series
from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE
from tickhandler_dagster.market.options.surface import SURFACE_VERSION
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId, venues_with

_STRING = pl.String()
_ROUNDING = 1e-12

_IDENTITY = (
    Column(
        "venue",
        _STRING,
        "Tardis exchange id of the chain.",
        bounds=Bounds(one_of=tuple(venues_with(DataType.OPTIONS_CHAIN))),
    ),
    Column("underlying", _STRING, "BASE-QUOTE the options are written on."),
    Column("timeframe", _STRING, "Length of the bar.", bounds=Bounds(one_of=tuple(Timeframe))),
    Column("ts_open", TIMESTAMP, "First moment of the bar.", unit="UTC"),
    Column(
        "ts_close",
        TIMESTAMP,
        "First moment after the bar: the row is the chain as it had arrived until then.",
        unit="UTC",
    ),
    Column(
        "available_at",
        TIMESTAMP,
        "When the row could first be known: the bar's end plus 200 ms. Join on this.",
        unit="UTC",
    ),
    Column("kernel_version", _STRING, "Version of the computation."),
)

OPTIONS_SURFACE_TABLE = Table(
    name="options_surface",
    grain="the option chain of an underlying of a venue at the end of a bar",
    key=("venue", "underlying", "timeframe", "ts_open"),
    columns=(*_IDENTITY, *(entry.column for entry in OPTION_SURFACE)),
    rules=(
        RowRule("a bar ends after it opens", pl.col("ts_close") > pl.col("ts_open")),
        RowRule(
            "a row is not available before the bar's end",
            pl.col("available_at") >= pl.col("ts_close"),
        ),
        RowRule(
            "the risk reversal is call minus put",
            (
                pl.col("call_iv_25d_30d")
                - pl.col("put_iv_25d_30d")
                - pl.col("risk_reversal_25d_30d")
            ).abs()
            <= _ROUNDING,
        ),
        RowRule(
            "a volatility stands on options that count",
            pl.col("atm_mark_iv").is_null() | (pl.col("option_count") > 0),
        ),
        RowRule(
            "no expiry is used without the options it needs",
            (pl.col("expiry_count") == 0) | (pl.col("option_count") > 0),
        ),
    ),
    sorted_by="ts_open",
)


def surface_frame(
    columns: Mapping[str, Float64Array],
    *,
    venue: VenueId,
    underlying: str,
    start_us: int,
    timeframe: Timeframe,
) -> pl.DataFrame:
    """The day's rows of one timeframe.

    Args:
        columns: One element per 15 s bar of the day, of every entry.
        venue: Venue of the chain.
        underlying: What the options are written on.
        start_us: First moment of the day, microseconds since the epoch.
        timeframe: A larger bar's row is that of the last 15 s bar in it: the state at its end.

    Nulls: where a column has NaN.
    """
    grid = DayGrid(start_us, timeframe)
    ratio = timeframe.us // BASE_TIMEFRAME.us
    values = [
        as_series(np.ascontiguousarray(columns[entry.name][ratio - 1 :: ratio]), entry)
        for entry in OPTION_SURFACE
    ]
    closes = pl.Series(grid.closes).cast(TIMESTAMP)
    identity: dict[str, pl.Expr | pl.Series] = {
        "venue": pl.lit(venue.value),
        "underlying": pl.lit(underlying),
        "timeframe": pl.lit(timeframe.value),
        "ts_open": pl.Series(grid.opens).cast(TIMESTAMP),
        "ts_close": closes,
        "available_at": closes + pl.duration(microseconds=WATERMARK_US),
        "kernel_version": pl.lit(SURFACE_VERSION),
    }
    return pl.DataFrame(values).with_columns(**identity).select(OPTIONS_SURFACE_TABLE.names)
