"""Price and volume together: on-balance volume, deviation from VWAP, activity of a bar.

What belongs here: what weighs moves by volume, with the earlier system's names. What does not:
flow by the taker's side and rolled costs.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.features.units import BASE, PER_S, Unit
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.window_math import (
    CHANGE,
    PRICE_NOW,
    WILDER_MEMORY,
    exponential,
    inputs_of,
    window_mean,
    window_sum,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

_EARLIER_WINDOW = 5
_NOT_NEGATIVE = Bounds(ge=0)
_NO_SIZES = "the contract's units are unknown"
_PER_BASE = Unit("the venue's price unit per base asset", price=1, size=-1)

_VOLUME = pl.col("base_volume")
_SIGNED = CHANGE.sign() * _VOLUME


def price_volume_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of price and volume."""
    return (
        *(_balance_change(bars) for bars in windows.flow),
        *(_balance_score(bars) for bars in windows.flow),
        *(_vwap_deviation(bars) for bars in windows.flow),
        *_earlier_volumes(_EARLIER_WINDOW),
        *_earlier_bar(),
    )


def _balance_change(bars: int) -> MftFeature:
    value = window_sum(_SIGNED, bars)
    return MftFeature(
        name=f"obv_change_{bars}",
        formula=f"On-balance volume minus that of {bars} bars before: Σ sign(C - C₋₁)·V.",
        look_back=bars,
        needs_trades=True,
        inputs=inputs_of(value),
        unit=BASE,
        null_rule=_NO_SIZES,
        source="Granville 1963",
        oracle="TA-Lib OBV, differences",
        expression=value,
    )


def _balance_score(bars: int) -> MftFeature:
    value = window_sum(_SIGNED, bars) / window_sum(_SIGNED * _SIGNED, bars).sqrt()
    return MftFeature(
        name=f"obv_change_z_{bars}",
        formula=f"Σs/√Σs² of s = sign(C - C₋₁)·V over {bars} bars: the change of on-balance volume "
        "in deviations it has if signs are by chance.",
        look_back=bars,
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule=f"the price did not change in the window; {_NO_SIZES}",
        expression=value,
    )


def _vwap_deviation(bars: int) -> MftFeature:
    vwap = window_sum(pl.col("quote_volume"), bars) / window_sum(_VOLUME, bars)
    value = (PRICE_NOW / vwap).log()
    return MftFeature(
        name=f"vwap_deviation_{bars}",
        formula=f"ln(C/(ΣN/ΣV)) over {bars} bars, N in quote and V in base asset; anchored to the "
        "window, not to a day.",
        look_back=bars - 1,
        needs_trades=True,
        inputs=inputs_of(value),
        null_rule=f"ΣV is 0; {_NO_SIZES}",
        expression=value,
    )


def _earlier_volumes(bars: int) -> tuple[MftFeature, ...]:
    mean = window_mean(_VOLUME, bars)
    return (
        MftFeature(
            name=f"volume_sma_{bars}",
            formula=f"Mean volume of {bars} bars.",
            look_back=bars - 1,
            needs_trades=True,
            inputs=inputs_of(mean),
            unit=BASE,
            bounds=_NOT_NEGATIVE,
            null_rule=_NO_SIZES,
            oracle="TA-Lib SMA",
            expression=mean,
        ),
        MftFeature(
            name=f"volume_ema_{bars}",
            formula=f"e = e₋₁ + 2/({bars}+1)·(V - e₋₁); the earlier system's was always V.",
            look_back=WILDER_MEMORY * bars,
            needs_trades=True,
            inputs=inputs_of(_VOLUME),
            unit=BASE,
            bounds=_NOT_NEGATIVE,
            null_rule=_NO_SIZES,
            oracle="TA-Lib EMA",
            expression=exponential(_VOLUME, bars),
        ),
        MftFeature(
            name="volume_ratio",
            formula=f"V/mean V of {bars} bars, the bar among them.",
            look_back=bars - 1,
            needs_trades=True,
            inputs=inputs_of(mean),
            bounds=_NOT_NEGATIVE,
            null_rule=f"no volume in the window; {_NO_SIZES}",
            expression=_VOLUME / mean,
        ),
    )


def _earlier_bar() -> tuple[MftFeature, ...]:
    seconds = (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds() / 1e6
    intensity = pl.col("trades").cast(pl.Float64) / seconds
    size = _VOLUME / pl.col("trades")
    deviation = PRICE_NOW / pl.col("price_vwap") - 1
    impact = CHANGE.abs() / _VOLUME
    return (
        MftFeature(
            name="vwap_deviation",
            formula="(C - VWAP)/VWAP of the bar.",
            look_back=0,
            needs_trades=True,
            inputs=inputs_of(deviation),
            null_rule="the bar has no VWAP",
            expression=deviation,
        ),
        MftFeature(
            name="trade_intensity",
            formula="Trades per second of the bar's width.",
            look_back=0,
            needs_trades=True,
            inputs=inputs_of(intensity),
            unit=PER_S,
            bounds=_NOT_NEGATIVE,
            expression=intensity,
        ),
        MftFeature(
            name="avg_trade_size",
            formula="V/number of trades of the bar.",
            look_back=0,
            needs_trades=True,
            inputs=inputs_of(size),
            unit=BASE,
            bounds=_NOT_NEGATIVE,
            null_rule=_NO_SIZES,
            expression=size,
        ),
        MftFeature(
            name="price_impact",
            formula="|C - C₋₁|/V: move per unit of volume; the earlier system divided by V - V₋₁ "
            "and had none where volume did not grow.",
            look_back=1,
            needs_trades=True,
            inputs=inputs_of(impact),
            unit=_PER_BASE,
            bounds=_NOT_NEGATIVE,
            null_rule=f"V is 0; {_NO_SIZES}",
            expression=impact,
        ),
    )
