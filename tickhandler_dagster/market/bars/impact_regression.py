"""How far a second's signed money moves the mid: the sums behind Kyle's λ and Amihud's ratio.

What belongs here: the sums of each bar. What does not: the grid (`second_grid.py`) and the slopes
made of the sums (`market/features/spreads.py`).
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.bars.second_grid import SecondDay
from tickhandler_dagster.market.bars.second_sums import SecondSums
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.features.family import DayGrid, FamilyDay

_MILLION = 1e6


def impact_regression_day(seconds: SecondDay, grid: DayGrid) -> FamilyDay:
    """Regression sums over the seconds whose return is known.

    `y` is the second's log return, `x` its bought minus sold money in the quote asset, `z` the
    square root of `x` with the sign of `x`. Money stays in its own unit here and becomes millions
    in the slopes: amounts that cancel would not cancel after a division.

    Shape: one element per bar.
    Nulls: everything where the contract's units are unknown.
    """
    returns = seconds.returns
    known = SecondSums(~np.isnan(returns), grid)
    traded = SecondSums(~np.isnan(returns) & (seconds.notional > 0), grid)
    ratios = np.abs(returns[traded.seconds]) / (seconds.notional[traded.seconds] / _MILLION)
    sums = _regression_sums(
        known, seconds.signed_notional[known.seconds], returns[known.seconds]
    ) | {"amihud_count": traded.count(), "amihud_sum": traded.sum(ratios)}
    if not seconds.is_sized:
        sums = {name: np.full(grid.bars, np.nan) for name in sums}
    return FamilyDay(sums, seconds.last_arrival(grid))


def _regression_sums(
    known: SecondSums, x: Float64Array, y: Float64Array
) -> dict[str, Float64Array]:
    z = np.sign(x) * np.sqrt(np.abs(x))
    return {
        "kyle_second_count": known.count(),
        "kyle_sample_count": known.sum((x != 0).astype(np.float64)),
        "kyle_x_sum": known.sum(x),
        "kyle_y_sum": known.sum(y),
        "kyle_xy_sum": known.sum(x * y),
        "kyle_xx_sum": known.sum(np.square(x)),
        "kyle_yy_sum": known.sum(np.square(y)),
        "kyle_z_sum": known.sum(z),
        "kyle_zy_sum": known.sum(z * y),
        "kyle_zz_sum": known.sum(np.abs(x)),
    }
