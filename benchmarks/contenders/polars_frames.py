"""polars as one would write it: a streaming sink, one `group_by_dynamic` per timeframe.

Ingest streams and checks nothing; it accepts a file that is cut in its last row. Bars have the
aggregates and exact quantiles of `pandas_frames.py`, from ticks that are taken to be in order,
without empty bars.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from job import Job
from timeframes import COMPARED, SECONDS

LIBRARY = "polars"

_TIMES = ("timestamp", "local_timestamp")
_SCHEMA = {
    "exchange": pl.Categorical(),
    "symbol": pl.Categorical(),
    "timestamp": pl.Int64(),
    "local_timestamp": pl.Int64(),
    "id": pl.String(),
    "side": pl.Enum(["buy", "sell", "unknown"]),
    "price": pl.Float64(),
    "amount": pl.Float64(),
}


def ingest(job: Job) -> None:
    """CSV to Parquet in one lazy query."""
    rows = pl.scan_csv(job.source, schema=_SCHEMA)
    rows.with_columns(pl.col(_TIMES).cast(pl.Datetime("us", "UTC"))).sink_parquet(
        result_ingest(job), compression="zstd", compression_level=3
    )


def result_ingest(job: Job) -> Path:
    """The ticks."""
    return job.folder / "ticks.parquet"


def candles(job: Job) -> None:
    """All timeframes, each from the ticks."""
    ticks = _prepared(pl.scan_parquet(job.ticks)).collect()
    for name, seconds in SECONDS.items():
        _bars(ticks, seconds).write_parquet(job.folder / f"{name}.parquet", compression="zstd")


def result_candles(job: Job) -> Path:
    """The bars of one minute."""
    return job.folder / f"{COMPARED}.parquet"


def _prepared(ticks: pl.LazyFrame) -> pl.LazyFrame:
    side, amount, time = pl.col("side"), pl.col("amount"), pl.col("timestamp")
    signed = pl.when(side == "buy").then(1.0).when(side == "sell").then(-1.0).otherwise(0.0)
    return ticks.select(
        time.set_sorted(),
        "local_timestamp",
        "price",
        "amount",
        notional=pl.col("price") * amount,
        buy=pl.when(side == "buy").then(amount).otherwise(0.0),
        sell=pl.when(side == "sell").then(amount).otherwise(0.0),
        unknown=pl.when(side == "unknown").then(amount).otherwise(0.0),
        signed=amount * signed,
        sweep=(time.diff().dt.total_microseconds() != 0) | (side != side.shift()),
        gap_ms=time.diff().dt.total_microseconds() / 1_000,
    )


def _bars(ticks: pl.DataFrame, seconds: int) -> pl.DataFrame:
    running = pl.col("signed").cum_sum()
    return (
        ticks.group_by_dynamic("timestamp", every=f"{seconds}s")
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            open_time=pl.col("timestamp").first(),
            close_time=pl.col("timestamp").last(),
            last_arrival=pl.col("local_timestamp").max(),
            trade_count=pl.len(),
            volume=pl.col("amount").sum(),
            notional=pl.col("notional").sum(),
            buy_volume_sum=pl.col("buy").sum(),
            sell_volume_sum=pl.col("sell").sum(),
            unknown_volume_sum=pl.col("unknown").sum(),
            delta=pl.col("signed").sum(),
            delta_max=running.max().clip(lower_bound=0),
            delta_min=running.min().clip(upper_bound=0),
            sweep_count=pl.col("sweep").sum(),
            size_std=pl.col("amount").std(),
            size_max=pl.col("amount").max(),
            interarrival_count=pl.col("gap_ms").count(),
            interarrival_sum_ms=pl.col("gap_ms").sum(),
            interarrival_std_ms=pl.col("gap_ms").std(),
            size_p50=pl.col("amount").quantile(0.5, "linear"),
            size_p90=pl.col("amount").quantile(0.9, "linear"),
            size_p99=pl.col("amount").quantile(0.99, "linear"),
            price_vwap=pl.col("notional").sum() / pl.col("amount").sum(),
        )
        .rename({"timestamp": "ts_open"})
    )
