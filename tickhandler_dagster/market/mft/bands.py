"""Bands and ranges: where the price stands between them.

What belongs here: Bollinger bands and Donchian channels. What does not: z-scores (`averages.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.window_math import (
    FLAT,
    PRICE_NOW,
    inputs_of,
    window_deviation,
    window_mean,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_EARLIER_WINDOW = 20
_SOURCE = "Bollinger 2001, Bollinger on Bollinger Bands"

SHORTEST_WINDOW = 2
"""Bars."""


def bands_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of bands and channels.

    Raises:
        InvalidInput: A window is shorter than two bars.
    """
    for bars in windows.bollinger:
        refuse_short_window("bollinger", bars, SHORTEST_WINDOW)
    return (
        *_price_bands(_EARLIER_WINDOW),
        *(_percent_b(bars, f"bollinger_percent_b_{bars}") for bars in windows.bollinger),
        *(_width(bars, f"bollinger_width_{bars}") for bars in windows.bollinger),
        *(_position(bars) for bars in windows.averages),
        *(_breakout(bars) for bars in windows.averages),
    )


def _price_bands(bars: int) -> tuple[MftFeature, ...]:
    return (
        _band("bollinger_upper", bars, 2),
        _band("bollinger_lower", bars, -2),
        _percent_b(
            bars, "bollinger_position", "; the earlier system mixed a mean of 20 with a std of 10"
        ),
        _width(bars, "bollinger_width"),
    )


def _band(name: str, bars: int, deviations: int) -> MftFeature:
    value = window_mean(PRICE_NOW, bars) + deviations * window_deviation(PRICE_NOW, bars)
    sign = "+" if deviations > 0 else "-"
    return MftFeature(
        name=name,
        formula=f"mean {sign} 2·std of the closes of {bars} bars, std with ddof = 0.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE,
        source=_SOURCE,
        oracle="TA-Lib BBANDS",
        expression=value,
    )


def _percent_b(bars: int, name: str, earlier: str = "") -> MftFeature:
    deviation = window_deviation(PRICE_NOW, bars)
    place = (PRICE_NOW - window_mean(PRICE_NOW, bars)) / (4 * deviation) + 0.5
    value = pl.when(deviation > FLAT * PRICE_NOW).then(place)
    return MftFeature(
        name=name,
        formula=f"(C - lower)/(upper - lower) of the bands mean ± 2·std of the closes of {bars} "
        f"bars, std with ddof = 0{earlier}.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule="std is not above 1e-12 of the price",
        source=_SOURCE,
        oracle="TA-Lib BBANDS",
        expression=value,
    )


def _width(bars: int, name: str) -> MftFeature:
    value = 4 * window_deviation(PRICE_NOW, bars) / window_mean(PRICE_NOW, bars)
    return MftFeature(
        name=name,
        formula=f"(upper - lower)/mean = 4·std/mean of the closes of {bars} bars, std with "
        "ddof = 0.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        bounds=Bounds(ge=0),
        source=_SOURCE,
        oracle="TA-Lib BBANDS",
        expression=value,
    )


def _channel(bars: int) -> tuple[pl.Expr, pl.Expr]:
    return pl.col("bar_low").rolling_min(bars), pl.col("bar_high").rolling_max(bars)


def _position(bars: int) -> MftFeature:
    low, high = _channel(bars)
    value = (PRICE_NOW - low) / (high - low)
    return MftFeature(
        name=f"donchian_position_{bars}",
        formula=f"(C - min L)/(max H - min L) over {bars} bars.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        bounds=Bounds(ge=0, le=1),
        null_rule="max H = min L",
        expression=value,
    )


def _breakout(bars: int) -> MftFeature:
    low, high = (edge.shift(1) for edge in _channel(bars))
    value = pl.when(high > low).then((PRICE_NOW - low) / (high - low))
    return MftFeature(
        name=f"donchian_breakout_{bars}",
        formula=f"(C - min L)/(max H - min L) over the {bars} bars before the bar: above 1 the "
        "close broke out upwards, below 0 downwards.",
        look_back=bars,
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule="max H = min L",
        expression=value,
    )
