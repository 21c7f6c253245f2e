"""Live bars for tests: bars of the real pipeline over a simulated market, told as an engine would.

What belongs here: making them once, and the columns that a publication adds. What does not: an
engine.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
from dataclasses import asdict

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.catalog import ExchangeCatalog, midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import CandleFile, RawTickFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_facts import facts_of
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candles import build_candles
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.streaming.ports import BarBatch

DAY = dt.date(2024, 8, 8)
VENUE = VenueId.BINANCE_FUTURES
COINS = ("BTC", "ETH")
LONG_AGO = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
CHANNELS = (DataType.TRADES, DataType.BOOK_SNAPSHOT_5)


def key_of(coin):
    return f"BINANCE-FUTURES:PERPETUAL:{coin}-USDT"


def simulated_candles(folder):
    """Bars of two perpetuals over a day: (coin, timeframe) to a frame of `CANDLE_TABLE`."""
    lake, simulator = Lake(LocalObjectStore(folder)), Simulator(seed=7)
    for data_type in CHANNELS:
        rows = [_ingest(lake, simulator, data_type, coin) for coin in COINS]
        write_raw_manifest(lake, VenueDay(DAY, VENUE), data_type, rows)
    catalog = ExchangeCatalog(
        venue=VENUE,
        name="Binance futures",
        available_since=LONG_AGO,
        exported_from=LONG_AGO,
        exported_until=midnight(dt.date(2025, 1, 1)),
        symbols=(),
        groups=(),
        incidents=(),
        is_simulated=True,
    )
    cell = VenueDay(DAY, VENUE)
    build_candles(
        cell, lake=lake, timeframes=tuple(Timeframe), catalog=catalog, universe=_universe()
    )
    return {
        (coin, timeframe): lake.read_table(CandleFile(DAY, timeframe, key_of(coin)))
        for coin in COINS
        for timeframe in Timeframe
    }


def _ingest(lake, simulator, data_type, coin):
    text = gzip.decompress(simulator.dataset(VENUE, data_type, DAY, f"{coin}USDT"))
    raw = pl.read_csv(io.BytesIO(text), infer_schema=False)
    table = RAW_TABLES[data_type]
    frame = raw.select(
        _cast(pl.col(column.csv_name), column.stored.dtype).alias(column.stored.name)
        for column in table.columns
    )
    stored = lake.write_table(RawTickFile(DAY, data_type, key_of(coin)), frame, table.stored)
    return ManifestRow(
        date=DAY,
        venue=VENUE,
        data_type=data_type,
        instrument_key=key_of(coin),
        tardis_symbol=f"{coin}USDT",
        source_symbol=f"{coin}USDT",
        state=DataState.PRESENT,
        kernel_version="1",
        is_simulated=True,
        source_sha256=f"{data_type} {coin}",
        source_rows=frame.height,
        bytes=stored.bytes,
        content_sha256=stored.sha256,
        **asdict(facts_of(frame, DAY)),
    )


def _cast(column, dtype):
    return column.cast(pl.Int64).cast(dtype) if dtype.is_temporal() else column.cast(dtype)


def _universe():
    schema = INSTRUMENTS_TABLE.polars_schema
    rows = [
        dict.fromkeys(schema.names())
        | {
            "date": DAY,
            "instrument_key": key_of(coin),
            "venue": str(VENUE),
            "instrument_type": "PERPETUAL",
            "symbol": f"{coin}-USDT",
            "tardis_symbol": f"{coin}USDT",
            "exchange_raw_symbol": f"{coin.lower()}usdt",
            "available_from": LONG_AGO,
            "data_types": [str(data_type) for data_type in CHANNELS],
            "base_asset": coin,
            "quote_asset": "USDT",
            "settle_asset": "USDT",
            "is_inverse": False,
            "is_quanto": False,
            "amount_unit": "base",
            "contract_size": 1.0,
            "terms_source": "venue_rule",
            "is_simulated": True,
        }
        for coin in COINS
    ]
    return pl.DataFrame(rows, schema=schema)


_LOOK_AHEAD = [feature.name for feature in FEATURES.values() if feature.delay_us > 0]


def as_live(bars, stage="complete", *, revision=None, delay_s=1.03, rows_after_first=0):
    """Rows of `LIVE_CANDLE_TABLE`: the bars as published at that stage, so long after their end."""
    number = {"provisional": 1, "complete": 2, "amended": 3}[stage]
    rows = bars.with_columns(
        revision=pl.lit(revision or number, pl.Int32),
        stage=pl.lit(str(stage)),
        rows_after_first=pl.lit(rows_after_first, pl.Int64),
        published_at=pl.col("ts_close") + pl.duration(microseconds=round(delay_s * 1e6)),
    )
    if stage == "provisional":
        rows = rows.with_columns(
            pl.lit(None, rows.schema[name]).alias(name) for name in _LOOK_AHEAD
        )
    return rows.select(LIVE_CANDLE_TABLE.names)


def batch(bars, timeframe=Timeframe.S15, stage="complete", **more):
    return BarBatch(timeframe, as_live(bars, stage, **more))


def crowd(bars, count):
    """One bar as that of many instruments."""
    keys = [f"BINANCE-FUTURES:PERPETUAL:C{number:03}-USDT" for number in range(count)]
    return pl.concat([bars] * count).with_columns(instrument_key=pl.Series(keys))
