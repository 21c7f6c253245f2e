"""A lake written by hand for readers: bars, ticks, universes and manifests, a day at a time."""

from __future__ import annotations

import datetime as dt
import os
import random

import polars as pl
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.client import MarketData
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    InstrumentsFile,
    RawTickFile,
)
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

ONE, TWO = dt.date(2024, 8, 8), dt.date(2024, 8, 9)
BTC, ETH = "BINANCE:SPOT_PAIR:BTC-USDT", "BINANCE:SPOT_PAIR:ETH-USDT"
LONG_AGO = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)


def at(day, seconds=0.0):
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    return midnight + dt.timedelta(microseconds=round(seconds * 1_000_000))


class ReaderLab:
    """A lake, and a reader of it; `day`, `put_…` write, `data` reads."""

    one, two, btc, eth = ONE, TWO, BTC, ETH
    at = staticmethod(at)

    def __init__(self, root, venue=VenueId.BINANCE):
        self.root = root
        self.store = LocalObjectStore(root)
        self.lake = Lake(self.store)
        self.data = MarketData(self.store)
        self.venue = venue
        self.manifests = {}
        self.raw = {}
        self.counts = {}

    # ---- universes -------------------------------------------------------------------------

    @staticmethod
    def instrument(key=BTC, **changes):
        venue, kind, symbol = key.split(":")
        base, quote = symbol.split("-")[:2]
        return {
            "instrument_key": key,
            "venue": venue.lower(),
            "instrument_type": kind,
            "symbol": symbol,
            "tardis_symbol": symbol,
            "exchange_raw_symbol": symbol,
            "available_from": LONG_AGO,
            "data_types": ["trades"],
            "base_asset": base,
            "quote_asset": quote,
            "settle_asset": quote,
            "is_inverse": False,
            "is_quanto": False,
            "amount_unit": "base",
            "contract_size": 1.0,
            "terms_source": "venue_rule",
            "is_simulated": False,
        } | changes

    def put_universe(self, day, *rows):
        schema = INSTRUMENTS_TABLE.polars_schema
        rows = rows or (self.instrument(BTC), self.instrument(ETH))
        records = [dict.fromkeys(schema.names()) | row | {"date": day} for row in rows]
        frame = pl.DataFrame(records, schema=schema).sort("instrument_key")
        venue = VenueId(rows[0]["venue"])
        self.lake.write_table(InstrumentsFile(day, venue), frame, INSTRUMENTS_TABLE)

    # ---- bars ------------------------------------------------------------------------------

    def bars(self, day, key=BTC, timeframe=Timeframe.M1, *, seed=1, **changes):
        """A random walk; `changes` are columns of all bars, or functions of a bar's number."""
        chance = random.Random(f"{seed} {key} {day} {timeframe}")
        rows, length = [], dt.timedelta(microseconds=timeframe.us)
        for place in range(timeframe.bars_per_day):
            opened, close = 100 * (1 + chance.random()), 100 * (1 + chance.random())
            start = at(day) + place * length
            row = {
                "instrument_key": key,
                "venue": self.venue.value,
                "timeframe": timeframe.value,
                "ts_open": start,
                "ts_close": start + length,
                "available_at": start + length + dt.timedelta(milliseconds=200),
                "status": "traded",
                "is_final": True,
                "open": opened,
                "high": max(opened, close),
                "low": min(opened, close),
                "close": close,
                "trade_count": 5,
                "volume": chance.uniform(1, 9),
                "clock": "exchange",
                "bar_version": 1,
                "kernel_version": "2",
                "source_sha256": [],
                "gap_ms": 0.0,
                "coverage": 1.0,
                "has_memory": True,
                "price_impact_30s_bps": chance.random(),
            }
            for name, change in changes.items():
                row[name] = change(place) if callable(change) else change
            rows.append(row)
        frame = pl.DataFrame(
            rows, schema={name: CANDLE_TABLE.column(name).dtype for name in rows[0]}
        )
        late = {
            name: pl.col("ts_close") + pl.duration(seconds=int(name[13:-1]), milliseconds=200)
            for name in CANDLE_TABLE.names
            if name.startswith("available_at_")
        }
        return frame.with_columns(**late).with_columns(
            pl.lit(None, column.dtype).alias(column.name)
            for column in CANDLE_TABLE.columns
            if column.name not in rows[0] and column.name not in late
        )

    def put_bars(self, day, key=BTC, timeframe=Timeframe.M1, *, frame=None, **changes):
        """Store bars and the manifest that names them."""
        if frame is None:
            frame = self.bars(day, key, timeframe, **changes)
        self.lake.write_table(CandleFile(day, timeframe, key), frame, CANDLE_TABLE)
        place = (day, timeframe)
        self.manifests.setdefault(place, set()).add(key)
        self.write_manifest(*place)
        return frame

    def write_manifest(self, day, timeframe=Timeframe.M1):
        schema = CANDLE_MANIFEST_TABLE.polars_schema
        rows = [
            {
                name: {pl.String(): "", pl.Int64(): 0, pl.Boolean(): False}.get(dtype)
                for name, dtype in schema.items()
            }
            | {
                "date": day,
                "venue": self.venue.value,
                "timeframe": timeframe.value,
                "instrument_key": key,
                "source_sha256": [],
                "bars": self.counts.get((day, timeframe, key), 0),
            }
            for key in sorted(self.manifests.get((day, timeframe), ()))
        ]
        self.lake.write_table(
            CandleManifest(day, timeframe, self.venue),
            pl.DataFrame(rows, schema=schema),
            CANDLE_MANIFEST_TABLE,
        )

    def store_counted(self, day, frame, key=BTC, timeframe=Timeframe.M1):
        """Store bars under a manifest that says how many, as SQL asks for."""
        self.counts[day, timeframe, key] = frame.height
        self.put_bars(day, key, timeframe, frame=frame)

    def age(self, moment):
        """Make every object one that was written at the moment."""
        for file in self.root.rglob("*.parquet"):
            os.utime(file, (moment.timestamp(), moment.timestamp()))

    # ---- ticks -----------------------------------------------------------------------------

    def trades(self, day, seconds, *, delay_s=0.01):
        """Trades at so many seconds after the day's start."""
        seconds = list(seconds)
        return pl.DataFrame(
            {
                "timestamp": [at(day, second) for second in seconds],
                "local_timestamp": [at(day, second + delay_s) for second in seconds],
                "id": [f"{day:%d}{number}" for number in range(len(seconds))],
                "side": ["buy"] * len(seconds),
                "price": [100.0 + number for number in range(len(seconds))],
                "amount": [1.0] * len(seconds),
            },
            schema=RAW_TABLES[DataType.TRADES].stored.polars_schema,
        )

    def put_ticks(self, day, frame, key=BTC, *, state=DataState.PRESENT, data_type=DataType.TRADES):
        """Store ticks and the manifest that names them; no frame: the manifest alone."""
        if frame is not None:
            self.lake.write_table(
                RawTickFile(day, data_type, key), frame, RAW_TABLES[data_type].stored
            )
        rows = self.raw.setdefault((day, data_type), {})
        if key is not None:
            rows[key] = ManifestRow(
                date=day,
                venue=self.venue,
                data_type=data_type,
                instrument_key=key,
                tardis_symbol="S",
                source_symbol="S",
                state=state,
                kernel_version="1",
                is_simulated=True,
                content_sha256="",
                source_sha256="",
            )
        cell = VenueDay(day, self.venue)
        write_raw_manifest(self.lake, cell, data_type, rows.values())


@pytest.fixture
def lab(tmp_path):
    return ReaderLab(tmp_path / "lake")


@pytest.fixture(scope="session")
def reader_lab():
    return ReaderLab


@pytest.fixture
def traded(lab):
    """A day of minute bars and of trades with a five-level book."""
    terms = {"tick_size": 0.01, "amount_step": 0.001, "min_size": 0.001}
    for day in (lab.one - dt.timedelta(days=1), lab.one, lab.two):
        lab.put_universe(
            day,
            lab.instrument(lab.btc, data_types=["trades", "book_snapshot_5"], **terms),
            lab.instrument(lab.eth, data_types=["trades"], **terms),
        )
    lab.put_bars(lab.one)
    lab.put_bars(lab.one, lab.eth)
    return lab
