"""What the tests of rolling statistics share: series of bars with given prices, and the entries."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.mft.autocorrelation import autocorrelation_features
from tickhandler_dagster.market.mft.drawdown import drawdown_features
from tickhandler_dagster.market.mft.hurst import hurst_features
from tickhandler_dagster.market.mft.moments import moment_features
from tickhandler_dagster.market.mft.reference import reference_features
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS, bar_series
from tickhandler_dagster.market.mft.variance_ratio import variance_ratio_features
from tickhandler_dagster.market.mft.windows import Windows

_START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
_FAMILIES = (
    autocorrelation_features,
    variance_ratio_features,
    hurst_features,
    moment_features,
    drawdown_features,
    reference_features,
)
_NUMBERS = (*CANDLE_COLUMNS[5:],)


def _own_series(price, gaps, untraded):
    count = len(price)
    rows = pl.int_range(pl.len())
    is_gap, is_silent = rows.is_in(list(gaps)), rows.is_in(list(untraded))
    opens = pl.datetime_range(
        _START, _START + dt.timedelta(minutes=count - 1), "1m", time_zone="UTC", eager=True
    ).alias("ts_open")
    candles = (
        pl.DataFrame({"ts_open": opens, "last": np.asarray(price, dtype=float)})
        .with_columns(pl.lit(None, pl.Float64).alias(name) for name in _NUMBERS)
        .with_columns(
            ts_close=pl.col("ts_open") + pl.duration(minutes=1),
            available_at=pl.col("ts_open") + pl.duration(minutes=1),
            status=pl.when(is_gap)
            .then(pl.lit("vendor_gap"))
            .when(is_silent)
            .then(pl.lit("no_trade"))
            .otherwise(pl.lit("traded")),
            is_final=pl.lit(value=True),
            trade_count=pl.when(is_gap | is_silent).then(0).otherwise(5),
            close=pl.when(~(is_gap | is_silent)).then("last"),
        )
        .select(CANDLE_COLUMNS)
    )
    return bar_series(candles, opens)


@pytest.fixture(scope="session")
def series_of():
    """Bars of one minute with given closes, and those of a reference instrument beside them."""

    def made(price, reference_price=None, *, gaps=(), untraded=(), reference_gaps=()):
        series = _own_series(price, gaps, untraded)
        if reference_price is None:
            return series
        reference = _own_series(reference_price, reference_gaps, ())
        return series.with_columns(
            ref_log_return=reference["log_return"], ref_valid_run=reference["valid_run"]
        )

    return made


@pytest.fixture(scope="session")
def features_of():
    """The entries of all families of rolling statistics for given windows."""

    def made(windows=None):
        return [entry for family in _FAMILIES for entry in family(windows or Windows())]

    return made


@pytest.fixture(scope="session")
def price_paths():
    """Prices of an instrument and a reference: heavy tails, memory, beta near 1.4."""

    def made(count, seed=7):
        rng = np.random.default_rng(seed)
        noise = rng.standard_t(4, (2, count)) * 6e-4
        reference = noise[0]
        own = 1.4 * reference + noise[1]
        own[1:] += 0.3 * reference[:-1]
        return 3.25 * np.exp(np.cumsum(own)), 61_000.0 * np.exp(np.cumsum(reference))

    return made
