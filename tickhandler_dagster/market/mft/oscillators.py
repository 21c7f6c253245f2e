"""Oscillators: relative strength, and the direction and size of ranges.

What belongs here: Wilder's indicators. What does not: positions in a band or range (`bands.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import NONE, PRICE, Unit
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.window_math import (
    CASCADE_MEMORY,
    CHANGE,
    PERCENT,
    PRICE_BEFORE,
    PRICE_NOW,
    WILDER_MEMORY,
    inputs_of,
    unless_flat,
    wilder,
    with_usual,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_EARLIER_PERIODS = (5,)
_WILDER = "Wilder 1978, New Concepts in Technical Trading Systems"
_TO_HUNDRED = Bounds(ge=0, le=100)

_HIGH, _LOW = pl.col("bar_high"), pl.col("bar_low")
_TRUE_RANGE = pl.max_horizontal(_HIGH, PRICE_BEFORE) - pl.min_horizontal(_LOW, PRICE_BEFORE)
_UP = _HIGH - _HIGH.shift(1)
_DOWN = _LOW.shift(1) - _LOW


def oscillators_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of Wilder's indicators."""
    return (
        *(_relative_strength(period) for period in with_usual(windows.rsi, _EARLIER_PERIODS)),
        *(entry for period in windows.atr for entry in _true_ranges(period)),
        *(entry for period in windows.atr for entry in _directions(period)),
    )


def _relative_strength(period: int) -> MftFeature:
    memory = WILDER_MEMORY * period
    gain = wilder(CHANGE.clip(lower_bound=0), period)
    loss = wilder((-CHANGE).clip(lower_bound=0), period)
    value = unless_flat((100 * gain / (gain + loss)).clip(0, 100), CHANGE.abs(), memory)
    earlier = (
        "; the earlier system took simple means of 5 bars" if period in _EARLIER_PERIODS else ""
    )
    return MftFeature(
        name=f"rsi_{period}",
        formula=f"100·G/(G+L), G and L Wilder's means (alpha = 1/{period}) of rises and falls of "
        f"C; equal to SMA-seeded values after the look-back{earlier}.",
        look_back=memory,
        needs_trades=True,
        inputs=inputs_of(value),
        bounds=_TO_HUNDRED,
        null_rule="the price did not change in the look-back",
        source=_WILDER,
        oracle="TA-Lib RSI",
        expression=value,
    )


def _true_ranges(period: int) -> tuple[MftFeature, ...]:
    mean = wilder(_TRUE_RANGE, period)
    text = f"Wilder's mean (alpha = 1/{period}) of max(H, C₋₁) - min(L, C₋₁)"
    return (
        _wilder_entry(
            f"atr_{period}",
            f"{text}; equal to SMA-seeded values after the look-back.",
            mean,
            period=period,
            unit=PRICE,
            bounds=Bounds(ge=0),
            oracle="ATR",
        ),
        _wilder_entry(
            f"natr_pct_{period}",
            f"100/C times {text}.",
            100 * mean / PRICE_NOW,
            period=period,
            unit=PERCENT,
            bounds=Bounds(ge=0),
            oracle="NATR",
        ),
    )


def _directions(period: int) -> tuple[MftFeature, ...]:
    known = _UP.is_not_null() & _DOWN.is_not_null()
    rise = pl.when(known).then(pl.when((_UP > _DOWN) & (_UP > 0)).then(_UP).otherwise(0.0))
    fall = pl.when(known).then(pl.when((_DOWN > _UP) & (_DOWN > 0)).then(_DOWN).otherwise(0.0))
    plus, minus = wilder(rise, period), wilder(fall, period)
    spread = pl.when(plus + minus > 0).then(100 * (plus - minus).abs() / (plus + minus))
    mean = wilder(_TRUE_RANGE, period)
    moves = f"Wilder's mean (alpha = 1/{period})"
    return (
        _wilder_entry(
            f"plus_di_{period}",
            f"100 times {moves} of H - H₋₁ where above 0 and above L₋₁ - L, over that of the true "
            "range.",
            _of_range(plus, mean, period),
            period=period,
            oracle="PLUS_DI",
            null_rule="no bar of the look-back has a range",
        ),
        _wilder_entry(
            f"minus_di_{period}",
            f"100 times {moves} of L₋₁ - L where above 0 and above H - H₋₁, over that of the true "
            "range.",
            _of_range(minus, mean, period),
            period=period,
            oracle="MINUS_DI",
            null_rule="no bar of the look-back has a range",
        ),
        _wilder_entry(
            f"adx_{period}",
            f"{moves} of 100·|+DI - -DI|/(+DI + -DI); a mean of means, so its look-back is "
            f"{CASCADE_MEMORY} periods.",
            unless_flat(wilder(spread, period).clip(0, 100), rise + fall, CASCADE_MEMORY * period),
            period=period,
            memory=CASCADE_MEMORY,
            oracle="ADX",
            null_rule="no bar of the look-back has a directional move",
        ),
    )


def _of_range(move: pl.Expr, mean: pl.Expr, period: int) -> pl.Expr:
    return unless_flat((100 * move / mean).clip(0, 100), _TRUE_RANGE, WILDER_MEMORY * period)


def _wilder_entry(
    name: str,
    formula: str,
    value: pl.Expr,
    *,
    period: int,
    oracle: str,
    memory: int = WILDER_MEMORY,
    unit: Unit = NONE,
    bounds: Bounds = _TO_HUNDRED,
    null_rule: str = "",
) -> MftFeature:
    return MftFeature(
        name=name,
        formula=formula,
        look_back=memory * period,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=unit,
        bounds=bounds,
        null_rule=null_rule,
        source=_WILDER,
        oracle=f"TA-Lib {oracle}",
        expression=value,
    )
