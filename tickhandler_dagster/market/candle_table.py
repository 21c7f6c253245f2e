"""The candle table: one row per bar, the same columns for every timeframe.

What belongs here: what a bar is, apart from its features, and what holds between columns. Features
come from the registry (`features/`); how the values come to be is `bars/`.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.features.registry import DELAYS_US, FEATURES, delayed_name
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

CLOCKS = ("exchange", "local")

_F64 = pl.Float64()
_STRING = pl.String()


def _moment(name: str, description: str) -> Column:
    return Column(name, TIMESTAMP, description, unit="UTC")


_IDENTITY = (
    Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
    Column("venue", _STRING, "Tardis exchange id.", bounds=Bounds(one_of=tuple(VenueId))),
    Column("timeframe", _STRING, "Length of the bar.", bounds=Bounds(one_of=tuple(Timeframe))),
    _moment("ts_open", "First moment of the bar."),
    _moment("ts_close", "First moment after the bar."),
    _moment(
        "available_at",
        "When the bar could first be known: its end or its last arrival plus 200 ms. Join on this.",
    ),
    Column(
        "status", _STRING, "What the bar's content means.", bounds=Bounds(one_of=tuple(BarStatus))
    ),
    Column("is_final", pl.Boolean(), "No file that is still to come can change the bar."),
    Column(
        "clock",
        _STRING,
        "Clock the trades are cut by: local where the venue gives no exchange time.",
        bounds=Bounds(one_of=CLOCKS),
    ),
    Column(
        "bar_version",
        pl.Int32(),
        "1 when first published, one more each time a later run changes a value of the bar.",
        bounds=Bounds(ge=1),
    ),
    Column("kernel_version", _STRING, "Version of the computation."),
    Column("source_sha256", pl.List(_STRING), "Hashes of the vendor's files the bar is cut from."),
    Column(
        "gap_ms",
        _F64,
        "Time inside the bar in which trades are missing: reported by the vendor, or found.",
        unit="ms",
        bounds=Bounds(ge=0),
    ),
    Column(
        "coverage",
        _F64,
        "Share of the bar that was observed: listed, ingested and outside known gaps.",
        bounds=Bounds(ge=0, le=1),
    ),
    *(
        _moment(
            delayed_name(delay),
            f"When the columns that look {delay // 1_000_000} s past the bar's end could first be "
            "known. Join on this for them.",
        )
        for delay in DELAYS_US
    ),
    Column(
        "has_memory",
        pl.Boolean(),
        "The bars of the day before were there: without them what remembers days is null or short.",
    ),
    Column(
        "book_source",
        _STRING,
        "Data type the book levels come from; null where none is in the lake.",
        is_nullable=True,
    ),
    Column(
        "quote_source",
        _STRING,
        "Data type the best quotes come from; null where none is in the lake.",
        is_nullable=True,
    ),
)

_ROUNDING = 1e-9

_RULES = (
    RowRule("a bar ends after it opens", pl.col("ts_close") > pl.col("ts_open")),
    RowRule("a bar is not available before its end", pl.col("available_at") >= pl.col("ts_close")),
    RowRule(
        "open and close lie between low and high",
        pl.col("open").is_between("low", "high") & pl.col("close").is_between("low", "high"),
    ),
    RowRule(
        "the average price lies between low and high",
        (pl.col("price_vwap") >= pl.col("low") * (1 - _ROUNDING))
        & (pl.col("price_vwap") <= pl.col("high") * (1 + _ROUNDING)),
    ),
    RowRule(
        "first and last trade lie in the bar",
        (pl.col("open_time") >= pl.col("ts_open"))
        & (pl.col("open_time") <= pl.col("close_time"))
        & (pl.col("close_time") < pl.col("ts_close")),
    ),
    RowRule(
        "a bar is traded exactly where it has trades and prices",
        (pl.col("status") == BarStatus.TRADED)
        == ((pl.col("trade_count").fill_null(0) > 0) & pl.col("close").is_not_null()),
    ),
    RowRule(
        "buy, sell and unknown volume make up the volume",
        (
            pl.col("buy_volume_sum")
            + pl.col("sell_volume_sum")
            + pl.col("unknown_volume_sum")
            - pl.col("volume")
        ).abs()
        <= _ROUNDING * pl.col("volume"),
    ),
)

CANDLE_TABLE = Table(
    name="candles",
    grain="one bar of one instrument",
    key=("instrument_key", "timeframe", "ts_open"),
    columns=(*_IDENTITY, *(feature.column for feature in FEATURES.values())),
    rules=_RULES,
    sorted_by="ts_open",
    has_computed_numbers=True,
)

PROVENANCE = ("bar_version", "is_final", "kernel_version", "source_sha256")
"""How a bar came to be: a change of these columns alone makes no new version of the bar."""
