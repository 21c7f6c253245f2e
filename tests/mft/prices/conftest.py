"""What the tests of price features share: bars as lists, their series, and the entries."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.mft.averages import averages_features
from tickhandler_dagster.market.mft.bands import bands_features
from tickhandler_dagster.market.mft.momentum import momentum_features
from tickhandler_dagster.market.mft.oscillators import oscillators_features
from tickhandler_dagster.market.mft.price_volume import price_volume_features
from tickhandler_dagster.market.mft.range_volatility import range_volatility_features
from tickhandler_dagster.market.mft.returns import returns_features
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series
from tickhandler_dagster.market.mft.trend import trend_features
from tickhandler_dagster.market.mft.volatility import volatility_features
from tickhandler_dagster.market.mft.windows import Windows

_START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
_FAMILIES = (
    returns_features,
    volatility_features,
    range_volatility_features,
    momentum_features,
    averages_features,
    oscillators_features,
    bands_features,
    trend_features,
    price_volume_features,
)
_STORED = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "price_vwap": "vwap",
    "realized_variance": "variance",
}
_SUMS = {"volume": "volume", "notional": "notional", "trade_count": "trades"}


@pytest.fixture(scope="session")
def price_entries():
    """The entries of all families of price features for given windows."""

    def made(windows=None):
        return [entry for family in _FAMILIES for entry in family(windows or Windows())]

    return made


@pytest.fixture(scope="session")
def random_bars():
    """Bars that move, with many trades each: column name to list."""

    def made(count, seed=11):
        rng = np.random.default_rng(seed)
        close = 61_000 * np.exp(np.cumsum(rng.standard_t(5, count) * 8e-4))
        opened = np.concatenate([[61_000.0], close[:-1]]) * np.exp(rng.normal(0, 2e-4, count))
        high = np.maximum(opened, close) * np.exp(rng.exponential(4e-4, count))
        low = np.minimum(opened, close) * np.exp(-rng.exponential(4e-4, count))
        volume = rng.lognormal(2, 1, count)
        vwap = low + (high - low) * rng.uniform(size=count)
        columns = {
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "vwap": vwap,
            "notional": volume * vwap,
            "variance": rng.lognormal(-14, 0.5, count),
        }
        trades = rng.integers(100, 900, count).tolist()
        return {name: values.tolist() for name, values in columns.items()} | {"trades": trades}

    return made


@pytest.fixture(scope="session")
def price_series():
    """The series of bars given as lists; what is not given is null.

    `gaps` were not observed, `silent` had no trade.
    """

    def made(bars, *, gaps=(), silent=(), minutes=1):
        count = len(bars["close"])
        width = dt.timedelta(minutes=minutes)
        opens = pl.Series("ts_open", [_START + row * width for row in range(count)]).cast(
            pl.Datetime("us", "UTC")
        )
        row = pl.int_range(pl.len())
        is_gap, is_silent = row.is_in(list(gaps)), row.is_in(list(silent))
        given = {
            name: pl.Series(bars.get(key, [None] * count), dtype=pl.Float64)
            for name, key in (_STORED | _SUMS).items()
        }
        status = pl.when(is_gap).then(pl.lit("vendor_gap"))
        status = status.when(is_silent).then(pl.lit("no_trade")).otherwise(pl.lit("traded"))
        of_trades = [name for name in _STORED if name != "realized_variance"]
        candles = (
            pl.DataFrame({"ts_open": opens} | given)
            .with_columns(
                pl.lit(None, pl.Float64).alias(name)
                for name in CANDLE_COLUMNS
                if name not in {"ts_open", *given}
            )
            .with_columns(
                *(pl.when(~is_gap & ~is_silent).then(name).alias(name) for name in of_trades),
                *(
                    pl.when(~is_gap & ~is_silent).then(name).otherwise(0).alias(name)
                    for name in _SUMS
                ),
                realized_variance=pl.when(~is_gap).then("realized_variance"),
                ts_close=pl.col("ts_open") + width,
                available_at=pl.col("ts_open") + width,
                status=status,
                is_final=pl.lit(value=True),
            )
            .with_columns(pl.col("trade_count").cast(pl.Int64))
        )
        return bar_series(candles.select(CANDLE_COLUMNS), opens)

    return made
