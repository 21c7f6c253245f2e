"""Momentum: returns over a horizon, in percent, against their volatility, and of averages (MACD).

What belongs here: what measures a move and its strength. What does not: plain differences and log
returns (`returns.py`), regressions on time (`trend.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import NONE, PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.volatility import variance_of_bars
from tickhandler_dagster.market.mft.window_math import (
    PERCENT,
    PRICE_BEFORE,
    PRICE_NOW,
    WILDER_MEMORY,
    exponential,
    inputs_of,
)
from tickhandler_dagster.market.mft.windows import Windows

_STANDARD_MACD = (12, 26, 9)


def momentum_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of momentum."""
    skipping = [horizon for horizon in windows.horizons if horizon > 1]
    return (
        *(_momentum(horizon) for horizon in windows.horizons),
        *(_rate_of_change(horizon) for horizon in windows.horizons),
        *(_momentum_skip_last(horizon) for horizon in skipping),
        *(_risk_adjusted(horizon, _beside(horizon, windows)) for horizon in windows.horizons),
        *(_risk_adjusted_skip_last(horizon, _beside(horizon, windows)) for horizon in skipping),
        *_macd(_STANDARD_MACD, to_price=False),
        *(entry for periods in windows.macd for entry in _macd(periods, to_price=True)),
    )


def _beside(horizon: int, windows: Windows) -> int:
    """The smallest volatility window that covers the horizon, else the largest there is."""
    ordered = sorted(windows.volatility)
    return next((bars for bars in ordered if bars >= horizon), ordered[-1])


def _momentum(horizon: int) -> MftFeature:
    value = PRICE_NOW / PRICE_NOW.shift(horizon) - 1
    return MftFeature(
        name=f"momentum_{horizon}",
        formula=f"C/C₋ₕ - 1 over h = {horizon} bars.",
        look_back=horizon,
        needs_trades=True,
        inputs=inputs_of(value),
        oracle="TA-Lib ROCP",
        expression=value,
    )


def _rate_of_change(horizon: int) -> MftFeature:
    value = 100 * (PRICE_NOW / PRICE_NOW.shift(horizon) - 1)
    return MftFeature(
        name=f"roc_pct_{horizon}",
        formula=f"Rate of change: 100·(C/C₋ₕ - 1) over h = {horizon} bars.",
        look_back=horizon,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PERCENT,
        oracle="TA-Lib ROC",
        expression=value,
    )


def _momentum_skip_last(horizon: int) -> MftFeature:
    value = PRICE_BEFORE / PRICE_NOW.shift(horizon) - 1
    return MftFeature(
        name=f"momentum_skip_last_{horizon}",
        formula=f"C₋₁/C₋ₕ - 1, h = {horizon} bars: momentum without the last bar, which tends to "
        "turn back.",
        look_back=horizon,
        needs_trades=True,
        inputs=inputs_of(value),
        expression=value,
    )


def _risk_adjusted(horizon: int, bars: int) -> MftFeature:
    move = PRICE_NOW / PRICE_NOW.shift(horizon) - 1
    value = move / (variance_of_bars(bars) * horizon).sqrt()
    return MftFeature(
        name=f"risk_adjusted_momentum_{horizon}_{bars}",
        formula=f"(C/C₋ₕ - 1)/(std·√h), h = {horizon} bars, std² = mean r² over {bars} bars: the "
        "move in its expected deviations.",
        look_back=max(horizon, bars),
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule="std is 0",
        expression=value,
    )


def _risk_adjusted_skip_last(horizon: int, bars: int) -> MftFeature:
    move = PRICE_BEFORE / PRICE_NOW.shift(horizon) - 1
    value = move / (variance_of_bars(bars).shift(1) * (horizon - 1)).sqrt()
    return MftFeature(
        name=f"risk_adjusted_momentum_skip_last_{horizon}_{bars}",
        formula=f"(C₋₁/C₋ₕ - 1)/(std₋₁·√(h-1)), h = {horizon} bars, std₋₁² = mean r² over {bars} "
        "bars up to the bar before.",
        look_back=max(horizon, bars + 1),
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule="std₋₁ is 0",
        expression=value,
    )


def _macd(periods: tuple[int, int, int], *, to_price: bool) -> tuple[MftFeature, ...]:
    fast, slow, signal = periods
    line = exponential(PRICE_NOW, fast) - exponential(PRICE_NOW, slow)
    smooth = exponential(line, signal)
    lines = (
        ("macd", f"EMA{fast} - EMA{slow} of closes", line),
        ("macd_signal", f"EMA{signal} of EMA{fast} - EMA{slow} of closes", smooth),
        ("macd_histogram", f"EMA{fast} - EMA{slow} minus its EMA{signal}", line - smooth),
    )
    return tuple(
        _macd_line(name, formula, value, periods=periods, to_price=to_price)
        for name, formula, value in lines
    )


def _macd_line(
    name: str, formula: str, value: pl.Expr, *, periods: tuple[int, int, int], to_price: bool
) -> MftFeature:
    fast, slow, signal = periods
    earlier = "; the earlier system's EMAs were the close itself" if not to_price else ""
    return MftFeature(
        name=f"{name}_to_price_{fast}_{slow}_{signal}" if to_price else name,
        formula=f"{formula}{', divided by C' if to_price else ''}; SMA-seeded values agree "
        f"after the look-back{earlier}.",
        look_back=WILDER_MEMORY * max(periods),
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE if not to_price else NONE,
        source="Appel 1979",
        oracle="TA-Lib MACD",
        expression=value / PRICE_NOW if to_price else value,
    )
