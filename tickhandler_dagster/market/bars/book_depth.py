"""What a book is good for at one moment: depth near the mid, its slope, pressure, cost of a trade.

What belongs here: pure functions of states that are normal. What does not: which states those are
(`book_levels.py`).

All arrays are (states, depth) with the best level first and NaN where the book ends. Sums over
levels are cumulative sums: they add from the best level outwards whatever the memory layout, so
that a state gives the same bits alone and among others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array

BPS = 10_000.0

PRESSURE_REACH_BPS = 5.0
"""The distance from the touch at which a level's size counts 1/e in the weighted pressure."""

MIN_SLOPE_LEVELS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of normal states.

    Attributes:
        prices: Prices, (states, depth).
        sizes: Base asset, (states, depth); 0 where a filled level has no size.
        mids: Mid of each state, (states, 1).
    """

    prices: Float64Array
    sizes: Float64Array
    mids: Float64Array

    @property
    def distances_bps(self) -> Float64Array:
        """Distance of each level from the mid; NaN where the book ends."""
        return np.abs(self.prices - self.mids) / self.mids * BPS

    @property
    def values(self) -> Float64Array:
        """Quote asset at each level; 0 where the book ends."""
        return np.where(np.isnan(self.prices), 0.0, self.prices * self.sizes)


def added_up(values: Float64Array) -> Float64Array:
    """Sum over the levels, from the best outwards. Shape: (states,)."""
    return np.asarray(np.cumsum(values, axis=1)[:, -1])


def depth_within(side: Side, reach_bps: float) -> Float64Array:
    """Quote asset at levels no further than `reach_bps` from the mid.

    Nulls: NaN (censored) where all levels shown are filled and the deepest is nearer than the
    reach: there may be more that is not shown.

    Example:
        >>> prices, mids = np.array([[99.9, 99.0, np.nan]]), np.array([[100.0]])
        >>> depth_within(Side(prices, np.ones((1, 3)), mids), 25.0).tolist()
        [99.9]
    """
    distances = side.distances_bps
    total = added_up(np.where(distances <= reach_bps, side.values, 0.0))
    is_censored = distances[:, -1] < reach_bps  # false where the last level is missing
    return np.where(is_censored, np.nan, total)


def depth_slope(side: Side) -> Float64Array:
    """Cumulative depth per basis point: ordinary least squares through the origin, Σxy / Σx².

    Nulls: NaN below three filled levels.

    Example:
        >>> prices, mids = np.array([[101.0, 102.0, 103.0]]), np.array([[100.0]])
        >>> side = Side(prices, 500 / prices, mids)
        >>> depth_slope(side).round(6).tolist()
        [5.0]
    """
    distances = side.distances_bps
    is_filled = ~np.isnan(distances)
    x = np.where(is_filled, distances, 0.0)
    squares = added_up(np.square(x))
    slope = np.full(len(x), np.nan)
    is_defined = (np.count_nonzero(is_filled, axis=1) >= MIN_SLOPE_LEVELS) & (squares > 0)
    np.divide(added_up(x * np.cumsum(side.values, axis=1)), squares, out=slope, where=is_defined)
    return slope


def _reach_weights(side: Side) -> Float64Array:
    """Distance counts from the side's own touch, so the best level always weighs 1.

    From the mid, all weights of a wide market would vanish together.
    """
    away = np.abs(side.prices - side.prices[:, :1]) / side.mids * BPS
    return np.where(np.isnan(away), 0.0, np.exp(-away / PRESSURE_REACH_BPS))


def book_pressure(bid: Side, ask: Side, *, is_weighted: bool) -> Float64Array:
    """Bid minus ask size over their sum, plain or with weights that fall with distance.

    Nulls: NaN where the sum is 0.
    """
    bids, asks = (
        added_up(_sized(side) * (_reach_weights(side) if is_weighted else 1.0))
        for side in (bid, ask)
    )
    pressure = np.full(len(bids), np.nan)
    np.divide(bids - asks, bids + asks, out=pressure, where=bids + asks > 0)
    return pressure


def _sized(side: Side) -> Float64Array:
    return np.where(np.isnan(side.prices), 0.0, side.sizes)


def trading_cost_bps(side: Side, notional: float) -> Float64Array:
    """How much worse than the mid an order of that worth fills on average, walking the side.

    Computed as the mean of the levels' own distances, so that it is never negative by rounding.

    Nulls: NaN where the levels shown are worth less than the order.

    Example:
        >>> prices, mids = np.array([[101.0, 102.0]]), np.array([[100.0]])
        >>> side = Side(prices, np.array([[1.0, 1.0]]), mids)
        >>> trading_cost_bps(side, 101.0).tolist(), trading_cost_bps(side, 300.0).tolist()
        ([100.0], [nan])
    """
    values = side.values
    reached = np.cumsum(values, axis=1)
    filled = np.clip(notional - (reached - values), 0.0, values)
    base = np.divide(filled, side.prices, out=np.zeros_like(filled), where=filled > 0)
    distances = np.where(base > 0, side.distances_bps, 0.0)
    cost = np.full(len(values), np.nan)
    is_enough = reached[:, -1] >= notional
    np.divide(added_up(base * distances), added_up(base), out=cost, where=is_enough)
    return cost
