"""Moving averages of closes and where the price stands to them.

What belongs here: averages and z-scores. What does not: bands and ranges (`bands.py`), differences
of averages (`momentum.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import PRICE
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.window_math import (
    FLAT,
    PRICE_NOW,
    WILDER_MEMORY,
    exponential,
    inputs_of,
    weighted_sum,
    window_deviation,
    window_mean,
    with_usual,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_EARLIER_WINDOWS = (5, 10, 20)
_EARLIER_WEIGHTED = 5
_POSITIVE = Bounds(gt=0)

SHORTEST_WINDOW = 2
"""Bars."""


def averages_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of averages of closes.

    Exponential averages have the earlier system's spans alone: they remember ten spans, so that a
    configured 60 would make every day read 600 bars before it, 600 days at 24h.

    Raises:
        InvalidInput: A window is shorter than two bars.
    """
    for bars in windows.averages:
        refuse_short_window("averages", bars, SHORTEST_WINDOW)
    averages = with_usual(windows.averages, _EARLIER_WINDOWS)
    return (
        *(_simple(bars) for bars in averages),
        *(_exponential(span) for span in _EARLIER_WINDOWS),
        _weighted(_EARLIER_WEIGHTED),
        *(_z_score(bars) for bars in windows.averages),
    )


def _simple(bars: int) -> MftFeature:
    value = window_mean(PRICE_NOW, bars)
    return MftFeature(
        name=f"sma_{bars}",
        formula=f"Mean of the closes of {bars} bars.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE,
        bounds=_POSITIVE,
        oracle="TA-Lib SMA",
        expression=value,
    )


def _exponential(span: int) -> MftFeature:
    value = exponential(PRICE_NOW, span)
    return MftFeature(
        name=f"ema_{span}",
        formula=f"e = e₋₁ + 2/({span}+1)·(C - e₋₁); an SMA-seeded EMA agrees after the look-back; "
        "the earlier system's was always the close.",
        look_back=WILDER_MEMORY * span,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE,
        bounds=_POSITIVE,
        oracle="TA-Lib EMA",
        expression=value,
    )


def _weighted(bars: int) -> MftFeature:
    total = bars * (bars + 1) / 2
    value = weighted_sum(PRICE_NOW, [float(weight) for weight in range(1, bars + 1)]) / total
    return MftFeature(
        name=f"wma_{bars}",
        formula=f"Σ k·C / Σ k over {bars} bars, weights k from 1, the oldest, to {bars}.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=PRICE,
        bounds=_POSITIVE,
        oracle="TA-Lib WMA",
        expression=value,
    )


def _z_score(bars: int) -> MftFeature:
    deviation = window_deviation(PRICE_NOW, bars)
    score = (PRICE_NOW - window_mean(PRICE_NOW, bars)) / deviation
    value = pl.when(deviation > FLAT * PRICE_NOW).then(score)
    return MftFeature(
        name=f"price_z_score_{bars}",
        formula=f"(C - mean)/std of the closes of {bars} bars, std with ddof = 0.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule="std is not above 1e-12 of the price",
        expression=value,
    )
