"""Variance ratio: variance of returns over q bars against q times that of one bar.

What belongs here: the entries of `variance_ratio_<q>_<window>`.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.mft.comoments import positive, variance
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.window_math import window_mean
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW_PER_LAG = 10
"""Returns in the window for each bar of q: ten returns over q bars that do not overlap."""


def variance_ratio_features(windows: Windows) -> tuple[MftFeature, ...]:
    """One entry per (q, window).

    Raises:
        InvalidInput: A window is shorter than 10 q returns.
    """
    return tuple(_variance_ratio(lag, window) for lag, window in windows.variance_ratio)


def _variance_ratio(lag: int, window: int) -> MftFeature:
    refuse_short_window("variance_ratio", window, SHORTEST_WINDOW_PER_LAG * lag)
    return MftFeature(
        name=f"variance_ratio_{lag}_{window}",
        formula=(
            f"Overlapping variance ratio of {window} log returns at q = {lag}, bias-corrected: "
            "[Σ(r^(q) - q·r̄)²/m] / [Σ(r - r̄)²/(w - 1)], m = q(w - q + 1)(1 - q/w)."
        ),
        look_back=window,
        needs_trades=True,
        inputs=("log_return", "price"),
        bounds=Bounds(ge=0.0),
        null_rule="the returns of the window do not vary",
        source="Lo, MacKinlay 1988, Review of Financial Studies 1(1)",
        oracle="arch 8.0.0 VarianceRatio(trend='c', overlap=True, debiased=True)",
        expression=_expression(lag, window),
    )


def _expression(lag: int, window: int) -> pl.Expr:
    price = pl.col("price")
    sums = (price / price.shift(lag)).log()
    count = window - lag + 1
    mean = (price / price.shift(window)).log() / window
    # Σ(R - qμ)² = n·Var(R) + n(R̄ - qμ)²: the returns at the edges are in fewer sums than the rest.
    offset = window_mean(sums, count) - lag * mean
    squares = count * (variance(sums, count) + offset.pow(2))
    freedom = lag * count * (1.0 - lag / window)
    single = positive(variance(pl.col("log_return"), window)) * (window / (window - 1))
    return squares / freedom / single
