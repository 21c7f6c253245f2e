"""Trend: the regression of log price on time.

What belongs here: slope and fit. What does not: momentum (`momentum.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.window_math import (
    FLAT,
    LOG_RETURN,
    PRICE_NOW,
    inputs_of,
    weighted_sum,
    window_deviation,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW = 5
"""Bars."""


def trend_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of the regression of log price on time.

    Raises:
        InvalidInput: A window is shorter than five bars.
    """
    for bars in windows.trend:
        refuse_short_window("trend", bars, SHORTEST_WINDOW)
    return tuple(entry for bars in windows.trend for entry in (_slope(bars), _fit(bars)))


def _time_square(bars: int) -> float:
    """Σ(k - k̄)² of k = 0 … bars-1."""
    return bars * (bars * bars - 1) / 12


def _slope_of(bars: int) -> pl.Expr:
    """Slope as a weighted sum of returns.

    Of returns and not of log prices: Σ(k - k̄)·ln C would subtract numbers a million times larger
    than their difference. Return j moves all prices from j on, whose weights add up to
    j·(bars - j)/2.
    """
    weights = [step * (bars - step) / 2 / _time_square(bars) for step in range(1, bars)]
    return weighted_sum(LOG_RETURN, weights)


def _slope(bars: int) -> MftFeature:
    value = _slope_of(bars)
    return MftFeature(
        name=f"trend_slope_{bars}",
        formula=f"Least-squares slope of ln C on time over {bars} bars, per bar.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        oracle="TA-Lib LINEARREG_SLOPE",
        expression=value,
    )


def _fit(bars: int) -> MftFeature:
    deviation = window_deviation(PRICE_NOW.log(), bars)
    explained = _slope_of(bars) ** 2 * _time_square(bars) / bars
    value = pl.when(deviation > FLAT).then((explained / deviation**2).clip(0, 1))
    return MftFeature(
        name=f"trend_r_squared_{bars}",
        formula=f"R² of the least-squares line of ln C on time over {bars} bars.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        bounds=Bounds(ge=0, le=1),
        null_rule="the standard deviation of ln C is not above 1e-12",
        expression=value,
    )
