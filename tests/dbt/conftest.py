"""A small simulated warehouse in DuckDB and the dbt command over it.

Rows are made column by column from a seed, not by the candle kernel: what is tested is the SQL, and
the SQL must meet what a few days of a simulated market seldom have (a funding in a gap, a spot
market without trades, depth that the levels do not reach).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CandleFile, CompletenessFile, InstrumentsFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables

PROJECT = Path(__file__).resolve().parents[2] / "dbt_bigquery"
TABLES = {item.name: item for item in warehouse_tables(Windows())}
DAYS = tuple(dt.date(2024, 8, day) for day in (8, 9, 10))
FILLED = ("candles_1m", "candles_1h", "candles_24h", "instruments", "completeness")
FUNDING = dt.timedelta(hours=8)
BARS = 90  # of a minute: an hour and a half say as much as a day

SPOT, PERPETUAL, FUTURE, OPTION = "SPOT_PAIR", "PERPETUAL", "FUTURE", "OPTION"
LISTED = {
    "BINANCE:SPOT_PAIR:BTC-USDT": ("binance", SPOT, "BTC", "USDT"),
    "BINANCE:SPOT_PAIR:ETH-USDT": ("binance", SPOT, "ETH", "USDT"),
    "OKEX:SPOT_PAIR:BTC-USDT": ("okex", SPOT, "BTC", "USDT"),
    "BINANCE-FUTURES:PERPETUAL:BTC-USDT": ("binance-futures", PERPETUAL, "BTC", "USDT"),
    "BINANCE-FUTURES:FUTURE:BTC-USDT-240927": ("binance-futures", FUTURE, "BTC", "USDT"),
    "DERIBIT:PERPETUAL:BTC-USD": ("deribit", PERPETUAL, "BTC", "USD"),
    "DERIBIT:OPTION:BTC-USD-240927-60000-CALL": ("deribit", OPTION, "BTC", "USD"),
}
DEFAULTS = {
    pl.String(): "-",
    pl.Boolean(): False,
    pl.Int32(): 1,
    pl.Int64(): 0,
    pl.Float64(): 0.0,
    pl.List(pl.String()): ["0" * 64],
}


def completed(table, columns, height):
    """A frame of the table: what is given, else null where that is allowed, else a plain value."""
    return pl.DataFrame(
        [
            pl.Series(column.name, columns[column.name], column.dtype)
            if column.name in columns
            else pl.Series(
                column.name,
                [None if column.is_nullable else DEFAULTS[column.dtype]] * height,
                column.dtype,
            )
            for column in table.columns
        ]
    )


def some_null(rng, values, share):
    return [
        None if hidden else value
        for value, hidden in zip(values, rng.random(len(values)) < share, strict=True)
    ]


def bar_columns(key, day, timeframe):
    """What one instrument's bars of a day say; a law of the table holds in each of them."""
    venue = LISTED[key][0]
    rng = np.random.default_rng(hash_of(key, day, timeframe))
    length = dt.timedelta(microseconds=timeframe.us)
    start = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    opens = [start + length * place for place in range(min(dt.timedelta(days=1) // length, BARS))]
    n = len(opens)
    traded = rng.random(n) < 0.9
    if timeframe is Timeframe.H24:
        traded[:] = True
    price = 60_000 + rng.normal(0, 100, n)
    spread = rng.uniform(0, 10, (2, n))
    sides = rng.uniform(0, 5, (3, n)) * traded
    volume = sides.sum(axis=0)

    def of_trades(values):
        return [float(value) if has else None for value, has in zip(values, traded, strict=True)]

    final = rng.random(n) < 0.97 if timeframe is not Timeframe.H24 else np.ones(n, bool)
    if day == DAYS[-1] and venue == "okex":
        final[:] = False
    columns = {
        "instrument_key": [key] * n,
        "venue": [venue] * n,
        "timeframe": [timeframe.value] * n,
        "ts_open": opens,
        "ts_close": [moment + length for moment in opens],
        **{
            name: [moment + length + dt.timedelta(seconds=1) for moment in opens]
            for name in ("available_at", "available_at_1s", "available_at_5s", "available_at_30s")
        },
        "status": ["traded" if has else "no_trade" for has in traded],
        "is_final": final.tolist(),
        "coverage": [1.0] * n,
        "open": of_trades(price),
        "close": of_trades(price + rng.normal(0, 1, n)),
        "high": of_trades(price + 5 + spread[0]),
        "low": of_trades(price - 5 - spread[1]),
        "price_vwap": of_trades(price),
        "trade_count": (rng.integers(1, 50, n) * traded).tolist(),
        "volume": volume.tolist(),
        "notional": (volume * price).tolist(),
        "buy_volume_sum": sides[0].tolist(),
        "sell_volume_sum": sides[1].tolist(),
        "unknown_volume_sum": sides[2].tolist(),
    }
    return columns | quote_columns(rng, n, timeframe) | derivative_columns(rng, key, opens, length)


def quote_columns(rng, n, timeframe):
    normal = rng.integers(0, timeframe.us, n) * (rng.random(n) < 0.95)
    depth = rng.uniform(1_000, 2_000, (3, 2, n)).cumsum(axis=0)
    reach = np.sort(rng.uniform(0, 1, (3, n)) < 0.8, axis=0)[::-1]  # a wider band is never easier
    cost = rng.uniform(1, 3, (2, 2, n)).cumsum(axis=0)
    columns = {
        "spread_bps_us": (normal * rng.uniform(0.5, 3, n)).tolist(),
        "spread_abs_us": (normal * rng.uniform(1, 5, n)).tolist(),
        "quote_normal_us": normal.astype(float).tolist(),
        "quote_covered_ms": (normal / 1e3).tolist(),
        "book_levels_seen": rng.choice([5, 25], n).tolist(),
    }
    for place, width in enumerate((5, 10, 25)):
        for number, side in enumerate(("bid", "ask")):
            values = depth[place, number].tolist()
            columns[f"{side}_depth_{width}bps"] = [
                value if has else None for value, has in zip(values, reach[place], strict=True)
            ]
    for place, worth in enumerate(("10k", "100k")):
        for number, side in enumerate(("buy", "sell")):
            columns[f"{side}_cost_{worth}_bps"] = cost[place, number].tolist()
    return columns


def derivative_columns(rng, key, opens, length):
    kind, n = LISTED[key][1], len(opens)
    if kind not in {PERPETUAL, FUTURE}:
        return {}
    mark, index = 60_000 + rng.normal(0, 50, (2, n))
    columns = {"mark_price": mark.tolist(), "index_price": index.tolist()}
    if kind == FUTURE:
        return columns | {
            "futures_basis": (mark / index - 1).tolist(),
            "futures_basis_annualised": ((mark / index - 1) * 7).tolist(),
        }
    counts = rng.integers(0, 3, n)
    sides = rng.uniform(0.1, 2, (3, n)) * (counts > 0)
    columns |= {
        "perp_premium": (mark / index - 1).tolist(),
        "liquidation_count": counts.tolist(),
        "liquidation_notional": (sides.sum(axis=0) * 60_000).tolist(),
        "liquidation_sell_volume": sides[0].tolist(),
        "liquidation_buy_volume": sides[1].tolist(),
        "liquidation_unknown_volume": sides[2].tolist(),
        "liquidation_size_max": sides.max(axis=0).tolist(),
        "liquidation_is_throttled": (rng.random(n) < 0.01).tolist(),
    }
    if "DERIBIT" in key:
        return columns  # names no funding time
    due = [next_funding(moment + length) for moment in opens]
    hidden = rng.random(n) < 0.2
    return columns | {
        "next_funding_time": [None if gone else at for at, gone in zip(due, hidden, strict=True)],
        "funding_settled": [at.hour / 1e5 - 1e-4 for at in due],
        "funding_interval_h": [8.0] * n,
    }


def next_funding(moment):
    """The first funding at or after the moment."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + FUNDING * -((midnight - moment) // FUNDING)


def hash_of(*parts):
    return zlib.crc32("|".join(str(part) for part in parts).encode())


def listed(day):
    """All but ETH, which is away on the middle day."""
    return [key for key in LISTED if not ("ETH" in key and day == DAYS[1])]


def instrument_columns(venue, day):
    """What is listed that day; BTC's tick changes on the last."""
    keys = [key for key in listed(day) if LISTED[key][0] == venue]
    rows = [LISTED[key] for key in keys]
    n = len(keys)
    return n, {
        "date": [day] * n,
        "instrument_key": keys,
        "venue": [venue] * n,
        "instrument_type": [row[1] for row in rows],
        "base_asset": [row[2] for row in rows],
        "quote_asset": [row[3] for row in rows],
        "tick_size": [0.5 if "SPOT_PAIR:BTC" in key and day == DAYS[-1] else 0.1 for key in keys],
        "available_from": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * n,
        "amount_unit": ["base"] * n,
    }


def completeness_columns(venue, day):
    keys = [f"{venue}-{number}" for number in range(12)]
    rng = np.random.default_rng(hash_of(venue, day))
    n = len(keys)
    states = rng.choice([str(state) for state in DataState], n).tolist()
    return n, {
        "date": [day] * n,
        "venue": [venue] * n,
        "data_type": ["trades"] * 6 + ["quotes"] * 6,
        "instrument_key": keys,
        "state": states,
        "verdict": rng.choice(["error", "warning", "ignore"], n).tolist(),
        "rows": rng.integers(0, 1000, n).tolist(),
        "bytes": rng.integers(0, 9000, n).tolist(),
        "gaps": rng.integers(0, 3, n).tolist(),
        "gap_us": rng.integers(0, 10**10, n).tolist(),
        "lost_trades": some_null(rng, rng.integers(0, 9, n).tolist(), 0.5),
    }


class SimulatedWarehouse:
    """The source tables in DuckDB, and the frames they were made of."""

    def __init__(self, folder):
        self.folder = folder / "warehouse"
        self.lake_root = folder / "lake"
        self.lake = Lake(LocalObjectStore(self.lake_root))
        self.warehouse = DuckDbWarehouse(self.folder, self.lake.store)
        self.frames = {}
        self.days = {}

    def fill(self, days=DAYS, *, without=()):
        """Publish the days; of a venue that is left out no row stays."""
        for name in FILLED:
            self.warehouse.ensure(TABLES[name])
            self.warehouse.publish(TABLES[name], [self._day(name, day, without) for day in days])

    def publish_to(self, warehouse):
        """Every table in another warehouse, the same objects in those that are filled."""
        for name, item in TABLES.items():
            warehouse.ensure(item)
            if name in FILLED:
                warehouse.publish(item, [self.days[name, day] for day in DAYS])

    def rows(self, name):
        """All rows of a source table."""
        return pl.concat(frames for (table, _), frames in self.frames.items() if table == name)

    def _day(self, name, day, without):
        table, loaded, frames = (
            TABLES[name],
            [],
            [pl.DataFrame(schema=TABLES[name].table.polars_schema)],
        )
        for item, venue, frame in self._objects(name, day):
            if venue not in without:
                stored = self.lake.write_table(item, frame, table.table)
                loaded.append(
                    LoadedObject(
                        item.path, VenueId(venue), frame.height, stored.bytes, stored.sha256
                    )
                )
                frames.append(frame)
        self.frames[name, day] = pl.concat(frames)
        self.days[name, day] = TableDay(day, tuple(loaded))
        return self.days[name, day]

    def _objects(self, name, day):
        table = TABLES[name].table
        if name.startswith("candles"):
            timeframe = TABLES[name].timeframe
            for key in listed(day):
                columns = bar_columns(key, day, timeframe)
                frame = completed(table, columns, len(columns["ts_open"]))
                yield CandleFile(day, timeframe, key), LISTED[key][0], frame
            return
        make, file = {
            "instruments": (instrument_columns, InstrumentsFile),
            "completeness": (completeness_columns, CompletenessFile),
        }[name]
        for venue in sorted({venue for venue, *_ in LISTED.values()}):
            height, columns = make(venue, day)
            yield file(day, VenueId(venue)), venue, completed(table, columns, height)


class Dbt:
    """The dbt command over a warehouse folder."""

    def __init__(self, folder, warehouse_folder, **variables):
        self._folder = folder
        self._environment = {
            **os.environ,
            "WAREHOUSE_FOLDER": str(warehouse_folder),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            **variables,
        }

    def __call__(self, command, *arguments, days=None, target="duckdb"):
        """Run it; gives the status of every node by its name."""
        span = {"start_date": str(days[0]), "end_date": str(days[-1])} if days else {}
        self.finished = subprocess.run(
            [
                *(sys.executable, "-m", "dbt.cli.main", command, *arguments),
                *("--target", target, "--vars", json.dumps(span)),
                *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
                *("--target-path", str(self.target_path(target))),
                *("--log-path", str(self._folder / "logs"), "--no-use-colors"),
            ],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        results = self.target_path(target) / "run_results.json"
        assert results.exists(), self.finished.stdout + self.finished.stderr
        return {
            item["unique_id"].split(".")[2]: item["status"]
            for item in json.loads(results.read_text())["results"]
            if not item["unique_id"].startswith("operation.")
        }

    def target_path(self, target="duckdb"):
        return self._folder / f"target_{target}"


@pytest.fixture(scope="session")
def make_warehouse():
    return SimulatedWarehouse


@pytest.fixture(scope="session")
def make_dbt():
    return Dbt


@pytest.fixture(scope="session")
def dbt_project():
    return PROJECT


@pytest.fixture(scope="session")
def source_tables():
    return TABLES
