"""The table of information-driven bars: one row per bar, the same columns for every kind.

What belongs here: identity and rules. What a bar measures of its trades has the columns of the
candle table, taken from there. How the bars come to be is `bars/information.py`.

There are no empty bars, so no column is null for want of trades. Columns that stand on base
quantities are null while the contract's size is unknown; there are only tick bars then.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind
from tickhandler_dagster.market.candle_table import CANDLE_TABLE, CLOCKS
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()

_IDENTITY = (
    Column("date", pl.Date(), "UTC day of the bar's trades, by exchange time."),
    Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
    Column("venue", _STRING, "Tardis exchange id.", bounds=Bounds(one_of=tuple(VenueId))),
    Column(
        "kind",
        _STRING,
        "What fills a bar: a number of trades, of base asset or of quote asset.",
        bounds=Bounds(one_of=tuple(BarKind)),
    ),
    Column(
        "bar_number",
        pl.Int64(),
        "Place of the bar in its day, from 1.",
        unit="bars",
        bounds=Bounds(ge=1),
    ),
    Column(
        "ts_open",
        TIMESTAMP,
        "When the bar before closed; midnight for the first bar of a day.",
        unit="UTC",
    ),
    Column(
        "ts_close",
        TIMESTAMP,
        "Exchange time of the trade that filled the bar, which is in it; the day's end for a bar "
        "that was not filled. Several bars can close at one time.",
        unit="UTC",
    ),
    Column(
        "available_at",
        TIMESTAMP,
        "When the bar could first be known: the latest arrival of the day's trades so far or its "
        "end plus 200 ms, and not before its threshold. Never decreases; join on this.",
        unit="UTC",
    ),
    Column(
        "threshold",
        pl.Float64(),
        f"What fills a bar, fixed for the day: what was traded the day before / {BARS_PER_DAY:,} / "
        "share of that day observed; trades are rounded up.",
        unit="trades, base asset or quote asset, by kind",
        bounds=Bounds(gt=0),
    ),
    Column(
        "is_complete",
        pl.Boolean(),
        "The bar's sum reached the threshold; only the last bar of a day can be without it. A "
        "trade is never split: one worth several thresholds closes one bar.",
    ),
    CANDLE_TABLE.column("is_final"),
    Column(
        "clock",
        _STRING,
        "Clock the trades are ordered by: local where the venue gives no exchange time.",
        bounds=Bounds(one_of=CLOCKS),
    ),
    CANDLE_TABLE.column("bar_version"),
    CANDLE_TABLE.column("kernel_version"),
    Column("source_sha256", pl.List(_STRING), "Hashes of the vendor's files the bar stands on."),
    CANDLE_TABLE.column("gap_ms"),
    Column(
        "duration_ms",
        pl.Float64(),
        "ts_close - ts_open: how long the bar took to fill.",
        unit="ms",
        bounds=Bounds(ge=0),
    ),
)

SHARED_COLUMNS = (
    "open",
    "high",
    "low",
    "close",
    "open_time",
    "close_time",
    "trade_count",
    "volume",
    "notional",
    "amount_sum",
    "price_vwap",
    "buy_volume_sum",
    "sell_volume_sum",
    "unknown_volume_sum",
    "unknown_side_share",
    "trade_flow_imbalance",
    "delta",
    "delta_max",
    "delta_min",
    "sweep_count",
    "sweep_size_avg",
    "size_avg",
    "size_std",
    "size_max",
    "size_hhi",
    "trade_intensity_per_s",
    "interarrival_mean_ms",
    "interarrival_cv",
    "burstiness",
    "vwap_close_gap",
    "size_m2",
    "interarrival_count",
    "interarrival_sum_us",
    "interarrival_m2_ms2",
    "last_arrival",
)
"""Columns that mean here what they mean in a candle, computed by the same functions."""

_ROUNDING = 1e-9
_trade_count = pl.col("trade_count")
_filled = (
    pl.when(pl.col("kind") == BarKind.TICK)
    .then(_trade_count)
    .when(pl.col("kind") == BarKind.VOLUME)
    .then(pl.col("volume"))
    .otherwise(pl.col("notional"))
)
_tolerance = _ROUNDING * pl.col("threshold")

_RULES = (
    RowRule("a bar does not close before it opens", pl.col("ts_close") >= pl.col("ts_open")),
    RowRule("a bar is not available before its end", pl.col("available_at") >= pl.col("ts_close")),
    RowRule("a bar has trades", _trade_count > 0),
    RowRule(
        "open and close lie between low and high",
        pl.col("open").is_between("low", "high") & pl.col("close").is_between("low", "high"),
    ),
    RowRule(
        "first and last trade lie in the bar",
        (pl.col("open_time") >= pl.col("ts_open"))
        & (pl.col("open_time") <= pl.col("close_time"))
        & (pl.col("close_time") <= pl.col("ts_close")),
    ),
    RowRule(
        "a bar is complete exactly where its sum reaches the threshold",
        pl.when("is_complete")
        .then(_filled >= pl.col("threshold") - _tolerance)
        .otherwise(_filled < pl.col("threshold") + _tolerance),
    ),
    RowRule(
        "a complete tick bar has exactly as many trades as its threshold",
        ~pl.col("is_complete")
        | (pl.col("kind") != BarKind.TICK)
        | (_trade_count == pl.col("threshold")),
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

INFORMATION_BAR_TABLE = Table(
    name="information_bars",
    grain="one bar of one instrument and kind",
    key=("instrument_key", "kind", "date", "bar_number"),
    columns=(*_IDENTITY, *(CANDLE_TABLE.column(name) for name in SHARED_COLUMNS)),
    rules=_RULES,
    sorted_by="available_at",
)
