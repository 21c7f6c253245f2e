"""The reader's cost: an hour out of ten million trades, and a month of bars of fifty instruments.

What belongs here: the order of things for `--client`. What does not: the bars (`candle_days.py`).
Each reading is a process of its own, so that neither warms the other; files are in the page cache
for both. Seconds are CPU time, user and system, without loading libraries.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.parquet import ParquetTableWriter
from tickhandler_dagster.client.sources import BAR_COLUMNS
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import CandleFile, CandleManifest, RawTickFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DEFAULT_ROWS = 10_000_000
DEFAULT_DAYS = 31
DEFAULT_INSTRUMENTS = 50

_DAY = dt.date(2024, 8, 8)
_MONTH = dt.date(2024, 8, 1)
_KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
_CHUNK = 1_000_000
_TIMES_LESS = 10
_SECONDS = 1.0

_HOUR_OURS = """
rows = open_market_data(folder).ticks(key, f"{day}T12:00Z", f"{day}T13:00Z")
found = rows.collect().height
"""
_HOUR_PANDAS = """
frame = pd.read_parquet(f"{folder}/{path}")
hour = [pd.Timestamp(f"{day}T{clock}:00Z") for clock in (12, 13)]
found = len(frame[(frame["timestamp"] >= hour[0]) & (frame["timestamp"] < hour[1])])
"""
_MONTH_OURS = """
found = open_market_data(folder).candles(keys, "1m", start, end).collect().height
"""
_MONTH_PANDAS = """
frame = pd.read_parquet(files, columns=columns)
found = len(frame)
"""
_MONTH_DUCKDB = """
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    names = ", ".join(columns)
    query = f"select {names} from read_parquet(?)"
    found = connection.execute(query, [files]).to_arrow_table().num_rows
"""
_TIMED = """
import json, sys, time
{imports}
given = json.loads(sys.stdin.read())
globals().update(given)
cpu, wall = time.process_time(), time.perf_counter()
{work}
print(json.dumps([found, time.process_time() - cpu, time.perf_counter() - wall]))
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading took.

    Attributes:
        rows: Rows it found.
        cpu_s: CPU time, median.
        wall_s: Time that passed, median.
    """

    rows: int
    cpu_s: float
    wall_s: float


def measure(
    rows: int,
    days: int,
    instruments: int,
    *,
    folder: Path,
    repeat: int,
    note: Callable[[str], None],
) -> dict[str, Reading]:
    """Make the files and read them."""
    lake = folder / "client"
    note(f"data: {rows:,} trades")
    path = _put_ticks(lake, rows)
    note(f"data: {days} days of {instruments} instruments")
    keys = _put_bars(lake, days, instruments)
    ours = "from tickhandler_dagster.client import open_market_data"
    given = {
        "folder": str(lake),
        "path": path,
        "key": _KEY,
        "day": str(_DAY),
        "keys": keys,
        "start": str(_MONTH),
        "end": str(_MONTH + dt.timedelta(days=days)),
        "files": [
            str(lake / CandleFile(_MONTH + dt.timedelta(days=number), Timeframe.M1, key).path)
            for key in keys
            for number in range(days)
        ],
        "columns": list(BAR_COLUMNS),
    }
    works = {
        "an hour of ticks, tickhandler": (ours, _HOUR_OURS),
        "the same, pandas over the file": ("import pandas as pd", _HOUR_PANDAS),
        "a month of 1m bars, tickhandler": (ours, _MONTH_OURS),
        "the same, pandas over the files": ("import pandas as pd", _MONTH_PANDAS),
        "the same, DuckDB over the files": ("import duckdb", _MONTH_DUCKDB),
    }
    found: dict[str, list[Reading]] = {name: [] for name in works}
    for number in range(repeat):
        note(f"round {number + 1} of {repeat}")
        for name, (imports, work) in works.items():
            found[name].append(_timed(_TIMED.format(imports=imports, work=work), given))
    return {name: _median(readings) for name, readings in found.items()}


def print_client(console: Console, found: dict[str, Reading]) -> None:
    """The table and the goals."""
    table = Table("reading", "rows", "CPU s", "wall s", title="The reader")
    for name, reading in found.items():
        table.add_row(name, f"{reading.rows:,}", f"{reading.cpu_s:.3f}", f"{reading.wall_s:.3f}")
    console.print(table)
    hour, pandas, month, *peers = found.values()
    ratio = pandas.cpu_s / hour.cpu_s
    next_cpu_s = min(peer.cpu_s for peer in peers)
    for has_met, text in (
        (ratio >= _TIMES_LESS, f"an hour takes {ratio:.1f} times less CPU than pandas (goal 10)"),
        (
            month.wall_s < _SECONDS,
            f"a month takes {month.wall_s:.2f} s on {os.cpu_count()} cores (goal below 1)",
        ),
        (
            month.cpu_s < next_cpu_s,
            f"a month takes {next_cpu_s / month.cpu_s:.1f} times less CPU than the next",
        ),
    ):
        console.print(f"{'met' if has_met else 'MISSED'}: {text}")


def _put_ticks(root: Path, rows: int) -> str:
    lake, table = Lake(LocalObjectStore(root)), RAW_TABLES[DataType.TRADES].stored
    for shift in (-1, 0, 1):
        day = _DAY + dt.timedelta(days=shift)
        row = ManifestRow(
            date=day,
            venue=VenueId.BINANCE,
            data_type=DataType.TRADES,
            instrument_key=_KEY,
            tardis_symbol="BTCUSDT",
            source_symbol="BTCUSDT",
            state=DataState.PRESENT if shift == 0 else DataState.EMPTY,
            kernel_version="1",
            is_simulated=True,
        )
        write_raw_manifest(lake, VenueDay(day, VenueId.BINANCE), DataType.TRADES, [row])
    item = RawTickFile(_DAY, DataType.TRADES, _KEY)
    file = root / item.path
    if file.exists():
        return item.path
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    chance = np.random.default_rng(7)
    with ParquetTableWriter(part, table) as writer:
        for start in range(0, rows, _CHUNK):
            writer.write(_trades(start, min(_CHUNK, rows - start), rows, chance))
        writer.finish()
    part.replace(file)
    return item.path


def _trades(start: int, count: int, rows: int, chance: np.random.Generator) -> pl.DataFrame:
    places = np.arange(start, start + count)
    arrival = day_start_us(_DAY) + (places * (86_400_000_000 / rows)).astype(np.int64)
    return pl.DataFrame(
        {
            "timestamp": arrival - chance.integers(500, 9_000, count),
            "local_timestamp": arrival,
            "id": pl.Series(places + 3_000_000_000).cast(pl.String),
            "side": np.where(chance.random(count) < 0.5, "buy", "sell"),
            "price": 60_000 + np.round(np.cumsum(chance.normal(0, 0.5, count)), 1),
            "amount": np.round(chance.exponential(0.05, count), 3) + 0.001,
        }
    ).with_columns(pl.col("timestamp", "local_timestamp").cast(TIMESTAMP))


def _put_bars(root: Path, days: int, instruments: int) -> list[str]:
    """Bars whose features are null but for the prices: they are not read, their columns are."""
    lake = Lake(LocalObjectStore(root))
    keys = [f"BINANCE:SPOT_PAIR:A{number:02}-USDT" for number in range(instruments)]
    for number in range(days):
        day = _MONTH + dt.timedelta(days=number)
        for key in keys:
            item = CandleFile(day, Timeframe.M1, key)
            if not lake.exists(item):
                lake.write_table(item, _bars(day, key), CANDLE_TABLE)
        schema = CANDLE_MANIFEST_TABLE.polars_schema
        blank = {pl.String(): "", pl.Int64(): 0, pl.Boolean(): False}
        rows = [
            {name: blank.get(dtype) for name, dtype in schema.items()}
            | {"date": day, "venue": "binance", "timeframe": "1m", "instrument_key": key}
            | {"source_sha256": []}
            for key in keys
        ]
        lake.write_table(
            CandleManifest(day, Timeframe.M1, VenueId.BINANCE),
            pl.DataFrame(rows, schema=schema),
            CANDLE_MANIFEST_TABLE,
        )
    return keys


def _bars(day: dt.date, key: str) -> pl.DataFrame:
    count = Timeframe.M1.bars_per_day
    chance = np.random.default_rng([day.toordinal(), int(key[-7:-5])])
    opens = day_start_us(day) + np.arange(count) * Timeframe.M1.us
    values = {
        "open": chance.random(count),
        "high": chance.random(count),
        "low": chance.random(count),
        "close": chance.random(count),
        "volume": chance.random(count),
        "notional": chance.random(count),
        "price_vwap": chance.random(count),
        "trade_count": chance.integers(1, 99, count),
    }
    frame = pl.DataFrame(values).with_columns(
        instrument_key=pl.lit(key),
        venue=pl.lit("binance"),
        timeframe=pl.lit("1m"),
        ts_open=pl.Series(opens).cast(TIMESTAMP),
        ts_close=pl.Series(opens + Timeframe.M1.us).cast(TIMESTAMP),
        available_at=pl.Series(opens + Timeframe.M1.us + 200_000).cast(TIMESTAMP),
        status=pl.lit("traded"),
        is_final=pl.lit(value=True),
        clock=pl.lit("exchange"),
        bar_version=pl.lit(1, pl.Int32()),
        kernel_version=pl.lit("1"),
        source_sha256=pl.lit([], pl.List(pl.String())),
        gap_ms=pl.lit(0.0),
        coverage=pl.lit(1.0),
        has_memory=pl.lit(value=True),
    )
    return frame.with_columns(
        (pl.lit(None) if column.name in FEATURES or column.is_nullable else pl.col("available_at"))
        .cast(column.dtype)
        .alias(column.name)
        for column in CANDLE_TABLE.columns
        if column.name not in frame.columns
    ).select(CANDLE_TABLE.names)


def _timed(code: str, given: dict[str, object]) -> Reading:
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},  # noqa: TID251  (a child's)
    )
    return Reading(*json.loads(done.stdout))


def _median(readings: Sequence[Reading]) -> Reading:
    return Reading(
        readings[0].rows,
        statistics.median(reading.cpu_s for reading in readings),
        statistics.median(reading.wall_s for reading in readings),
    )
