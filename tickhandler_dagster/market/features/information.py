"""What trades tell and do to the price: Kyle's λ, Amihud's ratio, the toxicity of the flow.

What belongs here: the entries. What does not: spreads (`spreads.py`) and the arithmetic
(`market/bars`).
"""

from __future__ import annotations

from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LookBack, over
from tickhandler_dagster.market.features.units import FRACTION, QUOTE, Unit, count_of
from tickhandler_dagster.market.tables import Bounds

_QUOTE_SQUARED = Unit("(quote asset)²", price=2, size=2)
_RETURN_TIMES_QUOTE = Unit("log return · quote asset", price=1, size=1)
_BPS_PER_MILLION = Unit("basis points per million of the quote asset", price=-1, size=-1)
_RETURN_PER_MILLION = Unit("log return per million of the quote asset", price=-1, size=-1)
# A square root of money has no whole power of price and size, so its dimension can only be tested
# with changes that leave money as it is.
_ROOT_QUOTE = Unit("√(quote asset)")
_RETURN_TIMES_ROOT = Unit("log return · √(quote asset)")
_BPS_PER_ROOT = Unit("basis points per √(million of the quote asset)")

_NO_UNITS = "the size of a contract is unknown"
_KYLE = "Kyle, Continuous Auctions and Insider Trading, Econometrica 53 (1985)"
_BPS_PER_MILLION_OF_X = 1e4 * 1e6
_BPS_PER_ROOT_MILLION_OF_Z = 1e4 * 1e3
_MIN_SAMPLES = 10
_MIN_TRADED = 5
_ROUNDING = 1e-12  # a variance smaller than this share of its terms is rounding

_second = partial(
    Feature,
    inputs=(Channel.TRADES, Channel.TOP),
    look_back=over(STATE_AGE_US, "of states"),
    carry_in="the mid at the bar's open",
    source=_KYLE,
    oracle="numpy.polyfit on the same seconds",
)
_sum = partial(_second, merge=Merge.SUM, null_rule=_NO_UNITS)
_seconds = partial(_sum, unit=count_of("seconds"), dtype=pl.Int64(), bounds=Bounds(ge=0))

_n = pl.col("kyle_second_count")
_x, _y, _z = (pl.col(f"kyle_{name}_sum") for name in "xyz")
_xx, _yy, _zz = (pl.col(f"kyle_{name}{name}_sum") for name in "xyz")
_n_var_x = _n * _xx - _x * _x
_n_var_y = _n * _yy - _y * _y
_n_var_z = _n * _zz - _z * _z
_n_cov_xy = _n * pl.col("kyle_xy_sum") - _x * _y
_n_cov_zy = _n * pl.col("kyle_zy_sum") - _z * _y
_has_samples = pl.col("kyle_sample_count") >= _MIN_SAMPLES
_has_slope = _has_samples & (_n_var_x > _ROUNDING * _n * _xx)
_has_root_slope = _has_samples & (_n_var_z > _ROUNDING * _n * _zz)
_has_fit = _has_slope & (_n_var_y > _ROUNDING * _n * _yy)
_FEW = "fewer than 10 seconds with signed money, or the same signed money in every second"

_SUMS: tuple[Feature, ...] = (
    _seconds(
        name="kyle_second_count",
        formula="Seconds with a mid return; y is that log return, x the bought minus sold "
        "money of the second in the quote asset.",
    ),
    _seconds(
        name="kyle_sample_count",
        formula="Seconds with a mid return in which bought and sold money differ: x ≠ 0.",
    ),
    _sum(name="kyle_x_sum", formula="Σ x over the seconds.", unit=QUOTE, mirror="-"),
    _sum(
        name="kyle_y_sum",
        formula="Σ y over the seconds.",
    ),
    _sum(
        name="kyle_xy_sum",
        formula="Σ x·y over the seconds.",
        unit=_RETURN_TIMES_QUOTE,
        mirror="-",
    ),
    _sum(
        name="kyle_xx_sum",
        formula="Σ x² over the seconds.",
        unit=_QUOTE_SQUARED,
        bounds=Bounds(ge=0),
    ),
    _sum(
        name="kyle_yy_sum",
        formula="Σ y² over the seconds.",
        bounds=Bounds(ge=0),
    ),
    _sum(
        name="kyle_z_sum",
        formula="Σ z over the seconds, z = sign(x)·√|x|.",
        unit=_ROOT_QUOTE,
        mirror="-",
        is_scale_free=False,
    ),
    _sum(
        name="kyle_zy_sum",
        formula="Σ z·y over the seconds, z = sign(x)·√|x|.",
        unit=_RETURN_TIMES_ROOT,
        mirror="-",
        is_scale_free=False,
    ),
    _sum(
        name="kyle_zz_sum",
        formula="Σ z² = Σ |x| over the seconds.",
        unit=QUOTE,
        bounds=Bounds(ge=0),
    ),
)

_SLOPES: tuple[Feature, ...] = (
    _second(
        name="kyle_lambda",
        formula="Slope of y·1e4 on x/1e6 by least squares with intercept, over one-second "
        "returns and signed money: 1e10·(nΣxy - ΣxΣy)/(nΣx² - (Σx)²).",
        merge=Merge.DERIVED,
        null_rule=_FEW,
        unit=_BPS_PER_MILLION,
        minimum="10 seconds with x ≠ 0",
        mirror="-",
        expression=pl.when(_has_slope).then(_n_cov_xy / _n_var_x * _BPS_PER_MILLION_OF_X),
    ),
    _second(
        name="kyle_lambda_r2",
        formula="R² of that regression: (nΣxy - ΣxΣy)²/((nΣx² - (Σx)²)(nΣy² - (Σy)²)).",
        merge=Merge.DERIVED,
        null_rule=f"{_FEW}; or no return differs from another",
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        minimum="10 seconds with x ≠ 0",
        expression=pl.when(_has_fit).then(
            ((_n_cov_xy / _n_var_x) * (_n_cov_xy / _n_var_y)).clip(0.0, 1.0)
        ),
    ),
    _second(
        name="kyle_lambda_sqrt",
        formula="Slope of y·1e4 on sign(x)·√|x/1e6| by least squares with intercept: impact that "
        "grows with the root of the money.",
        merge=Merge.DERIVED,
        null_rule=_FEW,
        unit=_BPS_PER_ROOT,
        minimum="10 seconds with x ≠ 0",
        source="Hasbrouck, Journal of Finance 64 (2009), signed square-root flow",
        mirror="-",
        is_scale_free=False,
        expression=pl.when(_has_root_slope).then(_n_cov_zy / _n_var_z * _BPS_PER_ROOT_MILLION_OF_Z),
    ),
)

_amihud = partial(
    _second,
    source="Amihud, Illiquidity and Stock Returns, Journal of Financial Markets 5 (2002)",
    oracle="a golden vector",
)
_traded = pl.col("amihud_count")

IMPACT_REGRESSION: tuple[Feature, ...] = (
    *_SUMS,
    *_SLOPES,
    _amihud(
        name="amihud_count",
        formula="Seconds with a mid return and traded money N > 0.",
        merge=Merge.SUM,
        null_rule=_NO_UNITS,
        unit=count_of("seconds"),
        dtype=pl.Int64(),
        bounds=Bounds(ge=0),
    ),
    _amihud(
        name="amihud_sum",
        formula="Σ |r|/N·1e6 over those seconds: r the log return of the mid, N the money traded.",
        merge=Merge.SUM,
        null_rule=_NO_UNITS,
        unit=_RETURN_PER_MILLION,
        bounds=Bounds(ge=0),
    ),
    _amihud(
        name="amihud",
        formula="Mean of |r|/N·1e6 over the seconds with traded money: the price move that a "
        "million traded goes with.",
        merge=Merge.DERIVED,
        null_rule="fewer than 5 seconds with a mid return and a trade",
        unit=_RETURN_PER_MILLION,
        bounds=Bounds(ge=0),
        minimum="5 seconds with trades",
        expression=pl.when(_traded >= _MIN_TRADED).then(pl.col("amihud_sum") / _traded),
    ),
)
"""Given by `impact_regression_day`."""

FLOW_TOXICITY: tuple[Feature, ...] = (
    Feature(
        name="flow_toxicity_vpin_n50",
        formula="Mean of |bought - sold|/V* over the last 50 complete buckets of V* = mean daily "
        "volume of up to 7 earlier days / 50; unknown sides fill buckets on neither side.",
        inputs=(Channel.TRADES,),
        merge=Merge.LAST,
        null_rule="V* is unknown, or fewer than 50 buckets are complete",
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        look_back=LookBack("50 buckets, a day of mean volume", is_unlimited=True),
        carry_in="the bucket in progress and the last 50 imbalances, as shares of a bucket, from "
        "the day before",
        minimum="50 complete buckets",
        source="Easley, López de Prado, O'Hara, Review of Financial Studies 25 (2012), with the "
        "venue's taker side instead of bulk classification",
        oracle="flow of one side gives 1, alternating flow 0",
    ),
)
"""Given by `FlowToxicity`."""
