"""Hurst exponent of log prices: how the spread of moves grows with their length.

What belongs here: the entries of `hurst_<window>` and the choice of lags.

The estimate is biased low, since moves as long as a quarter of the window overlap and share its
mean. At 256 closes a random walk gives 0.43 ± 0.09 (mean and deviation of simulated paths), and
fractional Brownian motion of exponent 0.3 and 0.7 gives 0.26 ± 0.07 and 0.58 ± 0.10; at 4,096
closes the random walk gives 0.47 ± 0.05. It is not corrected: a correction holds for one process
only. Compare values with each other, not with 0.5.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import polars as pl

from tickhandler_dagster.market.mft.comoments import variance
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.windows import Windows

SHORTEST_WINDOW = 256
"""Closes."""


def hurst_features(windows: Windows) -> tuple[MftFeature, ...]:
    """One entry per window.

    Raises:
        InvalidInput: A window is shorter than 256 closes.
    """
    return tuple(_hurst(window) for window in windows.hurst)


def hurst_lags(window: int) -> tuple[int, ...]:
    """Lags τ of the regression: 2, 3, 4, 6, 8, 11, … up to a quarter of the window.

    Two per octave rather than every integer. Neighbouring lags share nearly all of their moves: at
    256 closes 63 lags cost six times as much as these 11 and put the weight on the long ones, of
    which the window holds few; a random walk then gives 0.40 ± 0.11 instead of 0.43 ± 0.09.

    Example:
        >>> hurst_lags(256)
        (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64)
    """
    longest = window // 4
    count = 2 * longest.bit_length()
    lags = {round(2 ** (1 + half / 2)) for half in range(count)}
    return tuple(sorted(lag for lag in lags if lag <= longest))


def _hurst(window: int) -> MftFeature:
    refuse_short_window("hurst", window, SHORTEST_WINDOW)
    lags = hurst_lags(window)
    return MftFeature(
        name=f"hurst_{window}",
        formula=(
            f"Hurst exponent of {window} closes: OLS slope of ln std(x_{{s+τ}} - x_s) on ln τ, "
            f"x = ln price, ddof 0, at the {len(lags)} lags τ ≈ 2·2^(i/2) from 2 to {lags[-1]}."
        ),
        look_back=window - 1,
        needs_trades=True,
        inputs=("price",),
        null_rule="the moves of some lag do not vary",
        source="Di Matteo 2007, Quantitative Finance 7(1), with the second moment about the mean",
        oracle="simulated fractional Brownian motion; a random walk gives 0.43 at 256 closes",
        expression=_expression(lags, window),
    )


def _expression(lags: tuple[int, ...], window: int) -> pl.Expr:
    """The slope is a fixed weighting of the logarithms, since the lags are the same everywhere."""
    price = pl.col("price")
    terms = (
        weight / 2 * variance((price / price.shift(lag)).log(), window - lag).log()
        for lag, weight in zip(lags, _slope_weights(lags), strict=True)
    )
    return reduce(add, terms)


def _slope_weights(lags: tuple[int, ...]) -> list[float]:
    """Weights that make Σ weight·y the OLS slope of y on ln τ."""
    logs = [math.log(lag) for lag in lags]
    mean = math.fsum(logs) / len(logs)
    spread = math.fsum((log - mean) ** 2 for log in logs)
    return [(log - mean) / spread for log in logs]
