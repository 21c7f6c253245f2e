"""Scores and weighted means over the last bars that stand on those bars alone, to the last bit.

What belongs here: what flow, carry and venues share beyond the sums of `window_math.py`. What does
not: entries.

Polars' rolling variance depends in its last bit on where in the series the window falls, so that a
day computed alone would differ from the same day in a longer series. Here a window is always made
of the same pairs, pairs of pairs and so on: a number of passes as the window's logarithm.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import polars as pl

from tickhandler_dagster.market.mft.window_math import window_sum

LEAST_RELATIVE_SPREAD = 1e-12
"""A standard deviation up to this share of the mean is rounding, not variation."""


def trailing_z(value: pl.Expr, window: int) -> pl.Expr:
    """(x - mean) / standard deviation (ddof 0) over the last `window` rows, the present included.

    Nulls: a null in the window; a deviation of 0, or lost in rounding.
    """
    return value.map_batches(partial(_z, window=window), return_dtype=pl.Float64())


def trailing_deviation(value: pl.Expr, window: int) -> pl.Expr:
    """Standard deviation (ddof 0) of the last `window` rows, the present among them.

    Nulls: a null in the window.

    Example:
        >>> frame = pl.DataFrame({"x": [1.0, 3.0, 3.0, 3.0]})
        >>> frame.select(trailing_deviation(pl.col("x"), 2)).to_series().to_list()
        [None, 1.0, 0.0, 0.0]
    """
    return value.map_batches(partial(_deviation, window=window), return_dtype=pl.Float64())


def trailing_weighted_mean(value: pl.Expr, weight: pl.Expr, window: int) -> pl.Expr:
    """Σ weight·x / Σ weight over those of the last `window` rows that have a value.

    Nulls: fewer than half of the rows have a value; no weight.
    """
    has_value = value.is_not_null()
    total = window_sum(pl.when(has_value).then(value * weight).otherwise(0.0), window)
    weights = window_sum(pl.when(has_value).then(weight).otherwise(0.0), window)
    is_enough = 2 * has_value.cast(pl.Int64).rolling_sum(window) >= window
    return pl.when(is_enough & (weights > 0)).then(total / weights)


class _Block(NamedTuple):
    """The last `length` rows of every row: their sum and their squared distance from its mean."""

    length: int
    total: pl.Series
    scatter: pl.Series

    def after(self, earlier: _Block) -> _Block:
        """With the block that ends where this one begins (Chan, Golub and LeVeque 1979)."""
        length = self.length + earlier.length
        total = earlier.total.shift(self.length)
        distance = self.total / self.length - total / earlier.length
        between = distance * distance * (self.length * earlier.length / length)
        scatter = self.scatter + earlier.scatter.shift(self.length) + between
        return _Block(length, self.total + total, scatter)


def _block(values: pl.Series, window: int) -> _Block:
    """The block of the window, of blocks whose lengths are its powers of two."""
    power = _Block(1, values, values - values)
    whole = power if window % 2 else None
    while 2 * power.length <= window:
        power = power.after(power)
        if window & power.length:
            whole = power if whole is None else whole.after(power)
    return power if whole is None else whole


def _deviation(values: pl.Series, window: int) -> pl.Series:
    return (_block(values.cast(pl.Float64), window).scatter / window).sqrt()


def _z(values: pl.Series, window: int) -> pl.Series:
    values = values.cast(pl.Float64)
    block = _block(values, window)
    mean, deviation = block.total / window, (block.scatter / window).sqrt()
    varies = deviation > mean.abs() * LEAST_RELATIVE_SPREAD
    return ((values - mean) / deviation).set(~varies.fill_null(value=False), None)
