"""The candle table: one row per bar, the same columns for every timeframe.

What belongs here: names, types, units, bounds and null rules. How the values come to be is
`bars/`.

Price and size columns are null in a bar without trades; counts and sums are 0 there, and null where
nothing of the bar was observed. Everything that stands on base quantities is null while the
contract's size is unknown.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

CLOCKS = ("exchange", "local")

_I64 = pl.Int64()
_F64 = pl.Float64()
_STRING = pl.String()
_BASE = "base asset"
_QUOTE = "quote asset"
_PRICE = "the venue's price unit"
_SHARE = Bounds(ge=0, le=1)
_BALANCE = Bounds(ge=-1, le=1)


def _moment(name: str, description: str, *, is_nullable: bool = False) -> Column:
    return Column(name, TIMESTAMP, description, unit="UTC", is_nullable=is_nullable)


def _count(name: str, description: str, unit: str = "trades") -> Column:
    return Column(name, _I64, description, unit=unit, is_nullable=True, bounds=Bounds(ge=0))


def _price(name: str, description: str) -> Column:
    return Column(name, _F64, description, unit=_PRICE, is_nullable=True, bounds=Bounds(gt=0))


def _number(
    name: str,
    description: str,
    *,
    unit: str = "",
    bounds: Bounds = Bounds(),  # noqa: B008  (an immutable value)
) -> Column:
    return Column(name, _F64, description, unit=unit, is_nullable=True, bounds=bounds)


def _amount(name: str, description: str, unit: str = _BASE) -> Column:
    return _number(name, description, unit=unit, bounds=Bounds(ge=0))


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
        "Time inside the bar for which the vendor reports a gap.",
        unit="ms",
        bounds=Bounds(ge=0),
    ),
    Column(
        "coverage",
        _F64,
        "Share of the bar that was observed: listed, ingested and outside reported gaps.",
        bounds=_SHARE,
    ),
    _count("late_count", "Trades that arrived more than 200 ms after the bar's end."),
)

_PRICES = (
    _price("open", "Price of the first trade."),
    _price("high", "Highest price."),
    _price("low", "Lowest price."),
    _price("close", "Price of the last trade."),
    _moment("open_time", "Exchange time of the first trade.", is_nullable=True),
    _moment("close_time", "Exchange time of the last trade.", is_nullable=True),
)

_FLOWS = (
    _count("trade_count", "Number of trades; a row is a maker's fill."),
    _amount("volume", "Base asset traded."),
    _amount("notional", "Quote asset traded.", _QUOTE),
    _amount(
        "amount_sum",
        "Sum of the venue's amounts, also where their unit is unknown.",
        "the venue's amount unit (coins, contracts or quote currency)",
    ),
    _number(
        "price_vwap",
        "notional / volume: the mean price paid, weighted by base asset.",
        unit=_PRICE,
        bounds=Bounds(gt=0),
    ),
    _amount("buy_volume_sum", "Volume of trades whose taker bought."),
    _amount("sell_volume_sum", "Volume of trades whose taker sold."),
    _amount("unknown_volume_sum", "Volume of trades whose taker's side the venue does not give."),
    _number("unknown_side_share", "unknown_volume_sum / volume.", bounds=_SHARE),
    _number("trade_flow_imbalance", "(buy - sell) / (buy + sell) volume.", bounds=_BALANCE),
    _number("delta", "Buy volume minus sell volume.", unit=_BASE),
    _number("delta_max", "Highest running delta, from 0 on.", unit=_BASE, bounds=Bounds(ge=0)),
    _number("delta_min", "Lowest running delta, from 0 on.", unit=_BASE, bounds=Bounds(le=0)),
    _count(
        "sweep_count",
        "Groups of consecutive trades of one exchange time and side: about one taker's order each.",
        "sweeps",
    ),
    _amount("sweep_size_avg", "volume / sweep_count."),
)

_SIZES = (
    _amount("size_avg", "Mean trade size."),
    _amount("size_std", "Standard deviation of trade size (divisor n); from 2 trades on."),
    _amount("size_p50", "Median trade size, from the trades; does not merge."),
    _amount("size_p90", "90 % quantile of trade size, from 10 trades on; does not merge."),
    _amount("size_p99", "99 % quantile of trade size, from 100 trades on; does not merge."),
    _amount("size_max", "Largest trade."),
    _number(
        "size_hhi",
        "Concentration of volume in few trades: sum of squared shares; 1 = one trade.",
        bounds=Bounds(gt=0, le=1 + 1e-9),
    ),
)

_ARRIVALS = (
    _number(
        "trade_intensity_per_s",
        "Trades per second of observed time.",
        unit="trades/s",
        bounds=Bounds(ge=0),
    ),
    _number(
        "interarrival_mean_ms",
        "Mean time from the trade before, also across the bar's start; from 2 times on.",
        unit="ms",
        bounds=Bounds(ge=0),
    ),
    _number(
        "interarrival_cv",
        "Standard deviation / mean of those times; from 2 times on, null where all are 0.",
        bounds=Bounds(ge=0),
    ),
    _number(
        "burstiness",
        "(deviation - mean) / (deviation + mean) of those times; from 10 times on.",
        bounds=_BALANCE,
    ),
    _number(
        "time_since_last_trade_ms",
        "From the last trade at or before the bar's end, in whichever bar, to that end.",
        unit="ms",
        bounds=Bounds(ge=0),
    ),
    _number("vwap_close_gap", "ln(close / price_vwap)."),
)

_SUFFICIENT = (
    _amount("size_m2", "Sum of squared distances of trade sizes from their mean.", "base asset²"),
    _count("interarrival_count", "Trades with a known trade before them.", "times"),
    _count("interarrival_sum_us", "Sum of times from the trade before.", "µs"),
    _amount("interarrival_m2_ms2", "Sum of squared distances of them from their mean.", "ms²"),
    _moment("last_arrival", "Latest arrival of a trade of the bar.", is_nullable=True),
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
    columns=(*_IDENTITY, *_PRICES, *_FLOWS, *_SIZES, *_ARRIVALS, *_SUFFICIENT),
    rules=_RULES,
    sorted_by="ts_open",
)

PROVENANCE = ("bar_version", "is_final", "kernel_version", "source_sha256")
"""How a bar came to be: a change of these columns alone makes no new version of the bar."""
