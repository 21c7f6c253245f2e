"""Returns: how far the price went over a horizon, with the earlier system's names.

What belongs here: log returns and price differences. What does not: returns compared with their
volatility, and averages (`momentum.py`, `averages.py`).
"""

from __future__ import annotations

from tickhandler_dagster.market.features.units import PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.window_math import (
    CHANGE,
    LOG_RETURN,
    PRICE_NOW,
    inputs_of,
)
from tickhandler_dagster.market.mft.windows import Windows

_EARLIER_HORIZONS = (3, 5, 10, 20)


def returns_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of returns."""
    return (
        *(_log_return(horizon) for horizon in windows.horizons),
        MftFeature(
            name="close_to_close_return",
            formula="ln(C/C₋₁) of neighbouring bars; 0 without trades.",
            look_back=1,
            inputs=inputs_of(LOG_RETURN),
            expression=LOG_RETURN,
        ),
        *(_price_momentum(horizon) for horizon in _EARLIER_HORIZONS),
        MftFeature(
            name="price_velocity",
            formula="C - C₋₁, per bar.",
            look_back=1,
            needs_trades=True,
            inputs=inputs_of(CHANGE),
            unit=PRICE,
            expression=CHANGE,
        ),
        MftFeature(
            name="price_acceleration",
            formula="(C - C₋₁) - (C₋₁ - C₋₂), per bar².",
            look_back=2,
            needs_trades=True,
            inputs=inputs_of(CHANGE),
            unit=PRICE,
            expression=CHANGE - CHANGE.shift(1),
        ),
    )


def _log_return(horizon: int) -> MftFeature:
    # Of the two ends, not the sum of the bars' returns: one rounding and no window of sums.
    value = (PRICE_NOW / PRICE_NOW.shift(horizon)).log()
    return MftFeature(
        name=f"log_return_{horizon}",
        formula=f"ln(C/C₋ₕ) over h = {horizon} bars; a bar without trades keeps the last close.",
        look_back=horizon,
        inputs=inputs_of(value),
        expression=value,
    )


def _price_momentum(horizon: int) -> MftFeature:
    value = PRICE_NOW / PRICE_NOW.shift(horizon) - 1
    return MftFeature(
        name=f"price_momentum_{horizon}",
        formula=f"(C - C₋ₕ)/C₋ₕ over h = {horizon} bars.",
        look_back=horizon,
        needs_trades=True,
        inputs=inputs_of(value),
        oracle="TA-Lib ROCP",
        expression=value,
    )
