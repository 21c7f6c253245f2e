"""Rolling second moments of two series that forget what has left the window.

What belongs here: variance, covariance and correlation as expressions, for the families that need
them. What does not: features.

Polars makes a rolling variance from the values of the window alone, so a jump that has left it
leaves nothing behind. Its rolling covariance and correlation are made of running means, into which
every bar since the start is rounded: after one jump of 5 %, quiet windows are off by 1e-9 for ever.
Hence covariance is made of variances here; the price is one more pass over the series.
"""

from __future__ import annotations

import polars as pl


def variance(values: pl.Expr, window: int) -> pl.Expr:
    """Population variance over the last `window` rows; exactly 0 where the values are equal."""
    return values.rolling_var(window, ddof=0)


def covariance(left: pl.Expr, right: pl.Expr, window: int) -> pl.Expr:
    """Population covariance over the last `window` rows: [Var(x + y) - Var(x - y)] / 4.

    Nulls: where the window holds a null of either side.
    """
    return (variance(left + right, window) - variance(left - right, window)) / 4.0


def correlation(left: pl.Expr, right: pl.Expr, window: int) -> pl.Expr:
    """Pearson correlation over the last `window` rows.

    Nulls: where the window holds a null of either side; NaN where either side does not vary.
    """
    scale = positive(variance(left, window) * variance(right, window))
    # Rounding can carry a perfect correlation past 1 by one unit in the last place.
    return (covariance(left, right, window) / scale.sqrt()).clip(-1.0, 1.0)


def positive(spread: pl.Expr) -> pl.Expr:
    """A divisor that is never 0: NaN instead, which no quotient survives and is never stored.

    A `when` around the quotient would have the divisor twice in the expression, and Polars would
    compute it twice.
    """
    return spread.replace(0.0, float("nan"))
