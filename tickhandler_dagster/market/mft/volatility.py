"""Volatility from closes and from stored realised variance.

What belongs here: sums and recursions of squared returns, and what compares them. What does not:
estimators that read the range of a bar (`range_volatility.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.window_math import (
    HALF_LIVES,
    LOG_RETURN,
    PER_ROOT_YEAR,
    PRICE_NOW,
    annualised,
    inputs_of,
    window_deviation,
    window_mean,
    window_variance,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_NOT_NEGATIVE = Bounds(ge=0)
_EARLIER_WINDOWS = (5, 10, 20)

SHORTEST_WINDOW = 2
"""Bars."""


def volatility_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of volatility from closes and stored variances.

    Raises:
        InvalidInput: A window is shorter than two bars.
    """
    for bars in windows.volatility:
        refuse_short_window("volatility", bars, SHORTEST_WINDOW)
    return (
        *(_from_bars(bars) for bars in windows.volatility),
        *(_from_variances(bars) for bars in windows.volatility),
        *(_exponential(half_life) for half_life in windows.ewma_half_lives),
        *(_ratio(short, long) for short, long in windows.vol_ratios),
        *(_vol_of_vol(bars) for bars in windows.volatility),
        *(_price_volatility(bars) for bars in _EARLIER_WINDOWS),
    )


def variance_of_bars(bars: int) -> pl.Expr:
    """Mean of squared log returns of one bar, about zero."""
    return window_mean(LOG_RETURN * LOG_RETURN, bars)


def _from_bars(bars: int) -> MftFeature:
    value = annualised(variance_of_bars(bars))
    return MftFeature(
        name=f"realized_vol_bars_{bars}",
        formula=f"√(Σr²/w · bars per year), r = ln(C/C₋₁), w = {bars}, year = 365 days; the mean "
        "return is taken as zero.",
        look_back=bars,
        inputs=inputs_of(value),
        unit=PER_ROOT_YEAR,
        bounds=_NOT_NEGATIVE,
        expression=value,
    )


def _from_variances(bars: int) -> MftFeature:
    value = annualised(window_mean(pl.col("realized_variance"), bars))
    return MftFeature(
        name=f"realized_vol_rv_{bars}",
        formula=f"√(ΣRV/w · bars per year), RV the bar's stored realized_variance of one-second "
        f"returns of the mid, w = {bars}, year = 365 days.",
        look_back=bars - 1,
        inputs=inputs_of(value),
        unit=PER_ROOT_YEAR,
        bounds=_NOT_NEGATIVE,
        null_rule="a bar of the window has no realized_variance",
        source="Andersen, Bollerslev, Diebold, Labys 2003, Econometrica 71",
        expression=value,
    )


def _exponential(half_life: int) -> MftFeature:
    square = LOG_RETURN * LOG_RETURN
    variance = square.ewm_mean(half_life=half_life, adjust=False, ignore_nulls=True)
    value = annualised(variance)
    return MftFeature(
        name=f"ewma_vol_{half_life}",
        formula=f"√(σ² · bars per year), σ² = λσ₋₁² + (1-λ)r², λ = 2^(-1/{half_life}), seeded with "
        f"the first r²; 2^-{HALF_LIVES} of the seed is left after {HALF_LIVES} half-lives.",
        look_back=HALF_LIVES * half_life,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PER_ROOT_YEAR,
        bounds=_NOT_NEGATIVE,
        source="RiskMetrics Technical Document, 4th ed., 1996, 5.2",
        expression=value,
    )


def _ratio(short: int, long: int) -> MftFeature:
    value = (variance_of_bars(short) / variance_of_bars(long)).sqrt()
    return MftFeature(
        name=f"vol_ratio_{short}_{long}",
        formula=f"√(mean r² over {short} bars / mean r² over {long} bars).",
        look_back=max(short, long),
        needs_trades=True,
        inputs=inputs_of(value),
        bounds=_NOT_NEGATIVE,
        null_rule="the price did not change in the long window",
        expression=value,
    )


def _vol_of_vol(bars: int) -> MftFeature:
    value = window_variance(annualised(variance_of_bars(bars)), bars).sqrt()
    return MftFeature(
        name=f"vol_of_vol_{bars}",
        formula=f"Standard deviation (ddof = 1) of the last {bars} values of "
        f"realized_vol_bars_{bars}.",
        look_back=2 * bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PER_ROOT_YEAR,
        bounds=_NOT_NEGATIVE,
        expression=value,
    )


def _price_volatility(bars: int) -> MftFeature:
    value = window_deviation(PRICE_NOW, bars)
    return MftFeature(
        name=f"price_volatility_{bars}",
        formula=f"Standard deviation (ddof = 0) of the closes of {bars} bars.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE,
        bounds=_NOT_NEGATIVE,
        oracle="TA-Lib STDDEV",
        expression=value,
    )
