"""Volatility from the open, high, low and close of bars.

What belongs here: range estimators, yearly, and the bar's own range. What does not: estimators of
closes alone (`volatility.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import polars as pl

from tickhandler_dagster.market.features.units import PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.volatility import SHORTEST_WINDOW
from tickhandler_dagster.market.mft.window_math import (
    PER_ROOT_YEAR,
    PRICE_BEFORE,
    PRICE_NOW,
    annualised,
    inputs_of,
    window_mean,
    window_sum,
    window_variance,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_NOT_NEGATIVE = Bounds(ge=0)
_MIN_MEAN_TRADES = 100

_OPEN, _HIGH, _LOW = pl.col("bar_open"), pl.col("bar_high"), pl.col("bar_low")
_RANGE = (_HIGH / _LOW).log()
_BODY = (PRICE_NOW / _OPEN).log()
_DRIFT_FREE = (_HIGH / _OPEN).log() * (_HIGH / PRICE_NOW).log() + (_LOW / _OPEN).log() * (
    _LOW / PRICE_NOW
).log()


def range_volatility_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of range estimators and of the bar's own range.

    Raises:
        InvalidInput: A window is shorter than two bars.
    """
    for bars in windows.volatility:
        refuse_short_window("volatility", bars, SHORTEST_WINDOW)
    estimators: tuple[Callable[[int], MftFeature], ...] = (
        _parkinson,
        _garman_klass,
        _rogers_satchell,
        _yang_zhang,
    )
    return (
        *(estimator(bars) for estimator in estimators for bars in windows.volatility),
        MftFeature(
            name="high_low_ratio",
            formula="(H - L)/C of the bar.",
            look_back=0,
            needs_trades=True,
            inputs=inputs_of((_HIGH - _LOW) / PRICE_NOW),
            bounds=_NOT_NEGATIVE,
            expression=(_HIGH - _LOW) / PRICE_NOW,
        ),
        MftFeature(
            name="bid_ask_spread_proxy",
            formula="H - L of the bar: an upper bound of what one trade can differ from another, "
            "not a quoted spread.",
            look_back=0,
            needs_trades=True,
            inputs=inputs_of(_HIGH - _LOW),
            unit=PRICE,
            bounds=_NOT_NEGATIVE,
            expression=_HIGH - _LOW,
        ),
    )


def _estimator(
    name: str, formula: str, variance: pl.Expr, *, look_back: int, null_rule: str = "", source: str
) -> MftFeature:
    value = annualised(variance)
    return MftFeature(
        name=name,
        formula=formula,
        look_back=look_back,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PER_ROOT_YEAR,
        bounds=_NOT_NEGATIVE,
        null_rule=null_rule,
        source=source,
        expression=value,
    )


def _parkinson(bars: int) -> MftFeature:
    variance = window_mean(_RANGE * _RANGE, bars) / (4 * math.log(2))
    # Sums, not means: dividing by the window rounds, and 100 of 100 would be too few.
    is_dense = window_sum(pl.col("trades"), bars) >= _MIN_MEAN_TRADES * bars
    return _estimator(
        f"parkinson_vol_{bars}",
        f"√(mean ln²(H/L)/(4 ln 2) · bars per year) over {bars} bars, year = 365 days; few trades "
        "per bar bias it down, drift up.",
        pl.when(is_dense).then(variance),
        look_back=bars - 1,
        null_rule=f"fewer than {_MIN_MEAN_TRADES} trades per bar on average over the window",
        source="Parkinson 1980, Journal of Business 53",
    )


def _garman_klass(bars: int) -> MftFeature:
    bar = 0.5 * _RANGE * _RANGE - (2 * math.log(2) - 1) * _BODY * _BODY
    return _estimator(
        f"garman_klass_vol_{bars}",
        f"√(mean[½ ln²(H/L) - (2 ln 2 - 1) ln²(C/O)] · bars per year) over {bars} bars; assumes no "
        "drift.",
        window_mean(bar, bars),
        look_back=bars - 1,
        source="Garman, Klass 1980, Journal of Business 53",
    )


def _rogers_satchell(bars: int) -> MftFeature:
    return _estimator(
        f"rogers_satchell_vol_{bars}",
        "√(mean[ln(H/O)·ln(H/C) + ln(L/O)·ln(L/C)] · bars per year) over "
        f"{bars} bars; free of drift, biased down by few trades per bar.",
        window_mean(_DRIFT_FREE, bars),
        look_back=bars - 1,
        source="Rogers, Satchell 1991, Annals of Applied Probability 1",
    )


def _yang_zhang(bars: int) -> MftFeature:
    k = 0.34 / (1.34 + (bars + 1) / (bars - 1))
    jump = window_variance((_OPEN / PRICE_BEFORE).log(), bars)
    body = window_variance(_BODY, bars)
    return _estimator(
        f"yang_zhang_vol_{bars}",
        "√([Vo + k·Vc + (1-k)·Vrs] · bars per year), Vo = Var ln(O/C₋₁), Vc = Var ln(C/O), "
        f"ddof = 1, Vrs Rogers-Satchell, k = .34/(1.34+(w+1)/(w-1)), w = {bars}.",
        jump + k * body + (1 - k) * window_mean(_DRIFT_FREE, bars),
        look_back=bars,
        source="Yang, Zhang 2000, Journal of Business 73",
    )
