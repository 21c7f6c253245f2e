"""Carry: funding, open interest, premium and basis over bars.

What belongs here: entries that stand on the derivative ticker. What does not: the option surface
(`surface_changes.py`), prices alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from tickhandler_dagster.market.features.units import FRACTION, PER_YEAR
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.trailing import LEAST_RELATIVE_SPREAD, trailing_z
from tickhandler_dagster.market.mft.window_math import window_sum
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

TRAILING_DAYS = 30
"""Days of the 24 h candles that a bar is held against."""

_NO_TICKER = "no row of the ticker in the last 10 min"
_NO_VARIATION = "the window does not vary"

_funding = pl.col("funding_annualised")
_basis = pl.col("futures_basis_annualised")
_next, _interval = pl.col("next_funding_time"), pl.col("funding_interval_h")


def carry_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of carry for these windows, in the order of the columns."""
    return (
        *_levels(),
        *(entry for window in windows.carry for entry in _over(window)),
        *(entry for horizon in windows.horizons for entry in _changes(horizon)),
    )


def _levels() -> Iterator[MftFeature]:
    yield MftFeature(
        name="funding_carry",
        formula="Annualised rate of the next funding at the bar's end.",
        look_back=0,
        inputs=("funding_annualised",),
        expression=_funding,
        unit=PER_YEAR,
        null_rule=f"{_NO_TICKER}; interval unknown",
        source="Koijen, Moskowitz, Pedersen and Vrugt 2018, Carry",
    )
    yield MftFeature(
        name="funding_carry_z_30d",
        formula="(funding_carry - mean) / standard deviation (ddof 0) of its value at the ends of "
        f"the {TRAILING_DAYS} UTC days before.",
        look_back=0,
        inputs=(
            "funding_annualised",
            "funding_mean_30d",
            "funding_std_30d",
            "funding_count_30d",
        ),
        expression=_z_of_days(),
        null_rule=f"one of the {TRAILING_DAYS} days has no value; they do not vary; {_NO_TICKER}",
    )


def _z_of_days() -> pl.Expr:
    mean, deviation = pl.col("funding_mean_30d"), pl.col("funding_std_30d")
    is_whole = pl.col("funding_count_30d") == TRAILING_DAYS
    varies = deviation > mean.abs() * LEAST_RELATIVE_SPREAD
    return pl.when(is_whole & varies).then((_funding - mean) / deviation)


def _over(window: int) -> Iterator[MftFeature]:
    entry = partial(MftFeature, look_back=window - 1)
    yield entry(
        name=f"funding_carry_z_{window}",
        formula=f"(funding_carry - mean) / standard deviation (ddof 0) over {window} bars.",
        inputs=("funding_annualised",),
        expression=trailing_z(_funding, window),
        null_rule=f"{_NO_VARIATION}; {_NO_TICKER} of a bar",
    )
    yield MftFeature(
        name=f"funding_settled_sum_{window}",
        formula=f"Σ funding_settled over those of {window} bars in which next_funding_time moved "
        "on from a time that had passed: each funding once.",
        look_back=window,
        inputs=(
            "ts_open",
            "ts_close",
            "next_funding_time",
            "funding_settled",
            "funding_interval_h",
        ),
        expression=window_sum(_settled_in_bar(), window),
        unit=FRACTION,
        null_rule="the venue names no next funding; a bar is longer than the interval of funding, "
        f"so that it holds several; {_NO_TICKER} of a bar",
    )
    yield entry(
        name=f"futures_basis_z_{window}",
        formula="(futures_basis_annualised - mean) / standard deviation (ddof 0) over "
        f"{window} bars.",
        inputs=("futures_basis_annualised",),
        expression=trailing_z(_basis, window),
        null_rule=f"{_NO_VARIATION}; no dated future, or half a day to its expiry",
    )
    yield entry(
        name=f"perp_premium_z_{window}",
        formula=f"(perp_premium - mean) / standard deviation (ddof 0) over {window} bars.",
        inputs=("perp_premium",),
        expression=trailing_z(pl.col("perp_premium"), window),
        null_rule=f"{_NO_VARIATION}; no perpetual; {_NO_TICKER} of a bar",
    )


def _settled_in_bar() -> pl.Expr:
    """The funding that the bar was the first to know of as passed; 0 for none.

    A time that moves before it has passed is a changed schedule, not a funding.
    """
    before = _next.shift(1)
    moved = _next != before
    has_passed = moved & (before <= pl.col("ts_close"))
    settled = pl.when(has_passed).then(pl.col("funding_settled")).otherwise(0.0)
    width_h = (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds() / 3.6e9
    return pl.when(moved.is_not_null() & (width_h <= _interval)).then(settled)


def _changes(horizon: int) -> Iterator[MftFeature]:
    entry = partial(MftFeature, look_back=horizon)
    interest = pl.col("open_interest")
    price_move = (pl.col("price") / pl.col("price").shift(horizon)).log().sign()
    interest_move = (interest - interest.shift(horizon)).sign()
    inputs = ("price", "open_interest")
    null_rule = f"{_NO_TICKER} at either end; no trade yet; the contract's units are unknown"
    yield entry(
        name=f"oi_momentum_{horizon}",
        formula=f"ln(OI / OI {horizon} bars before), in base asset.",
        inputs=("open_interest",),
        expression=(interest / interest.shift(horizon)).log(),
        null_rule=f"{_NO_TICKER} at either end; no open interest; the contract's units are unknown",
    )
    yield entry(
        name=f"price_oi_sign_{horizon}",
        formula=f"sign(log return) · sign(change of OI) over {horizon} bars: 1 with the price, "
        "-1 against it.",
        inputs=inputs,
        dtype=pl.Int8(),
        expression=price_move * interest_move,
        bounds=Bounds(ge=-1, le=1),
        null_rule=null_rule,
    )
    yield entry(
        name=f"price_oi_quadrant_{horizon}",
        formula=f"Over {horizon} bars: 1 price and OI up, 2 price up and OI down, 3 both down, "
        "4 price down and OI up, 0 where either stood still.",
        inputs=inputs,
        dtype=pl.Int8(),
        expression=_quadrant(price_move, interest_move),
        bounds=Bounds(ge=0, le=4),
        null_rule=null_rule,
    )
    yield entry(
        name=f"futures_basis_change_{horizon}",
        formula=f"futures_basis_annualised - its value {horizon} bars before.",
        inputs=("futures_basis_annualised",),
        expression=_basis - _basis.shift(horizon),
        unit=PER_YEAR,
        null_rule="no dated future, or half a day to its expiry",
    )


def _quadrant(price: pl.Expr, interest: pl.Expr) -> pl.Expr:
    return (
        pl.when(price.is_null() | interest.is_null())
        .then(None)
        .when((price == 0) | (interest == 0))
        .then(0)
        .when(price > 0)
        .then(pl.when(interest > 0).then(1).otherwise(2))
        .otherwise(pl.when(interest < 0).then(3).otherwise(4))
    )
