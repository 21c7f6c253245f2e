"""Forty simulated days of candles of two venues, with every oddity that a window can meet.

What belongs here: the candles, made directly as stored frames from seeds, and a lake of them. What
does not: features, and what is compared.

Every (instrument, timeframe, day) has a seed of its own, so that one day can be made anew and all
others keep their bytes.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.candle_manifest_table import (
    CANDLE_MANIFEST_TABLE,
    CandleManifestRow,
    candle_manifest_frame,
)
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import US_PER_SECOND, day_start_us
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS
from tickhandler_dagster.market.paths import CandleFile, CandleManifest, InstrumentsFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

FIRST = dt.date(2024, 7, 1)
DAYS = tuple(FIRST + dt.timedelta(days=number) for number in range(40))
NEVER_MADE = DAYS[3]
"""A day whose candles of the first venue were never made."""

GAPS = ((DAYS[5], 10, 13), (DAYS[22], 12, 13))
"""Outages of the first venue that the vendor reports: day, first hour, hour of the end."""

NOT_INGESTED = ("BINANCE-FUTURES:PERPETUAL:ETH-USDT", DAYS[9])
LISTED = ("BINANCE-FUTURES:PERPETUAL:LTC-USDT", DAYS[12])
DELISTED = ("BINANCE-FUTURES:PERPETUAL:DOGE-USDT", DAYS[24])
LAST_HOUR = 15
"""Of its last day: the delisted instrument's bars end there."""

FUNDING_H = 8
_WATERMARK_US = 200_000
_IDENTITY = ("instrument_key", "venue", "timeframe", "gap_ms", "funding_interval_h")
# Written whole, a candle has 325 columns: 1,500 files of them are a minute of nothing but nulls.
STORED = tuple(name for name in CANDLE_TABLE.names if name in {*_IDENTITY, *CANDLE_COLUMNS})
_PRICES = ("open", "high", "low", "close", "price_vwap", "trade_flow_imbalance")
_OF_TRADES = (*_PRICES, "effective_spread_bps", "amihud", "kyle_lambda")
_SUMS = ("volume", "notional", "buy_volume_sum", "sell_volume_sum")


@dataclass(frozen=True)
class Instrument:
    """What is listed, and how often a bar of it has no trade."""

    key: str
    price: float = 100.0
    quiet: float = 0.0
    first: dt.date = FIRST
    last: dt.date = DAYS[-1]

    @property
    def venue(self):
        return VenueId(self.key.split(":")[0].lower())

    @property
    def kind(self):
        return self.key.split(":")[1]

    @property
    def base(self):
        return self.key.split(":")[2].split("-")[0]

    def terms(self, day):
        quote = self.key.split(":")[2].split("-")[1]
        is_future = self.kind == "FUTURE"
        return dict.fromkeys(INSTRUMENTS_TABLE.names) | {
            "date": day,
            "instrument_key": self.key,
            "venue": str(self.venue),
            "instrument_type": self.kind,
            "symbol": self.key.split(":")[2],
            "tardis_symbol": self.key.split(":")[2].replace("-", ""),
            "exchange_raw_symbol": self.key.split(":")[2].lower(),
            "available_from": _midnight(self.first),
            "available_to": None if self.last == DAYS[-1] else _midnight(self.last, LAST_HOUR),
            "data_types": ["trades"],
            "base_asset": self.base,
            "quote_asset": quote,
            "settle_asset": quote,
            "is_inverse": False,
            "is_quanto": False,
            "amount_unit": "base",
            "contract_size": 1.0,
            "terms_source": "venue_rule",
            "expiry": _midnight(dt.date(2024, 9, 27), 8) if is_future else None,
            "is_simulated": True,
        }


_HERE, _THERE = "BINANCE-FUTURES", "OKEX-SWAP"
INSTRUMENTS = (
    Instrument(f"{_HERE}:PERPETUAL:BTC-USDT", 60_000.0),
    Instrument(NOT_INGESTED[0], 3_000.0),
    Instrument(f"{_HERE}:PERPETUAL:SOL-USDT", 150.0, quiet=0.1),
    Instrument(f"{_HERE}:PERPETUAL:ADA-USDT", 0.4),
    Instrument(LISTED[0], 70.0, first=LISTED[1]),
    Instrument(DELISTED[0], 0.1, last=DELISTED[1]),
    Instrument(f"{_THERE}:PERPETUAL:BTC-USDT", 60_010.0),
)


def _midnight(day, hour=0):
    return dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC)


def _seeded(*parts):
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in parts])


def _level(instrument, day):
    """Log price at the day's start: a walk of days, the market's and the instrument's own."""
    number = (day - FIRST).days + 1
    market = _seeded("market").normal(0, 0.02, 64)[:number].sum()
    return (
        np.log(instrument.price) + market + _seeded(instrument.base).normal(0, 0.02, number).sum()
    )


def day_candles(instrument, timeframe, day, *, version=0):
    """Stored candles of one instrument-day; another version is another market of that day."""
    rng = _seeded(instrument.key, timeframe, day, version)
    count = timeframe.bars_per_day
    market = _seeded("market", timeframe, day).normal(0, 0.8, count)
    scale = 0.03 / np.sqrt(count)
    close = np.exp(_level(instrument, day) + np.cumsum(scale * (market + rng.normal(0, 1, count))))
    before = np.concatenate([[close[0]], close[:-1]])
    opens = before * np.exp(rng.normal(0, scale / 9, count))
    volume = rng.lognormal(3, 1, count)
    buys = volume * rng.uniform(0.1, 0.9, count)
    ts_open = day_start_us(day) + np.arange(count) * timeframe.us
    ts_close = ts_open + timeframe.us
    late = rng.integers(0, 40 * US_PER_SECOND, count) + _WATERMARK_US
    late[rng.uniform(size=count) < 0.01] += 2 * timeframe.us  # a bar that came after its successor
    interval = FUNDING_H * 3_600 * US_PER_SECOND
    values = {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "available_at": ts_close + late,
        "status": "traded",
        "is_final": True,
        "gap_ms": 0.0,
        "open": opens,
        "close": close,
        "high": np.maximum(opens, close) * np.exp(np.abs(rng.normal(0, scale / 2, count))),
        "low": np.minimum(opens, close) * np.exp(-np.abs(rng.normal(0, scale / 2, count))),
        "price_vwap": (opens + close) / 2,
        "trade_count": rng.integers(150, 900, count),
        "volume": volume,
        "notional": volume * close,
        "buy_volume_sum": buys,
        "sell_volume_sum": volume - buys,
        "trade_flow_imbalance": 2 * buys / volume - 1,
        "mid_price": close * (1 + rng.normal(0, 1e-5, count)),
        "spread_tw_bps": rng.uniform(0.5, 3, count),
        "effective_spread_bps": rng.uniform(0.4, 4, count),
        "amihud": rng.uniform(0, 2, count),
        "kyle_lambda": rng.normal(0, 1, count),
        "realized_variance": rng.lognormal(-9, 0.5, count),
        "funding_rate": rng.normal(1e-4, 5e-5, count),
        "funding_settled": rng.normal(1e-4, 5e-5, count),
        "funding_annualised": rng.normal(0.1, 0.05, count),
        "funding_interval_h": float(FUNDING_H),
        "next_funding_time": (ts_close // interval + 1) * interval,
        "open_interest": rng.lognormal(9, 0.1, count),
        "perp_premium": rng.normal(0, 1e-4, count),
        "futures_basis_annualised": rng.normal(0.08, 0.01, count),
        "mark_price": close,
        "index_price": close * (1 + rng.normal(0, 1e-4, count)),
        "liquidation_notional": rng.exponential(50, count) * (rng.uniform(size=count) < 0.3),
        "atm_iv_30d": rng.uniform(0.4, 0.7, count),
        "term_slope": rng.normal(0, 0.02, count),
        "risk_reversal_25d_30d": rng.normal(0, 0.02, count),
        "atm_mark_iv": rng.uniform(0.4, 0.7, count),
        "skew_25d_put_call_ratio": rng.uniform(0.9, 1.2, count),
    }
    frame = pl.DataFrame(values).with_columns(
        pl.col("ts_open", "ts_close", "available_at", "next_funding_time").cast(
            pl.Datetime("us", "UTC")
        ),
        instrument_key=pl.lit(instrument.key),
        venue=pl.lit(str(instrument.venue)),
        timeframe=pl.lit(str(timeframe)),
    )
    quiet = rng.uniform(size=count) < instrument.quiet
    return _with_oddities(frame.with_columns(quiet=quiet), instrument, timeframe, day).select(
        STORED
    )


def _with_oddities(frame, instrument, timeframe, day):
    """Bars without trades, outages, days not ingested, and the end of a listing."""
    frame = _without(frame, pl.col("quiet") & (count_of(timeframe) > 1), "no_trade")
    for gap_day, start, end in GAPS:
        if gap_day == day and instrument.venue is VenueId.BINANCE_FUTURES:
            edges = _midnight(day, start), _midnight(day, end)
            is_cut = (pl.col("ts_open") < edges[1]) & (pl.col("ts_close") > edges[0])
            is_whole = (pl.col("ts_open") >= edges[0]) & (pl.col("ts_close") <= edges[1])
            frame = frame.with_columns(gap_ms=pl.when(is_cut).then(3.6e6).otherwise("gap_ms"))
            frame = _without(frame, is_whole, "vendor_gap")
    if (instrument.key, day) == NOT_INGESTED:
        frame = _without(frame, pl.lit(value=True), "not_ingested")
    if (instrument.key, day) == DELISTED:
        frame = frame.filter(pl.col("ts_open") < _midnight(day, LAST_HOUR))
    return frame


def count_of(timeframe):
    return pl.lit(timeframe.bars_per_day)


def _without(frame, where, status):
    """These bars without trades; a day that was not ingested has no sums either."""
    empty = None if status == "not_ingested" else 0.0
    return frame.with_columns(
        *(pl.when(where).then(None).otherwise(name).alias(name) for name in _OF_TRADES),
        *(pl.when(where).then(empty).otherwise(name).alias(name) for name in _SUMS),
        trade_count=pl.when(where).then(empty).otherwise("trade_count").cast(pl.Int64),
        status=pl.when(where).then(pl.lit(status)).otherwise("status"),
    )


@dataclass
class CandleLake:
    """A lake of candles and universes, written day by day.

    Attributes:
        root: Its folder.
        candles: What was written, by (key, timeframe, day).
    """

    root: Path
    candles: dict = field(default_factory=dict)

    @property
    def lake(self):
        return Lake(LocalObjectStore(self.root))

    def put(self, instrument, timeframe, day, frame):
        """Write the candles of an instrument-day; `close` the day afterwards."""
        # By polars alone: a thousand files that each wait for the device are half a minute.
        file = self.root / CandleFile(day, timeframe, instrument.key).path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it may be a link of another lake's
        frame.write_parquet(file)
        self.candles[instrument.key, timeframe, day] = frame

    def close(self, venue, timeframe, day):
        """Write the manifest of what the lake has of the day, and the universe."""
        listed = [one for one in INSTRUMENTS if one.venue is venue and one.first <= day <= one.last]
        rows = [
            _manifest_row(self.lake, one, timeframe, day, self.candles[one.key, timeframe, day])
            for one in listed
            if (one.key, timeframe, day) in self.candles
        ]
        self.lake.write_table(
            CandleManifest(day, timeframe, venue),
            candle_manifest_frame(rows),
            CANDLE_MANIFEST_TABLE,
            sorted_by=("instrument_key",),
        )
        if self.lake.exists(InstrumentsFile(day, venue)):
            return
        universe = pl.DataFrame(
            [one.terms(day) for one in listed], schema=INSTRUMENTS_TABLE.polars_schema
        )
        self.lake.write_table(InstrumentsFile(day, venue), universe, INSTRUMENTS_TABLE)

    def put_day(self, venue, timeframe, day, *, change=None, version=0):
        """All candles of a venue's day, each as `change(instrument, frame)` gives it back."""
        if (venue, day) == (VenueId.BINANCE_FUTURES, NEVER_MADE):
            return
        for one in INSTRUMENTS:
            if one.venue is venue and one.first <= day <= one.last:
                frame = day_candles(one, timeframe, day, version=version)
                self.put(one, timeframe, day, frame if change is None else change(one, frame))
        self.close(venue, timeframe, day)

    def put_days(self, timeframes, days=DAYS, **more):
        """All candles of both venues."""
        for day in days:
            for venue in (VenueId.BINANCE_FUTURES, VenueId.OKEX_SWAP):
                for timeframe in timeframes:
                    self.put_day(venue, timeframe, day, **more)


def _manifest_row(lake, instrument, timeframe, day, frame):
    kept = lake.digest(CandleFile(day, timeframe, instrument.key))
    counts = dict(frame["status"].value_counts().iter_rows())
    trades = int(frame["trade_count"].sum())
    return CandleManifestRow(
        date=day,
        venue=instrument.venue,
        timeframe=timeframe,
        instrument_key=instrument.key,
        trades_state=DataState.PRESENT,
        bars=frame.height,
        **{
            name: counts.get(name, 0)
            for name in ("traded", "no_trade", "vendor_gap", "not_ingested")
        },
        final_bars=int(frame["is_final"].sum()),
        trades=trades,
        rows_used=trades,
        own_file_rows=trades,
        own_rows_used=trades,
        own_rows_other_days=0,
        previous_rows_used=0,
        next_rows_used=0,
        bytes=kept.bytes,
        content_sha256=kept.sha256,
        source_sha256=(),
        inputs_sha256=kept.sha256,
        book_source=None,
        quote_source=None,
        ticker_state=None,
        liquidations_state=None,
        book_rows=0,
        quote_rows=0,
        ticker_rows=0,
        liquidation_rows=0,
        carried_sha256=None,
        surface_sha256=None,
        is_simulated=True,
        kernel_version="2",
    )


@pytest.fixture(scope="session")
def span():
    """The names of the simulated span, for tests that cannot import this module."""
    return {
        "days": DAYS,
        "never_made": NEVER_MADE,
        "gaps": GAPS,
        "not_ingested": NOT_INGESTED,
        "listed": LISTED,
        "delisted": DELISTED,
        "instruments": INSTRUMENTS,
    }


@pytest.fixture(scope="session")
def make_lake(tmp_path_factory):
    """Make an empty lake for candles."""
    return lambda: CandleLake(tmp_path_factory.mktemp("mft") / "lake")


@pytest.fixture
def make_copy(tmp_path):
    """Make a lake with the objects of another, to change one of them."""

    def copy(made):
        # Links: every object is replaced as a whole, never written into.
        root = tmp_path / "copy"
        shutil.copytree(made.root, root, copy_function=os.link)
        return CandleLake(root, dict(made.candles))

    return copy


@pytest.fixture(scope="session")
def candles_1h(make_lake):
    """All forty days at 1 h and 24 h."""
    made = make_lake()
    made.put_days((Timeframe.H1, Timeframe.H24))
    return made
