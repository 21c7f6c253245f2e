"""A series of bars as mid-frequency features read it: valid or not, carried prices, log returns.

What belongs here: the columns that expressions stand on, made once per instrument and timeframe
from candles of consecutive days on a dense grid. What does not: reading candles (`pipeline`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

CANDLE_COLUMNS = (
    "ts_open",
    "ts_close",
    "available_at",
    "status",
    "is_final",
    "gap_ms",
    "open",
    "high",
    "low",
    "close",
    "trade_count",
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
    "price_vwap",
    "trade_flow_imbalance",
    "mid_price",
    "spread_tw_bps",
    "effective_spread_bps",
    "amihud",
    "kyle_lambda",
    "realized_variance",
    "funding_rate",
    "funding_settled",
    "funding_annualised",
    "next_funding_time",
    "open_interest",
    "perp_premium",
    "futures_basis_annualised",
    "mark_price",
    "index_price",
    "liquidation_notional",
    "atm_iv_30d",
    "term_slope",
    "risk_reversal_25d_30d",
    "atm_mark_iv",
    "skew_25d_put_call_ratio",
)
"""What is read of candles."""

USED_STATUSES = ("traded", "no_trade")


def bar_series(
    candles: pl.DataFrame, ts_open: pl.Series, *, allow_gaps: bool = False
) -> pl.DataFrame:
    """Candles on a dense grid with what expressions stand on.

    Args:
        candles: `CANDLE_COLUMNS` of consecutive days, in time order; days and bars may be missing.
        ts_open: Opens of every bar of the span, in time order: a bar that is missing is a gap.
        allow_gaps: Bars that touch a gap count like bars without trades.

    Shape: one row per element of `ts_open`. Beside the candles' columns:
        `is_valid` the bar is there, final, observed and without a reported gap in it (or any of
        these gaps, where gaps are allowed);
        `is_traded` it has a trade; `price` its close, else the last close before it; `bar_open`,
        `bar_high`, `bar_low` of the trades, else `price`; `log_return` of `price`, 0 without
        trades, null where either end is unknown; `base_volume`, `quote_volume`, `buys`, `sells`,
        `trades` 0 without trades; `valid_run` and `traded_run` how many bars in a row up to this
        one are valid (and traded).
    """
    bars = pl.DataFrame({"ts_open": ts_open}).join(
        candles, on="ts_open", how="left", maintain_order="left"
    )
    # A bar that traded beside a gap has a status of trades: what it missed nobody knows.
    is_whole = pl.col("status").is_in(USED_STATUSES) & (pl.col("gap_ms").fill_null(0) == 0)
    used = pl.lit(value=True) if allow_gaps else is_whole
    return (
        bars.with_columns(
            is_valid=pl.col("status").is_not_null()
            & pl.col("is_final").fill_null(value=False)
            & used.fill_null(value=False),
            is_traded=(pl.col("trade_count") > 0).fill_null(value=False),
        )
        .with_columns(price=pl.col("close").forward_fill())
        .with_columns(
            bar_open=pl.col("open").fill_null(pl.col("price")),
            bar_high=pl.col("high").fill_null(pl.col("price")),
            bar_low=pl.col("low").fill_null(pl.col("price")),
            log_return=(pl.col("price") / pl.col("price").shift(1)).log(),
            base_volume=_flow("volume"),
            quote_volume=_flow("notional"),
            buys=_flow("buy_volume_sum"),
            sells=_flow("sell_volume_sum"),
            trades=_flow("trade_count"),
            valid_run=_run(pl.col("is_valid")),
            traded_run=_run(pl.col("is_valid") & pl.col("is_traded")),
        )
    )


def _flow(name: str) -> pl.Expr:
    """A sum of the bar; an observed bar without trades has none, whatever the contract's unit."""
    return pl.when(pl.col("is_valid") & ~pl.col("is_traded")).then(0.0).otherwise(pl.col(name))


def _run(holds: pl.Expr) -> pl.Expr:
    """How many rows in a row up to this one it holds."""
    position = pl.int_range(1, pl.len() + 1)
    last_break = pl.when(~holds).then(position).otherwise(0).cum_max()
    return (position - last_break).cast(pl.Int64)


def dense_opens(start_us: int, end_us: int, width_us: int) -> pl.Series:
    """Opens of every bar of a span, as times."""
    opens: Sequence[int] = range(start_us, end_us, width_us)
    return pl.Series("ts_open", opens, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
