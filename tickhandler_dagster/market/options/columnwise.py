"""Arithmetic down the columns of a matrix: brackets and sums, column by column.

What belongs here: what strikes, deltas, options and expiries have in common. A column's result
depends on that column alone, to the last bit: then a moment has the same surface whatever moments
it is computed with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticks import Float64Array


def bracketed(
    x: Float64Array, y: Float64Array, target: Float64Array | float
) -> tuple[Float64Array, npt.NDArray[np.intp]]:
    """`y` at `x = target`, linear between the two known rows around it; never extrapolated.

    The lower row is the last known one at or below the target, the upper one the next known after
    it: where `x` does not rise throughout, as deltas of a broken smile, this is one bracket still.

    Args:
        x: Shape (rows, columns), rising down each column.
        y: Same shape; NaN where the row is unknown in the column.
        target: One number, or one per column.

    Shape: (columns,), and the lower row used, -1 where there is none.
    Nulls: NaN where the target is not bracketed.

    Example:
        >>> x = np.array([[-1.0, -1.0], [1.0, 1.0], [3.0, 3.0]])
        >>> y = np.array([[10.0, 10.0], [20.0, np.nan], [30.0, 30.0]])
        >>> bracketed(x, y, 0.0)[0].tolist()
        [15.0, 15.0]
    """
    rows, columns = x.shape
    if not rows:
        return np.full(columns, np.nan), np.full(columns, -1, dtype=np.intp)
    number = np.arange(rows)[:, np.newaxis]
    is_known = ~(np.isnan(x) | np.isnan(y))
    lower = np.where(is_known & (x <= target), number, -1).max(axis=0)
    upper = np.where(is_known & (number > lower), number, rows).min(axis=0)
    column = np.arange(columns)
    low, high = np.maximum(lower, 0), np.minimum(upper, rows - 1)
    x_low, y_low = x[low, column], y[low, column]
    width = x[high, column] - x_low
    with np.errstate(divide="ignore", invalid="ignore"):
        between = y_low + (target - x_low) / width * (y[high, column] - y_low)
    is_between = (lower >= 0) & (upper < rows)
    is_exact = (lower >= 0) & (x_low == target)
    value = np.where(is_exact, y_low, np.where(is_between, between, np.nan))
    return np.asarray(value), lower


def sums(values: npt.NDArray[np.generic]) -> Float64Array:
    """The sum of each column, one row after the other.

    `np.add.reduce` is not used: it adds a lone column pairwise and others row by row, so that the
    last bit would depend on the number of columns.

    Example:
        >>> sums(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [4.0, 6.0]
    """
    total = np.zeros(values.shape[1])
    for row in values:
        total += row
    return total
