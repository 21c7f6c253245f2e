"""A few instruments with candles written by hand, and their features by the real pipeline."""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    InstrumentsFile,
    MftFile,
    MftManifest,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_features import build_mft_features
from tickhandler_dagster.pipeline.mft_inputs import mft_plan

FIRST = dt.date(2024, 8, 1)
BTC, ETH = "BINANCE-FUTURES:PERPETUAL:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
SMALL = Windows(
    horizons=(1, 2),
    volatility=(3, 5),
    vol_ratios=((3, 5),),
    averages=(3,),
    ewma_half_lives=(1,),
    rsi=(2,),
    macd=((2, 3, 2),),
    bollinger=(4,),
    atr=(2,),
    trend=(5,),
    autocorrelation=(60,),
    lags=(1,),
    variance_ratio=((2, 60),),
    hurst=(256,),
    moments=(30,),
    reference=(60,),
    flow=(3,),
    carry=(3,),
)


class MftLab:
    """Candles of one timeframe of some instruments of some venues, and features of their days."""

    first, btc, eth, windows = FIRST, BTC, ETH, SMALL

    def __init__(self, root, *, timeframe=Timeframe.H4, venue=VenueId.BINANCE_FUTURES):
        self.lake = Lake(LocalObjectStore(root))
        self.timeframe = timeframe
        self.venue = venue
        self.venues = [venue]
        self._manifests = {}

    def day(self, number):
        return FIRST + dt.timedelta(days=number)

    # ---- candles ---------------------------------------------------------------------------

    def candles(self, number, key=BTC, *, timeframe=None, seed=1, venue=None, **changes):
        """A random walk that goes on from day to day; `changes` replace columns of every bar."""
        timeframe = timeframe or self.timeframe
        chance = random.Random(f"{seed} {key} {number}")
        price = 100.0 * (1 + number / 50)
        rows = []
        for place in range(timeframe.bars_per_day):
            opened = price
            price *= 1 + chance.uniform(-0.01, 0.01)
            start = dt.datetime.combine(self.day(number), dt.time(), dt.UTC) + place * dt.timedelta(
                microseconds=timeframe.us
            )
            close = start + dt.timedelta(microseconds=timeframe.us)
            volume = chance.uniform(1, 9)
            buys = volume * chance.random()
            rows.append(
                {
                    "instrument_key": key,
                    "venue": (venue or self.venue).value,
                    "timeframe": timeframe.value,
                    "ts_open": start,
                    "ts_close": close,
                    "available_at": close + dt.timedelta(milliseconds=200),
                    "status": BarStatus.TRADED.value,
                    "is_final": True,
                    "open": opened,
                    "high": max(opened, price) * 1.001,
                    "low": min(opened, price) * 0.999,
                    "close": price,
                    "trade_count": 500,
                    "volume": volume,
                    "notional": volume * price,
                    "buy_volume_sum": buys,
                    "sell_volume_sum": volume - buys,
                    "unknown_volume_sum": 0.0,
                    "trade_flow_imbalance": 2 * buys / volume - 1,
                    "price_vwap": (opened + price) / 2,
                    "mid_price": price,
                    "spread_tw_bps": 1.0,
                    "funding_annualised": 0.1 + chance.random() / 100,
                    "realized_variance": 1e-4,
                    "clock": "exchange",
                    "bar_version": 1,
                    "kernel_version": "2",
                    "source_sha256": [],
                    "gap_ms": 0.0,
                    "coverage": 1.0,
                    "has_memory": True,
                }
                | changes
            )
        names = {name for row in rows for name in row}
        late = {
            name: pl.col("available_at") for name in CANDLE_TABLE.names if "available_at_" in name
        }
        frame = pl.DataFrame(
            rows, schema={name: CANDLE_TABLE.column(name).dtype for name in rows[0]}
        )
        assert names <= set(CANDLE_TABLE.names)
        return frame.with_columns(**late).with_columns(
            pl.lit(None, column.dtype).alias(column.name)
            for column in CANDLE_TABLE.columns
            if column.name not in names and column.name not in late
        )

    def put(self, number, key=BTC, frame=None, *, timeframe=None, venue=None, **changes):
        """Store candles and the manifest that names them."""
        timeframe, venue = timeframe or self.timeframe, venue or self.venue
        if frame is None:
            frame = self.candles(number, key, timeframe=timeframe, venue=venue, **changes)
        day = self.day(number)
        stored = self.lake.write_table(CandleFile(day, timeframe, key), frame, CANDLE_TABLE)
        self._manifests.setdefault((day, timeframe, venue), {})[key] = stored
        self._write_manifest(day, timeframe, venue)

    def drop(self, number, key, *, timeframe=None, venue=None):
        """Take an instrument's candles away."""
        place = (self.day(number), timeframe or self.timeframe, venue or self.venue)
        del self._manifests[place][key]
        self._write_manifest(*place)

    def _write_manifest(self, day, timeframe, venue):
        rows = [
            {
                column.name: {pl.String(): "", pl.Int64(): 0, pl.Boolean(): False}.get(column.dtype)
                for column in CANDLE_MANIFEST_TABLE.columns
            }
            | {
                "date": day,
                "venue": venue.value,
                "timeframe": timeframe.value,
                "instrument_key": key,
                "bytes": stored.bytes,
                "content_sha256": stored.sha256,
                "source_sha256": [],
            }
            for key, stored in sorted(self._manifests[day, timeframe, venue].items())
        ]
        self.lake.write_table(
            CandleManifest(day, timeframe, venue),
            pl.DataFrame(rows, schema=CANDLE_MANIFEST_TABLE.polars_schema),
            CANDLE_MANIFEST_TABLE,
        )

    def lose(self, number, *, timeframe=None, venue=None):
        """Forget a partition of candles, as if it had never been made."""
        place = (self.day(number), timeframe or self.timeframe, venue or self.venue)
        self._manifests.pop(place)
        self.lake.delete(CandleManifest(*place))

    def put_days(self, days, keys=(BTC, ETH), **changes):
        for number in days:
            for key in keys:
                self.put(number, key, **changes)
            self.list_instruments(number)

    def list_instruments(self, number, *, venue=None, **more):
        """The universe of a day: every instrument that has candles."""
        venue = venue or self.venue
        keys = self._manifests.get((self.day(number), self.timeframe, venue), ())
        schema = INSTRUMENTS_TABLE.polars_schema
        rows = [
            dict.fromkeys(schema.names())
            | {
                "date": self.day(number),
                "instrument_key": key,
                "venue": venue.value,
                "instrument_type": key.split(":")[1],
                "symbol": key.split(":")[2],
                "tardis_symbol": key,
                "exchange_raw_symbol": key,
                "available_from": dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
                "data_types": ["trades"],
                "base_asset": key.split(":")[2].split("-")[0],
                "quote_asset": key.split(":")[2].split("-")[1],
                "settle_asset": key.split(":")[2].split("-")[1],
                "is_inverse": False,
                "is_quanto": False,
                "amount_unit": "base",
                "terms_source": "unknown",
                "is_simulated": False,
            }
            | more
            for key in sorted(keys)
        ]
        self.lake.write_table(
            InstrumentsFile(self.day(number), venue),
            pl.DataFrame(rows, schema=schema),
            INSTRUMENTS_TABLE,
        )

    # ---- features --------------------------------------------------------------------------

    def plan(self, *, windows=None, first=0, allow_gaps=False):
        return mft_plan(
            windows or SMALL,
            first_day=self.day(first),
            venues=self.venues,
            allow_gaps=allow_gaps,
        )

    def build(self, number, *, timeframes=None, venue=None, memory=None, **plan):
        return build_mft_features(
            VenueDay(self.day(number), venue or self.venue),
            lake=self.lake,
            plan=self.plan(**plan),
            timeframes=timeframes or (self.timeframe,),
            memory=memory,
        )

    def rows(self, number, key=BTC):
        return self.lake.read_table(MftFile(self.day(number), self.timeframe, key))

    def manifest(self, number, key=BTC):
        frame = self.lake.read_table(MftManifest(self.day(number), self.timeframe, self.venue))
        return frame.filter(pl.col("instrument_key") == key).row(0, named=True)

    def written(self):
        """Every object of features with its bytes."""
        return {
            path: self.lake.store.read(path)
            for folder in ("mft_features", "mft_sets")
            for path in self.lake.store.list(folder)
        }


@pytest.fixture
def make_mft_lab(tmp_path):
    """Build labs, each with a lake of its own: `make_mft_lab("name", timeframe=…)`."""
    return lambda name="lake", **more: MftLab(tmp_path / name, **more)


@pytest.fixture
def mft_lab(make_mft_lab):
    return make_mft_lab()
