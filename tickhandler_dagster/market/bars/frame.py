"""Bars as rows of the candle table: what each family found, on the grid, with status and sources.

What belongs here: what follows from other columns, and the form of the table. What does not: the
stored statistics on their grid (`stacked.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import polars as pl

from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.facts import KERNEL_VERSION, DayFacts
from tickhandler_dagster.market.bars.stacked import stacked
from tickhandler_dagster.market.bars.stacked_grid import Block, blocks_of
from tickhandler_dagster.market.bars.status import bar_status, first_known
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.features.registry import DELAYS_US, delayed_name, with_derived
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.timeframes import Timeframe


def candle_frames(facts: DayFacts, parts: DayParts) -> dict[Timeframe, pl.DataFrame]:
    """An instrument's bars as frames of `CANDLE_TABLE`, version 1, smallest timeframe first."""
    return candle_frames_of_many([(facts, parts)])


def candle_frames_of_many(
    bars: Sequence[tuple[DayFacts, DayParts]],
) -> dict[Timeframe, pl.DataFrame]:
    """The bars of several instruments as frames of `CANDLE_TABLE`, version 1.

    All instruments and timeframes go through as one frame: hundreds of columns have a fixed price,
    which small frames would each pay. The rows of an instrument are what `candle_frames` gives of
    it alone, to the last bit.

    Args:
        bars: Each instrument's day or window, and what its bars are put together from.

    Shape: per timeframe, smallest first, the instruments in the order given, each by `ts_open`.
    """
    blocks = blocks_of(bars)
    if not blocks:
        return {}
    rows = _with_surfaces(stacked(blocks), blocks)
    rows = rows.with_columns(_surface_columns(rows))
    rows = (
        with_derived(_never_one_row(rows))
        .with_columns(_of_the_bar())
        .with_columns(_delayed_arrivals())
        .select(pl.col(name).cast(dtype) for name, dtype in CANDLE_TABLE.polars_schema.items())
    )
    return {timeframe: rows.slice(first, end - first) for timeframe, first, end in _extents(blocks)}


def _extents(blocks: Sequence[Block]) -> list[tuple[Timeframe, int, int]]:
    """First row of each timeframe and the one after its last."""
    runs = itertools.groupby(blocks, key=lambda block: block.timeframe)
    return [
        (timeframe, run[0].start, run[-1].end) for timeframe, run in ((t, list(r)) for t, r in runs)
    ]


def _never_one_row(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars and a row of which all but the timeframe is null, in one piece.

    Polars divides a piece of one row by a number, and a longer one by multiplying with the
    reciprocal, so that a 24h bar alone would differ in its last bit from the same bar beside
    others. A second row like the first is not enough: equal rows are kept as one.
    """
    other = bars.select("timeframe").head(1)
    return pl.concat([bars, other], how="diagonal", rechunk=True)


def _with_surfaces(bars: pl.DataFrame, blocks: Sequence[Block]) -> pl.DataFrame:
    surfaces = [
        surface.with_columns(block=pl.lit(place, pl.Int64))
        for place, block in enumerate(blocks)
        if (surface := block.parts.surface.get(block.timeframe)) is not None
    ]
    if not surfaces:
        return bars
    return bars.join(
        pl.concat(surfaces, how="diagonal"),
        on=["block", "ts_open"],
        how="left",
        maintain_order="left",
    )


def _surface_columns(bars: pl.DataFrame) -> list[pl.Expr]:
    """The option surface's columns, null where there is none."""
    return [
        pl.col(feature.name).cast(feature.dtype)
        if feature.name in bars.columns
        else pl.lit(None, feature.dtype).alias(feature.name)
        for feature in SURFACE
    ]


def _of_the_bar() -> list[pl.Expr]:
    return [
        pl.lit(KERNEL_VERSION).alias("kernel_version"),
        pl.lit(1).alias("bar_version"),
        bar_status().alias("status"),
        first_known("ts_close", "last_arrival", "previous_arrival", "arrival_0").alias(
            "available_at"
        ),
        (pl.col("gap_us") / 1_000).alias("gap_ms"),
        (pl.col("covered_us") / _width_us()).alias("coverage"),
    ]


def _width_us() -> pl.Expr:
    return (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds()


def _delayed_arrivals() -> list[pl.Expr]:
    """When the columns that look past the bar's end could first be known, per horizon."""
    return [
        pl.max_horizontal(
            "available_at",
            first_known(pl.col("ts_close") + pl.duration(microseconds=delay), f"arrival_{delay}"),
        ).alias(delayed_name(delay))
        for delay in DELAYS_US
    ]
