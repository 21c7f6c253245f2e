"""pandas as one would write it: one `read_csv`, one resample per timeframe.

Ingest reads and writes the columns without any check, with the types pandas finds, ids apart, which
are texts: this is the pandas the targets were set against. Bars have the aggregates that merge, the
sums of both clocks and the three exact quantiles of `candle_table.py`, on the same dense grid, from
ticks that are taken to be in order; no status, provenance, versions or conservation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet  # noqa: F401  (pandas would load it inside the measured time)
from job import Job
from timeframes import COMPARED, SECONDS

LIBRARY = "pandas"

_QUANTILES = {"size_p50": 0.5, "size_p90": 0.9, "size_p99": 0.99}
_COLUMNS = ["timestamp", "local_timestamp", "side", "price", "amount"]


def ingest(job: Job) -> None:
    """CSV to Parquet through one frame in memory."""
    frame = pd.read_csv(job.source, dtype={"id": "str"})
    for name in ("timestamp", "local_timestamp"):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    frame.to_parquet(result_ingest(job), compression="zstd", compression_level=3, index=False)


def result_ingest(job: Job) -> Path:
    """The ticks."""
    return job.folder / "ticks.parquet"


def candles(job: Job) -> None:
    """All timeframes, each from the ticks."""
    ticks = _prepared(pd.read_parquet(job.ticks, columns=_COLUMNS))
    for name, seconds in SECONDS.items():
        _bars(ticks, seconds).to_parquet(
            job.folder / f"{name}.parquet", compression="zstd", index=False
        )


def result_candles(job: Job) -> Path:
    """The bars of one minute."""
    return job.folder / f"{COMPARED}.parquet"


def _prepared(ticks: pd.DataFrame) -> pd.DataFrame:
    side, amount = ticks["side"], ticks["amount"]
    gap_ms = ticks["timestamp"].diff().dt.total_seconds() * 1_000
    same = (ticks["timestamp"] == ticks["timestamp"].shift()) & (side == side.shift())
    return ticks.assign(
        notional=ticks["price"] * amount,
        buy=amount.where(side == "buy", 0.0),
        sell=amount.where(side == "sell", 0.0),
        unknown=amount.where(side == "unknown", 0.0),
        signed=amount * np.select([side == "buy", side == "sell"], [1.0, -1.0], 0.0),
        sweep=~same,
        gap_ms=gap_ms,
        exchange_time=ticks["timestamp"],
    ).set_index("timestamp")


def _bars(ticks: pd.DataFrame, seconds: int) -> pd.DataFrame:
    width = f"{seconds}s"
    running = ticks["signed"].groupby(ticks.index.floor(width)).cumsum()
    bars = ticks.assign(running=running).resample(width)
    merged = bars.agg(
        open=("price", "first"),
        high=("price", "max"),
        low=("price", "min"),
        close=("price", "last"),
        open_time=("exchange_time", "first"),
        close_time=("exchange_time", "last"),
        last_arrival=("local_timestamp", "max"),
        trade_count=("price", "count"),
        volume=("amount", "sum"),
        notional=("notional", "sum"),
        buy_volume_sum=("buy", "sum"),
        sell_volume_sum=("sell", "sum"),
        unknown_volume_sum=("unknown", "sum"),
        delta=("signed", "sum"),
        delta_max=("running", "max"),
        delta_min=("running", "min"),
        sweep_count=("sweep", "sum"),
        size_std=("amount", "std"),
        size_max=("amount", "max"),
        interarrival_count=("gap_ms", "count"),
        interarrival_sum_ms=("gap_ms", "sum"),
        interarrival_std_ms=("gap_ms", "std"),
    )
    quantiles = bars["amount"].quantile(list(_QUANTILES.values())).unstack()  # noqa: PD010  (2-level)
    quantiles.columns = list(_QUANTILES)
    joined = merged.join(quantiles)
    joined["price_vwap"] = joined["notional"] / joined["volume"]
    joined["delta_max"] = joined["delta_max"].clip(lower=0)
    joined["delta_min"] = joined["delta_min"].clip(upper=0)
    return joined.rename_axis("ts_open").reset_index()
