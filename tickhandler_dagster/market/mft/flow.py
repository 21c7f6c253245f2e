"""Volume and order flow over a window: how much, from which side, at what cost.

What belongs here: entries of volume, flow, liquidations and averages of cost measures. What does
not: the bars' own measures (`market/features`), shares among venues (`venues.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from tickhandler_dagster.market.features.units import BPS, Unit
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.trailing import trailing_weighted_mean, trailing_z
from tickhandler_dagster.market.mft.window_math import window_sum
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SLOT_WEEKS = 4
"""Weeks before that a bar's volume is held against."""

FEWEST_SIGNS = 20
"""Shortest window of the autocorrelation of signs: fewer pairs say nothing."""

_PER_MILLION = Unit("log return per million of the quote asset", price=-1, size=-1)
_BPS_PER_MILLION = Unit("basis points per million of the quote asset", price=-1, size=-1)

_UNKNOWN_UNITS = "the size of a contract is unknown"
_ROLLED = "the bar has no value in more than half of the window; no trades in those that have"
_COSTS: tuple[tuple[str, str, Unit, Bounds, str], ...] = (
    (
        "amihud",
        "price move per million traded",
        _PER_MILLION,
        Bounds(ge=0),
        "Amihud 2002, Illiquidity and stock returns",
    ),
    (
        "kyle_lambda",
        "price move per million of signed money",
        _BPS_PER_MILLION,
        Bounds(),
        "Kyle 1985, Continuous auctions and insider trading",
    ),
    ("effective_spread_bps", "effective spread", BPS, Bounds(), ""),
    ("spread_tw_bps", "time-weighted quoted spread", BPS, Bounds(gt=0), ""),
)

_buys, _sells = pl.col("buys"), pl.col("sells")
_imbalance = pl.when(pl.col("is_traded")).then("trade_flow_imbalance").otherwise(0.0)
"""A bar without trades has no flow to either side."""


def flow_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of volume and flow for these windows, in the order of the columns."""
    return (
        _relative_volume(),
        *(entry for window in windows.flow for entry in _volume_and_sides(window)),
        *(entry for window in windows.flow for entry in _persistence(window)),
        *(entry for window in windows.flow for entry in _costs(window)),
    )


def _relative_volume() -> MftFeature:
    mean, count = pl.col("slot_volume_mean_4w"), pl.col("slot_volume_count_4w")
    return MftFeature(
        name="relative_volume_4w",
        formula="V / mean V of the bars exactly 7, 14, 21 and 28 days before.",
        look_back=0,
        inputs=("base_volume", "slot_volume_mean_4w", "slot_volume_count_4w"),
        expression=pl.when((count == SLOT_WEEKS) & (mean > 0)).then(pl.col("base_volume") / mean),
        bounds=Bounds(ge=0),
        null_rule=f"one of the four bars is missing, not final or has a gap; their mean is 0; "
        f"{_UNKNOWN_UNITS}",
    )


def _volume_and_sides(window: int) -> Iterator[MftFeature]:
    entry = partial(MftFeature, look_back=window - 1)
    bought, sold = window_sum(_buys, window), window_sum(_sells, window)
    yield entry(
        name=f"volume_z_{window}",
        formula=f"(V - mean V) / standard deviation of V (ddof 0) over {window} bars.",
        inputs=("base_volume",),
        expression=trailing_z(pl.col("base_volume"), window),
        null_rule=f"the volume does not vary; {_UNKNOWN_UNITS}",
    )
    yield entry(
        name=f"order_flow_imbalance_{window}",
        formula=f"(Σ Vb - Σ Vs) / (Σ Vb + Σ Vs) of what takers bought and sold over {window} bars.",
        inputs=("buys", "sells"),
        expression=(bought - sold) / (bought + sold),
        bounds=Bounds(ge=-1, le=1),
        null_rule=f"no volume with a known side; {_UNKNOWN_UNITS}",
    )
    yield entry(
        name=f"aggressive_buy_sell_ratio_{window}",
        formula=f"Σ Vb / Σ Vs of what takers bought and sold over {window} bars.",
        inputs=("buys", "sells"),
        expression=bought / sold,
        bounds=Bounds(ge=0),
        null_rule=f"nothing sold by takers; {_UNKNOWN_UNITS}",
    )
    yield entry(
        name=f"liquidation_intensity_{window}",
        formula=f"Σ liquidation notional / Σ notional over {window} bars.",
        inputs=("liquidation_notional", "quote_volume"),
        expression=window_sum(pl.col("liquidation_notional"), window)
        / window_sum(pl.col("quote_volume"), window),
        bounds=Bounds(ge=0),
        null_rule=f"nothing traded; liquidations of a bar unknown; {_UNKNOWN_UNITS}",
    )


def _persistence(window: int) -> Iterator[MftFeature]:
    inputs = ("is_traded", "trade_flow_imbalance")
    null_rule = f"a traded bar has no volume with a known side; {_UNKNOWN_UNITS}"
    yield MftFeature(
        name=f"flow_persistence_{window}",
        formula=f"Σ trade_flow_imbalance over {window} bars; a bar without trades adds 0.",
        look_back=window - 1,
        inputs=inputs,
        expression=window_sum(_imbalance, window),
        bounds=Bounds(ge=-window, le=window),
        null_rule=null_rule,
    )
    if window >= FEWEST_SIGNS:
        yield MftFeature(
            name=f"flow_sign_autocorr_{window}",
            formula=f"corr(s_t, s_t-1) over {window} pairs of neighbouring bars, s = "
            "sign(trade_flow_imbalance), 0 without trades.",
            look_back=window,
            inputs=inputs,
            expression=_sign_autocorrelation(window),
            bounds=Bounds(ge=-1, le=1),
            null_rule=f"all signs alike; {null_rule}",
        )


def _sign_autocorrelation(window: int) -> pl.Expr:
    """Sums of whole numbers: exact in any order, so Polars' own rolling sums do."""
    sign = _imbalance.sign().cast(pl.Int64)
    before = sign.shift(1)
    both, now, then = (term.rolling_sum(window) for term in (sign * before, sign, before))
    squares = (window * (term**2).rolling_sum(window) for term in (sign, before))
    spread_now, spread_then = (
        (square - total**2) for square, total in zip(squares, (now, then), strict=True)
    )
    spread = (spread_now * spread_then).cast(pl.Float64).sqrt()
    # The root is not always exact: 1.0000000000000002 is no correlation.
    return ((window * both - now * then) / spread).clip(-1, 1)


def _costs(window: int) -> Iterator[MftFeature]:
    for name, meaning, unit, bounds, source in _COSTS:
        yield MftFeature(
            name=f"{name}_{window}",
            formula=f"Mean {meaning} of {window} bars, weighted by trades: Σ n·{name} / Σ n.",
            look_back=window - 1,
            inputs=(name, "trades"),
            expression=trailing_weighted_mean(pl.col(name), pl.col("trades"), window),
            unit=unit,
            bounds=bounds,
            null_rule=_ROLLED,
            source=source,
        )
