"""Autocorrelation of log returns: does a move go on or turn back.

What belongs here: the entries of `autocorrelation_<lag>_<window>`. Correlation with the reference
instrument's earlier returns is in `reference.py`.
"""

from __future__ import annotations

from itertools import product

import polars as pl

from tickhandler_dagster.market.mft.comoments import covariance, positive, variance
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW = 50
"""Returns; the standard error of an autocorrelation of noise is 1/√w."""


def autocorrelation_features(windows: Windows) -> tuple[MftFeature, ...]:
    """One entry per lag and window.

    Raises:
        InvalidInput: A window is shorter than 50 returns.
    """
    return tuple(
        _autocorrelation(lag, window)
        for window, lag in product(windows.autocorrelation, windows.lags)
    )


def _autocorrelation(lag: int, window: int) -> MftFeature:
    refuse_short_window("autocorrelation", window, max(SHORTEST_WINDOW, 2 * lag))
    return MftFeature(
        name=f"autocorrelation_{lag}_{window}",
        formula=(
            f"Sample autocorrelation of {window} log returns at lag {lag}: "
            "Σ(r_s - r̄)(r_{s-k} - r̄) over the pairs inside the window / Σ(r_s - r̄)² over all of it."
        ),
        look_back=window,
        needs_trades=True,
        inputs=("log_return", "price"),
        bounds=Bounds(ge=-1.0, le=1.0),
        null_rule="the returns of the window do not vary",
        source="Box, Jenkins, Reinsel: Time Series Analysis, chapter 2",
        oracle="statsmodels 0.15.0 acf(adjusted=False)",
        expression=_expression(lag, window),
    )


def _expression(lag: int, window: int) -> pl.Expr:
    """The pairs' covariance, moved from the pairs' own means to the mean of the window."""
    pairs = window - lag
    later, earlier = pl.col("log_return"), pl.col("log_return").shift(lag)
    mean = _mean_return(0, window)
    product_of_means = (_mean_return(0, pairs) - mean) * (_mean_return(lag, pairs) - mean)
    total = positive(variance(later, window))
    return (covariance(later, earlier, pairs) + product_of_means) * (pairs / window) / total


def _mean_return(end: int, count: int) -> pl.Expr:
    """Mean of `count` log returns, the last of them `end` bars ago.

    Two prices say it; a rolling mean would carry the rounding of every bar since the start.
    """
    price = pl.col("price")
    return (price.shift(end) / price.shift(end + count)).log() / count
