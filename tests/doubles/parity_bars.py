"""Bars of one instrument by hand, live and the batch's, for what compares them.

What belongs here: frames with a value in every column and ways to make one side differ. What does
not: what has to be found (`tests/property/test_live_parity_*.py`).
"""

from __future__ import annotations

import datetime as dt
import functools

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE, LiveStage
from tickhandler_dagster.market.live.trade_evidence import EVIDENCE_SCHEMA
from tickhandler_dagster.market.timeframes import Timeframe

CELL = VenueDay.parse("2024-08-08|binance")
START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
BARS = 12


def opens(number, timeframe=Timeframe.S15):
    return START + dt.timedelta(microseconds=number * timeframe.us)


@functools.cache
def batch_bars(count=BARS, timeframe=Timeframe.S15):
    """Bars with a value in every column; what the values mean does not matter here."""
    length = dt.timedelta(microseconds=timeframe.us)
    facts = {
        "instrument_key": KEY,
        "venue": "binance",
        "timeframe": timeframe.value,
        "status": BarStatus.TRADED.value,
        "clock": "exchange",
        "kernel_version": "1",
        "gap_ms": 0.0,
        "coverage": 1.0,
        "has_memory": True,
        "book_source": "book_snapshot_5",
        "quote_source": "book_snapshot_5",
        "source_sha256": ["a"],
        "is_final": True,
        "bar_version": 1,
    }
    rows = [
        {
            name: facts.get(name, _value(dtype, number))
            for name, dtype in CANDLE_TABLE.polars_schema.items()
        }
        | {"ts_open": START + number * length, "ts_close": START + (number + 1) * length}
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=CANDLE_TABLE.polars_schema)


def _value(dtype, number):
    if isinstance(dtype, pl.Datetime):
        return START + dt.timedelta(seconds=15 * number + 14)
    if dtype == pl.Date():
        return START.date()
    if dtype == pl.Boolean():
        return True
    return "x" if dtype == pl.String() else number + 1


def live_bars(batch, *, stage=LiveStage.COMPLETE, revision=2):
    return batch.with_columns(
        pl.lit(revision, dtype=pl.Int32).alias("revision"),
        pl.lit(stage.value).alias("stage"),
        pl.lit(0, dtype=pl.Int64).alias("rows_after_first"),
        pl.col("ts_close").alias("published_at"),
    ).select(LIVE_CANDLE_TABLE.names)


def changed(bars, number, **columns):
    """The bars with other values in one of them."""
    here = pl.col("ts_open") == bars["ts_open"][number]
    return bars.with_columns(
        pl.when(here).then(pl.lit(value, dtype=bars.schema[name])).otherwise(name).alias(name)
        for name, value in columns.items()
    )


def bumped(bars, number, *names):
    """The bars with one value of each column moved away from what it was."""
    here = pl.col("ts_open") == bars["ts_open"][number]
    return bars.with_columns(pl.when(here).then(None).otherwise(name).alias(name) for name in names)


def causes(comparison):
    return {
        (row["ts_open"], row["cause"]): row["fields"]
        for row in comparison.differences.iter_rows(named=True)
    }


def evidence_row(number, **counts):
    row = {"ts_open": opens(number), "lost": 0, "late": 0, "revised": 0, "moved": 0}
    return pl.DataFrame([row | counts], schema=EVIDENCE_SCHEMA)
