"""Realised measures on a grid of one second.

What belongs here: the entries. What does not: the arithmetic (`market/bars`).
"""

from __future__ import annotations

import math
from functools import partial

import polars as pl

from tickhandler_dagster.market.bars.quotes import STATE_AGE_US
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.look_back import LAST_TRADE, over
from tickhandler_dagster.market.features.units import FRACTION, Unit, count_of
from tickhandler_dagster.market.tables import Bounds

_SECONDS_PER_YEAR = 365 * 86_400
_PER_ROOT_YEAR = Unit("per √year")
_MIN_RETURNS = 10
_MIN_HIGH_MOMENTS = 30
_ROUNDING = 1e-12
_NOT_NEGATIVE = Bounds(ge=0)

_ANDERSEN = "Andersen, Bollerslev, Diebold and Labys, Econometrica 71 (2003)"
_BARNDORFF = "Barndorff-Nielsen and Shephard, Journal of Financial Econometrics 2 (2004)"
_SEMI = "Barndorff-Nielsen, Kinnebrock and Shephard (2010); Patton and Sheppard (2015)"
_AMAYA = "Amaya et al., Journal of Financial Economics 118 (2015)"
_FEW = "fewer than 10 returns"
_TOO_FEW = "fewer than 30 returns"

_EARLIER_RETURN = over(STATE_AGE_US + US_PER_SECOND, "of states")

_measure = partial(
    Feature,
    inputs=(Channel.TOP,),
    look_back=over(STATE_AGE_US, "of states"),
    carry_in="the mid at the bar's open",
    source=_ANDERSEN,
    oracle="a simulated diffusion gives back its variance",
)
_sum = partial(_measure, merge=Merge.SUM)
_square = partial(_sum, bounds=_NOT_NEGATIVE)
_count = partial(_sum, unit=count_of("seconds"), dtype=pl.Int64(), bounds=_NOT_NEGATIVE)
_derived = partial(
    _measure, merge=Merge.DERIVED, minimum="10 returns", null_rule=_FEW, bounds=_NOT_NEGATIVE
)
_high_moment = partial(
    _derived,
    minimum="30 returns",
    null_rule=f"{_TOO_FEW}, or no mid moved",
    source=_AMAYA,
    oracle="independent Gaussian returns: skewness 0, kurtosis 3",
)

_m = pl.col("mid_return_count")
_rv = pl.col("realized_variance")
_bv = pl.col("bipower_variation")
_jump = pl.col("jump_variation")


def _enough(value: pl.Expr) -> pl.Expr:
    return pl.when(_m >= _MIN_RETURNS).then(value)


def _plenty(value: pl.Expr) -> pl.Expr:
    return pl.when((_m >= _MIN_HIGH_MOMENTS) & (pl.col("mid_return_square_sum") > 0)).then(value)


def _difference(power: str) -> pl.Expr:
    """Rises minus falls; 0 where they are equal but for rounding, which has no sign to tell."""
    up, down = (pl.col(f"mid_return_{way}_{power}_sum") for way in ("up", "down"))
    return pl.when((up - down).abs() > _ROUNDING * (up + down)).then(up - down).otherwise(0.0)


_SUMS: tuple[Feature, ...] = (
    _count(
        name="mid_return_count",
        formula="Seconds M of the bar with a return r = ln(mid at its end / mid at its start), mid "
        "of the last state before the moment with bid < ask, at most 60 s old.",
    ),
    _sum(name="mid_return_sum", formula="Σ r over the seconds of the bar."),
    _square(name="mid_return_abs_sum", formula="Σ |r| over the seconds of the bar."),
    _square(name="mid_return_square_sum", formula="Σ r² over the seconds of the bar."),
    _square(name="mid_return_fourth_sum", formula="Σ r⁴ over the seconds of the bar."),
    _square(
        name="mid_return_up_square_sum",
        formula="Σ r² over the seconds in which the mid rose.",
        source=_SEMI,
    ),
    _square(
        name="mid_return_down_square_sum",
        formula="Σ r² over the seconds in which the mid fell.",
        source=_SEMI,
    ),
    _square(
        name="mid_return_up_cube_sum",
        formula="Σ |r|³ over the seconds in which the mid rose.",
        source=_AMAYA,
    ),
    _square(
        name="mid_return_down_cube_sum",
        formula="Σ |r|³ over the seconds in which the mid fell.",
        source=_AMAYA,
    ),
    _count(
        name="mid_return_pair_count",
        formula="Seconds P of the bar with a return whose preceding second has one too; the bar's "
        "first second pairs with the last of the bar before, the day's first with none.",
        look_back=_EARLIER_RETURN,
        carry_in="the last return before the bar, not across midnight",
        source=_BARNDORFF,
    ),
    _square(
        name="mid_return_pair_sum",
        formula="Σ |r(k)|·|r(k-1)| over those pairs of neighbouring seconds.",
        look_back=_EARLIER_RETURN,
        carry_in="the last return before the bar, not across midnight",
        source=_BARNDORFF,
    ),
)

_VARIANCES: tuple[Feature, ...] = (
    _derived(
        name="realized_variance",
        formula="Σ r² of the one-second log returns of the mid.",
        expression=_enough(pl.col("mid_return_square_sum")),
    ),
    _derived(
        name="realized_volatility",
        formula="√realized_variance: the volatility over the bar, not annualised.",
        expression=_rv.sqrt(),
    ),
    _derived(
        name="realized_volatility_annualised",
        formula="√(realized_variance·365·86400/M): scaled by the seconds that have a return, so "
        "that missing seconds do not look calm.",
        unit=_PER_ROOT_YEAR,
        expression=(_rv * _SECONDS_PER_YEAR / _m).sqrt(),
    ),
    _derived(
        name="bipower_variation",
        formula="π/2·M/P·Σ |r(k)|·|r(k-1)|: variance that jumps do not enter; M/P is M/(M-1) where "
        "the first return has no partner.",
        source=_BARNDORFF,
        expression=_enough(
            math.pi / 2 * pl.col("mid_return_pair_sum") * _m / pl.col("mid_return_pair_count")
        ),
    ),
    _derived(
        name="jump_variation",
        formula="max(realized_variance - bipower_variation, 0); noise on 15 s bars.",
        source=_BARNDORFF,
        oracle="jumps added to a diffusion raise it by their squares",
        expression=(_rv - _bv).clip(lower_bound=0.0),
    ),
    _derived(
        name="relative_jump",
        formula="jump_variation / realized_variance.",
        null_rule=f"{_FEW}, or no mid moved",
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        source=_BARNDORFF,
        expression=_jump / _rv,
    ),
    _derived(
        name="realized_semivariance_up",
        formula="Σ r² over the seconds in which the mid rose.",
        source=_SEMI,
        oracle="realized_variance = up + down",
        expression=_enough(pl.col("mid_return_up_square_sum")),
    ),
    _derived(
        name="realized_semivariance_down",
        formula="Σ r² over the seconds in which the mid fell.",
        source=_SEMI,
        oracle="realized_variance = up + down",
        expression=_enough(pl.col("mid_return_down_square_sum")),
    ),
    _derived(
        name="signed_jump",
        formula="realized_semivariance_up - realized_semivariance_down.",
        bounds=Bounds(),
        source=_SEMI,
        expression=_enough(_difference("square")),
    ),
    _derived(
        name="efficiency_ratio",
        formula="|Σ r| / Σ |r|: 1 where the mid went straight, near 0 where it came back.",
        null_rule=f"{_FEW}, or no mid moved",
        unit=FRACTION,
        bounds=Bounds(ge=0, le=1),
        source="Kaufman, Trading Systems and Methods",
        oracle="a golden vector",
        expression=_enough(pl.col("mid_return_sum").abs() / pl.col("mid_return_abs_sum")),
    ),
)

_HIGH_MOMENTS: tuple[Feature, ...] = (
    _high_moment(
        name="realized_skewness",
        formula="√M·Σ r³ / (Σ r²)^1.5.",
        bounds=Bounds(),
        expression=_plenty(_m.sqrt() * _difference("cube") / (_rv * _rv.sqrt())),
    ),
    _high_moment(
        name="realized_kurtosis",
        formula="M·Σ r⁴ / (Σ r²)²; 3 for Gaussian returns.",
        expression=_plenty(_m * pl.col("mid_return_fourth_sum") / (_rv * _rv)),
    ),
    _high_moment(
        name="realized_quarticity",
        formula="M/3·Σ r⁴: the variance of realized_variance, up to a factor.",
        null_rule=_TOO_FEW,
        source=_BARNDORFF,
        expression=pl.when(_m >= _MIN_HIGH_MOMENTS).then(_m / 3 * pl.col("mid_return_fourth_sum")),
    ),
)

_trade = partial(
    _measure,
    inputs=(Channel.TRADES,),
    look_back=LAST_TRADE,
    carry_in="the last trade before the bar",
)
_trade_m = pl.col("trade_return_count")
_rv_trade = pl.col("realized_variance_trade")

_BOUNCE: tuple[Feature, ...] = (
    _trade(
        name="trade_return_count",
        formula="Seconds of the bar with a return of the last trade's price, however old it is.",
        merge=Merge.SUM,
        unit=count_of("seconds"),
        dtype=pl.Int64(),
        bounds=_NOT_NEGATIVE,
    ),
    _trade(
        name="trade_return_square_sum",
        formula="Σ r² of the one-second log returns of the last trade's price.",
        merge=Merge.SUM,
        bounds=_NOT_NEGATIVE,
    ),
    _trade(
        name="realized_variance_trade",
        formula="Σ r² of the one-second log returns of the last trade's price: holds the bounce "
        "between bid and ask.",
        merge=Merge.DERIVED,
        null_rule=_FEW,
        bounds=_NOT_NEGATIVE,
        minimum="10 returns",
        expression=pl.when(_trade_m >= _MIN_RETURNS).then(pl.col("trade_return_square_sum")),
    ),
    _derived(
        name="variance_ratio_trade_mid",
        formula="Variance per second of trade prices over that of mids: (realized_variance_trade/"
        "trade_return_count) / (realized_variance/M).",
        inputs=(Channel.TRADES, Channel.TOP),
        null_rule=f"{_FEW} of either, or no mid moved",
        expression=(_rv_trade / _trade_m) / (_rv / _m),
    ),
)

_joint = partial(
    _measure,
    null_rule="",
    source=_ANDERSEN,
    oracle="numpy.corrcoef of centred returns",
)
_own = pl.col("btc_joint_own_square_sum")
_other = pl.col("btc_joint_square_sum")

_CORRELATION: tuple[Feature, ...] = (
    _joint(
        name="btc_return_count",
        formula="Seconds in which this instrument and the venue's BTC reference both have a mid "
        "return; 0 for the reference itself.",
        merge=Merge.SUM,
        unit=count_of("seconds"),
        dtype=pl.Int64(),
        bounds=_NOT_NEGATIVE,
    ),
    _joint(
        name="btc_return_product_sum",
        formula="Σ r·rᴮ over those seconds, rᴮ the return of the reference's mid.",
        merge=Merge.SUM,
    ),
    _joint(
        name="btc_joint_own_square_sum",
        formula="Σ r² over those seconds.",
        merge=Merge.SUM,
        bounds=_NOT_NEGATIVE,
    ),
    _joint(
        name="btc_joint_square_sum",
        formula="Σ (rᴮ)² over those seconds.",
        merge=Merge.SUM,
        bounds=_NOT_NEGATIVE,
    ),
    _joint(
        name="realized_correlation_btc",
        formula="Σ r·rᴮ / √(Σ r²·Σ (rᴮ)²) of one-second returns; near 0 on short bars because the "
        "two do not move in the same second.",
        merge=Merge.DERIVED,
        null_rule="fewer than 30 joint returns, either did not move, or this is the reference",
        bounds=Bounds(ge=-1, le=1),
        minimum="30 joint returns",
        expression=pl.when(
            (pl.col("btc_return_count") >= _MIN_HIGH_MOMENTS) & (_own > 0) & (_other > 0)
        ).then((pl.col("btc_return_product_sum") / (_own.sqrt() * _other.sqrt())).clip(-1.0, 1.0)),
    ),
)

REALISED: tuple[Feature, ...] = (
    *_SUMS,
    *_VARIANCES,
    *_HIGH_MOMENTS,
    *_BOUNCE,
    *_CORRELATION,
)
