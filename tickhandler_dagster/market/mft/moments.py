"""Shape of the distribution of log returns over a window.

What belongs here: the entries of skewness and kurtosis. Volatility and drawdown have their own
modules.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW = 30
"""Bars."""


def moment_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Skewness and kurtosis per window.

    Raises:
        InvalidInput: A window is shorter than 30 returns.
    """
    for window in windows.moments:
        refuse_short_window("moments", window, SHORTEST_WINDOW)
    return tuple(
        feature(window) for window in windows.moments for feature in (_skewness, _kurtosis)
    )


def _skewness(window: int) -> MftFeature:
    return MftFeature(
        name=f"return_skewness_{window}",
        formula=f"Skewness of {window} log returns: m₃/m₂^1.5, m_j = mean (r - r̄)^j.",
        look_back=window,
        needs_trades=True,
        inputs=("log_return",),
        null_rule="the returns of the window do not vary",
        source="Joanes, Gill 1998, The Statistician 47(1), g₁",
        oracle="scipy.stats.skew",
        expression=pl.col("log_return").rolling_skew(window),
    )


def _kurtosis(window: int) -> MftFeature:
    # Two values of equal frequency have exactly 1, which rounding can undercut.
    value = pl.col("log_return").rolling_kurtosis(window, fisher=False).clip(lower_bound=1.0)
    return MftFeature(
        name=f"return_kurtosis_{window}",
        formula=(
            f"Kurtosis of {window} log returns, 3 for a Gaussian: m₄/m₂², m_j = mean (r - r̄)^j."
        ),
        look_back=window,
        needs_trades=True,
        inputs=("log_return",),
        bounds=Bounds(ge=1.0),
        null_rule="the returns of the window do not vary",
        source="Joanes, Gill 1998, The Statistician 47(1), g₂ + 3",
        oracle="scipy.stats.kurtosis(fisher=False)",
        expression=value,
    )
