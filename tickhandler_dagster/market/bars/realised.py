"""Realised measures of an instrument's day: sums of powers of one-second returns.

What belongs here: the sums of each bar. What does not: the grid (`second_grid.py`) and the measures
made of the sums (`market/features/realised.py`).
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.bars.second_grid import SecondDay
from tickhandler_dagster.market.bars.second_sums import SecondSums
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.features.family import DayGrid, FamilyDay


def realised_day(
    seconds: SecondDay,
    grid: DayGrid,
    *,
    reference: Float64Array | None = None,
    reference_arrival: Int64Array | None = None,
) -> FamilyDay:
    """The sums behind the realised measures.

    Args:
        seconds: The day on the grid.
        grid: The bars.
        reference: One-second returns of the venue's reference instrument (`SecondDay.returns`);
            None where there is none and for that instrument itself, whose correlation with itself
            says nothing: it then has no seconds in common, and the correlation is null.
        reference_arrival: Latest arrival behind the reference's mids per bar
            (`SecondDay.mid_arrival`).

    Shape: one element per bar.
    """
    returns = seconds.returns
    statistics = (
        _moment_sums(returns, grid)
        | _pair_sums(seconds, grid)
        | _trade_sums(seconds.trade_returns, grid)
        | _joint_sums(returns, reference, grid)
    )
    arrival = seconds.last_arrival(grid)
    if reference_arrival is not None:
        arrival = np.maximum(arrival, reference_arrival)
    return FamilyDay(statistics, arrival)


def trade_returns_day(seconds: SecondDay, grid: DayGrid) -> FamilyDay:
    """What of the grid stands on trades alone: all there is where no quotes are.

    Shape: one element per bar.
    """
    return FamilyDay(_trade_sums(seconds.trade_returns, grid), seconds.last_arrival(grid))


def _moment_sums(returns: Float64Array, grid: DayGrid) -> dict[str, Float64Array]:
    """Sums of powers; odd ones apart for rises and falls.

    A sum over both cancels, and what rounding leaves of it depends on the grouping.
    """
    known = SecondSums(~np.isnan(returns), grid)
    own = returns[known.seconds]
    sizes, is_rise, is_fall = np.abs(own), own > 0, own < 0
    squares = np.square(own)
    cubes = squares * sizes
    return {
        "mid_return_count": known.count(),
        "mid_return_sum": known.sum(own),
        "mid_return_abs_sum": known.sum(sizes),
        "mid_return_square_sum": known.sum(squares),
        "mid_return_fourth_sum": known.sum(np.square(squares)),
        "mid_return_up_square_sum": known.sum(squares * is_rise),
        "mid_return_down_square_sum": known.sum(squares * is_fall),
        "mid_return_up_cube_sum": known.sum(cubes * is_rise),
        "mid_return_down_cube_sum": known.sum(cubes * is_fall),
    }


def _pair_sums(seconds: SecondDay, grid: DayGrid) -> dict[str, Float64Array]:
    """Products of neighbouring returns, each in the bar of the later one."""
    returns = np.append(seconds.return_before, seconds.returns)
    is_known = ~np.isnan(returns)
    pairs = SecondSums(is_known[1:] & is_known[:-1], grid)
    products = np.abs(returns[pairs.seconds + 1]) * np.abs(returns[pairs.seconds])
    return {"mid_return_pair_count": pairs.count(), "mid_return_pair_sum": pairs.sum(products)}


def _trade_sums(returns: Float64Array, grid: DayGrid) -> dict[str, Float64Array]:
    known = SecondSums(~np.isnan(returns), grid)
    squares = np.square(returns[known.seconds])
    return {"trade_return_count": known.count(), "trade_return_square_sum": known.sum(squares)}


def _joint_sums(
    returns: Float64Array, reference: Float64Array | None, grid: DayGrid
) -> dict[str, Float64Array]:
    """Products with the reference over the seconds in which both returns are known."""
    other = np.full_like(returns, np.nan) if reference is None else reference
    joint = SecondSums(~(np.isnan(returns) | np.isnan(other)), grid)
    own, others = returns[joint.seconds], other[joint.seconds]
    return {
        "btc_return_count": joint.count(),
        "btc_return_product_sum": joint.sum(own * others),
        "btc_joint_own_square_sum": joint.sum(np.square(own)),
        "btc_joint_square_sum": joint.sum(np.square(others)),
    }
