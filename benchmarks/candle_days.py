"""Days of minute candles of many instruments in a lake, made from seeds: what `--mft` measures.

What belongs here: the rows. They are gap-free and every bar is traded, because one missing value
spoils a column of TA-Lib for ever; every column that features read has a value, so that none is
spared. What does not: measuring (`mft.py`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.paths import CandleFile, CandleManifest, InstrumentsFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

VENUE = VenueId.BINANCE_FUTURES
FIRST = dt.date(2024, 6, 1)
TIMEFRAMES = (Timeframe.M1, Timeframe.H24)
"""Those that features of 1m bars read."""

_DONE = "whole"
_SEED = 20_240_601
_FUNDING_US = 8 * 3_600_000_000
_WATERMARK_US = 200_000
_MOVE = 4e-4
_DECIMALS = 6
_LISTED = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

# Mean and deviation of columns that nothing else follows from.
_NOISE = {
    "spread_tw_bps": (2.0, 0.2),
    "effective_spread_bps": (2.0, 0.3),
    "amihud": (0.5, 0.05),
    "kyle_lambda": (0.0, 1.0),
    "realized_variance": (1e-6, 1e-7),
    "funding_rate": (1e-4, 1e-5),
    "funding_settled": (1e-4, 1e-5),
    "funding_annualised": (0.1, 0.01),
    "open_interest": (9_000.0, 90.0),
    "perp_premium": (0.0, 1e-4),
    "futures_basis_annualised": (0.08, 0.01),
    "liquidation_notional": (90.0, 9.0),
    "atm_iv_30d": (0.5, 0.01),
    "term_slope": (0.0, 0.01),
    "risk_reversal_25d_30d": (0.0, 0.01),
    "atm_mark_iv": (0.5, 0.01),
    "skew_25d_put_call_ratio": (1.0, 0.01),
}


def keys(instruments: int) -> list[str]:
    """Instruments, the one the others are measured against first."""
    assets = ["BTC", *(f"C{number:03}" for number in range(1, instruments))]
    return [f"{VENUE.upper()}:PERPETUAL:{asset}-USDT" for asset in assets]


def dates(days: int) -> list[dt.date]:
    """The days, earliest first."""
    return [FIRST + dt.timedelta(days=number) for number in range(days)]


def candle_lake(days: int, instruments: int, folder: Path) -> Path:
    """A lake with that many days and instruments; made once."""
    root = folder / f"candles-{days}-days-{instruments}-instruments"
    if not (root / _DONE).exists():
        shutil.rmtree(root, ignore_errors=True)
        lake = Lake(LocalObjectStore(root))
        levels = np.linspace(3.0, 11.0, instruments)[::-1].copy()
        for date in dates(days):
            _write_day(lake, root, date, levels, keys(instruments))
        (root / _DONE).touch()
    return root


def _write_day(
    lake: Lake, root: Path, date: dt.date, levels: np.ndarray, names: Sequence[str]
) -> None:
    lake.write_table(InstrumentsFile(date, VENUE), _universe(date, names), INSTRUMENTS_TABLE)
    digests: dict[Timeframe, list[str]] = {timeframe: [] for timeframe in TIMEFRAMES}
    for place, key in enumerate(names):
        for timeframe, frame in _frames(date, key, place, levels).items():
            # By polars alone: thousands of files that each wait for the device take minutes.
            file = root / CandleFile(date, timeframe, key).path
            file.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(file)
            digests[timeframe].append(hashlib.sha256(file.read_bytes()).hexdigest())
    for timeframe, hashes in digests.items():
        manifest = _manifest(date, timeframe, names, hashes)
        lake.write_table(CandleManifest(date, timeframe, VENUE), manifest, CANDLE_MANIFEST_TABLE)


def _frames(
    date: dt.date, key: str, place: int, levels: np.ndarray
) -> dict[Timeframe, pl.DataFrame]:
    """The candles of an instrument's day; its level is moved to the day's last close."""
    found = {}
    for timeframe in TIMEFRAMES:
        rng = np.random.default_rng([_SEED, place, date.toordinal(), timeframe.bars_per_day])
        frame = _bars(rng, day_start_us(date), timeframe, levels[place])
        found[timeframe] = frame.with_columns(
            instrument_key=pl.lit(key),
            venue=pl.lit(VENUE.value),
            timeframe=pl.lit(timeframe.value),
        )
    levels[place] = np.log(found[Timeframe.M1]["close"][-1])
    return found


def _bars(
    rng: np.random.Generator, start_us: int, timeframe: Timeframe, level: float
) -> pl.DataFrame:
    count = timeframe.bars_per_day
    close = np.exp(level + np.cumsum(rng.normal(0, _MOVE, count))).round(_DECIMALS)
    opens = np.concatenate([[np.exp(level)], close[:-1]])
    reach = 1 + np.abs(rng.normal(0, _MOVE / 2, (2, count)))
    volume = rng.lognormal(3, 0.7, count).round(3)
    buys = (volume * rng.uniform(0.1, 0.9, count)).round(3)
    ts_close = start_us + (np.arange(count) + 1) * timeframe.us
    moments = {
        "ts_open": ts_close - timeframe.us,
        "ts_close": ts_close,
        "available_at": ts_close + _WATERMARK_US,
        "next_funding_time": (ts_close // _FUNDING_US + 1) * _FUNDING_US,
    }
    noise = {
        name: mean + deviation * np.abs(rng.normal(size=count)).round(_DECIMALS)
        for name, (mean, deviation) in _NOISE.items()
    }
    prices = dict.fromkeys(("close", "price_vwap", "mid_price", "mark_price", "index_price"), close)
    return pl.DataFrame(
        {
            **moments,
            **noise,
            **prices,
            "open": opens,
            "high": np.maximum(opens, close) * reach[0],
            "low": np.minimum(opens, close) / reach[1],
            "trade_count": rng.integers(150, 900, count),
            "volume": volume,
            "notional": volume * close,
            "buy_volume_sum": buys,
            "sell_volume_sum": volume - buys,
            "trade_flow_imbalance": 2 * buys / volume - 1,
        }
    ).with_columns(
        pl.col(*moments).cast(pl.Datetime("us", "UTC")),
        status=pl.lit("traded"),
        is_final=pl.lit(value=True),
        gap_ms=pl.lit(0.0),
        funding_interval_h=pl.lit(8.0),
    )


def _universe(date: dt.date, names: Sequence[str]) -> pl.DataFrame:
    return _filled(
        INSTRUMENTS_TABLE.polars_schema,
        [
            {
                "date": date,
                "instrument_key": key,
                "venue": VENUE.value,
                "instrument_type": "PERPETUAL",
                "symbol": key.split(":")[2],
                "tardis_symbol": key.split(":")[2],
                "exchange_raw_symbol": key.split(":")[2],
                "available_from": _LISTED,
                "data_types": ["trades"],
                "base_asset": key.split(":")[2].split("-")[0],
                "quote_asset": "USDT",
                "settle_asset": "USDT",
                "is_inverse": False,
                "is_quanto": False,
                "amount_unit": "base",
                "terms_source": "unknown",
                "is_simulated": True,
            }
            for key in names
        ],
    )


def _manifest(
    date: dt.date, timeframe: Timeframe, names: Sequence[str], hashes: Sequence[str]
) -> pl.DataFrame:
    schema = CANDLE_MANIFEST_TABLE.polars_schema
    plain = {name: 0 for name, dtype in schema.items() if dtype == pl.Int64()}
    rows = [
        plain
        | {
            "date": date,
            "venue": VENUE.value,
            "timeframe": timeframe.value,
            "instrument_key": key,
            "trades_state": "present",
            "content_sha256": sha256,
            "source_sha256": [],
            "inputs_sha256": sha256,
            "is_simulated": True,
            "kernel_version": "",
        }
        for key, sha256 in zip(names, hashes, strict=True)
    ]
    return _filled(schema, rows)


def _filled(schema: pl.Schema, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """The rows with nulls for what they do not say."""
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)
