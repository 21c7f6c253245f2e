"""A comparison's memory hangs on a few instruments and trades, not on how many there were."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES, live_ticks
from tickhandler_dagster.market.paths import (
    CandleFile,
    LiveCandlesFile,
    LiveTicksFile,
    RawTickFile,
)
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
START = dt.datetime.combine(DAY, dt.time(), dt.UTC)
VENUE = VenueId.BINANCE_FUTURES
BARS = 1_440
FEW, MANY = 4, 20
AT_ONCE = 20_000
TRADES = 16 * AT_ONCE
MB = 1_000_000

PROGRAM = """
import sys, threading
from pathlib import Path
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.live_evidence import opened_live_trades
from tickhandler_dagster.pipeline.live_parity import compare_live_day

CELL = VenueDay.parse("2024-08-08|binance-futures")

def held():
    # Pages of mapped files come back from the disk; what has to be held is anonymous memory.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

def compared(lake):
    parity = compare_live_day(CELL, lake=lake)
    return len(parity.instruments), parity.bars, parity.equal_rate

def matched(lake):
    with opened_live_trades(lake, CELL, at_once=int(sys.argv[3])) as trades:
        found = trades.evidence("BINANCE-FUTURES:PERPETUAL:C000-USDT", Timeframe.M1)
    return found["lost"].sum(), found["late"].sum(), found["revised"].sum()

lake, found = Lake(LocalObjectStore(Path(sys.argv[1]))), []
work = {"compared": compared, "matched": matched}[sys.argv[2]]
before, seen, stop = held(), [], threading.Event()

def watch():
    while not stop.wait(0.005):
        seen.append(held())

watcher = threading.Thread(target=watch)
watcher.start()
try:
    found = work(lake)
finally:
    stop.set()
    watcher.join()
print(*found, max(seen) - before)
"""


def held(root, work, at_once=AT_ONCE):
    """What the work found, and the bytes that it held at most."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), work, str(at_once)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *found, rise = done.stdout.split()
    return found, int(rise)


def day_of_bars():
    """A day of bars with a number of its own in nearly every cell."""
    random = np.random.default_rng(1)
    facts = {
        "date": DAY,
        "venue": VENUE.value,
        "timeframe": Timeframe.M1.value,
        "status": BarStatus.TRADED.value,
        "kernel_version": "1",
        "gap_ms": 0.0,
        "coverage": 1.0,
    }
    opens = pl.datetime_range(
        START, interval="1m", end=START + dt.timedelta(days=1), closed="left", eager=True
    )
    columns = {}
    for name, dtype in CANDLE_TABLE.polars_schema.items():
        if name in facts or dtype == pl.String():
            columns[name] = pl.Series([facts.get(name, "x")]).new_from_index(0, BARS)
        elif dtype.is_nested():
            columns[name] = pl.Series([["a"]]).new_from_index(0, BARS)
        elif dtype.is_temporal():
            columns[name] = opens
        elif dtype.is_float():
            columns[name] = pl.Series(random.random(BARS))
        else:
            columns[name] = pl.Series([1]).new_from_index(0, BARS)
    frame = pl.DataFrame(columns).cast(CANDLE_TABLE.polars_schema)
    return frame.with_columns(ts_close=pl.col("ts_open") + pl.duration(minutes=1))


def fill_bars(lake, instruments):
    """Candles and live bars, of each a provisional publication and a complete one."""
    bars = day_of_bars()
    keys = [f"BINANCE-FUTURES:PERPETUAL:C{number:03}-USDT" for number in range(instruments)]
    for key in keys:
        own = bars.with_columns(instrument_key=pl.lit(key))
        lake.write_table(CandleFile(DAY, Timeframe.M1, key), own, CANDLE_TABLE)
    stages = pl.DataFrame(
        {"revision": [1, 2], "stage": ["provisional", "complete"], "rows_after_first": [0, 0]},
        schema_overrides={"revision": pl.Int32},
    )
    published = stages.join(pl.DataFrame({"instrument_key": keys}), how="cross")
    for hour in range(24):
        part = bars.slice(hour * 60, 60).drop("instrument_key")
        rows = part.join(published, how="cross").with_columns(published_at=pl.col("ts_close"))
        item = LiveCandlesFile(DAY, Timeframe.M1, VENUE, f"{hour:02}", "bars_000001")
        lake.write_table(item, rows.select(LIVE_CANDLE_TABLE.names), LIVE_CANDLE_TABLE)


def fill_trades(lake, rows):
    """A day of one instrument's trades: one of a hundred never came, one of a hundred came late."""
    number = pl.int_range(rows, eager=True)
    at = START + dt.timedelta(seconds=1)
    step_us = 86_000_000_000 // rows
    table = RAW_TABLES[DataType.TRADES].stored
    late_us = pl.when(number % 100 == 7).then(90_000_000_000 - number * step_us).otherwise(9_000)
    vendor = pl.select(
        timestamp=at + pl.duration(microseconds=number * step_us),
        local_timestamp=at + pl.duration(microseconds=number * step_us + 9_000),
        id=pl.format("{}", number + 10**9),
        side=pl.lit("buy"),
        price=100.0 + number % 977,
        amount=1.0 + number % 13,
    ).select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items())
    key = "BINANCE-FUTURES:PERPETUAL:C000-USDT"
    lake.write_table(RawTickFile(DAY, DataType.TRADES, key), vendor, table)
    arrival = pl.col("timestamp") + pl.duration(microseconds=pl.lit(pl.select(late_us).to_series()))
    live = vendor.with_columns(local_timestamp=arrival, symbol=pl.lit("C000USDT"))
    live = live.filter(pl.lit(number % 100 != 3))
    for first in range(0, live.height, AT_ONCE // 4):
        part = live.slice(first, AT_ONCE // 4)
        ticks = live_ticks(
            part, VENUE, DataType.TRADES, keys={"C000USDT": key}, first_sequence=first
        )
        item = LiveTicksFile(DAY, DataType.TRADES, VENUE, "00", first)
        lake.write_table(item, ticks, LIVE_TICK_TABLES[DataType.TRADES])


def told(rises):
    return {count: f"{rise / MB:.0f} MB" for count, rise in rises.items()}


def test_five_times_the_instruments_do_not_need_their_memory(tmp_path):
    rises = {}
    for instruments in (FEW, MANY):
        root = tmp_path / str(instruments)
        fill_bars(Lake(LocalObjectStore(root)), instruments)
        found, rises[instruments] = held(root, "compared")
        assert found == [str(instruments), str(instruments * BARS), "1.0"]
    one = BARS * 8 * len(LIVE_CANDLE_TABLE.names)
    assert rises[MANY] - rises[FEW] < (MANY - FEW) * one, told(rises)


def test_trades_are_matched_a_part_at_a_time_and_found_to_be_the_same(tmp_path):
    fill_trades(Lake(LocalObjectStore(tmp_path)), TRADES)
    rises = {}
    for at_once in (AT_ONCE, TRADES):
        found, rises[at_once] = held(tmp_path, "matched", at_once)
        assert found == [str(TRADES // 100), str(TRADES // 100), "0"]
    assert rises[AT_ONCE] < rises[TRADES] / 2, told(rises)
