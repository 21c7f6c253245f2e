"""Expressions over windows of bars that the entries of several families are made of.

What belongs here: sums, means and recursions that read no bar outside their window, and the scaling
to a year. What does not: features.

Plain rolling sums are not used: they subtract the bar that leaves from a running total, so rounding
of bars long past stays in every later value and a day's values depend on where the series starts.
A sum with weights of one is made anew for each window; it costs 2 to 4 times as much (2 ms per
86,400 bars at 60). Rolling variances are made of the bars of the window alone and leave no residue;
their last bit depends on the place in the series where the window falls. Variances bar by bar, from
shifts, would not, and cost 20 times as much in expressions that are not plain columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tickhandler_dagster.market.features.units import Unit
from tickhandler_dagster.market.mft.comoments import variance

PER_ROOT_YEAR = Unit("per √year")
PERCENT = Unit("percent")

PRICE_NOW = pl.col("price")
PRICE_BEFORE = pl.col("price").shift(1)
LOG_RETURN = pl.col("log_return")
CHANGE = PRICE_NOW - PRICE_BEFORE

WILDER_MEMORY = 10
"""Bars of memory per Wilder period or span: (1-1/n)^10n < e^-10 is left of the seed."""
CASCADE_MEMORY = 14
"""The same for a Wilder mean of Wilder means, which forgets later: 15·e^-14 is left."""
HALF_LIVES = 14
"""Half-lives of memory: 2^-14 is left of the seed (2^-10 would be a thousandth)."""
FLAT = 1e-12
"""Deviation relative to the price below which a window is flat: what is left is rounding."""

_YEAR_US = 365 * 86_400_000_000


def inputs_of(expression: pl.Expr) -> tuple[str, ...]:
    """Columns an expression reads, sorted.

    Example:
        >>> inputs_of(CHANGE / pl.col("log_return"))
        ('log_return', 'price')
    """
    return tuple(sorted(set(expression.meta.root_names())))


def with_usual(windows: Sequence[int], usual: Sequence[int]) -> tuple[int, ...]:
    """Configured windows and those whose columns exist whatever is configured, sorted.

    Example:
        >>> with_usual((5, 60), (5, 10, 20))
        (5, 10, 20, 60)
    """
    return tuple(sorted({*windows, *usual}))


def weighted_sum(value: pl.Expr, weights: Sequence[float]) -> pl.Expr:
    """Σ weight·value over as many bars as there are weights, the last weight on the bar itself.

    Nulls: an unknown value makes every window that holds it NaN, which is never stored.
    """
    known = value.cast(pl.Float64).fill_null(float("nan"))
    return known.rolling_sum(len(weights), weights=list(weights))


def window_sum(value: pl.Expr, bars: int) -> pl.Expr:
    """Sum of the bar and the `bars - 1` before it."""
    return weighted_sum(value, [1.0] * bars)


def window_mean(value: pl.Expr, bars: int) -> pl.Expr:
    """Mean of the bar and the `bars - 1` before it."""
    return window_sum(value, bars) / bars


def window_deviation(value: pl.Expr, bars: int) -> pl.Expr:
    """Population standard deviation (ddof = 0) of the bar and the `bars - 1` before it."""
    return variance(value, bars).sqrt()


def window_variance(value: pl.Expr, bars: int) -> pl.Expr:
    """Sample variance (ddof = 1) of the bar and the `bars - 1` before it."""
    return variance(value, bars) * (bars / (bars - 1))


def exponential(value: pl.Expr, span: int) -> pl.Expr:
    """Exponential moving average with alpha = 2/(span+1), seeded with the first known value."""
    return value.ewm_mean(span=span, adjust=False, ignore_nulls=True)


def wilder(value: pl.Expr, period: int) -> pl.Expr:
    """Wilder's moving average, alpha = 1/period, seeded with the first known value."""
    return value.ewm_mean(alpha=1 / period, adjust=False, ignore_nulls=True)


def unless_flat(value: pl.Expr, movement: pl.Expr, bars: int) -> pl.Expr:
    """The value, null where nothing moved in `bars` bars: a recursion would tell of older ones."""
    return pl.when(movement.rolling_max(bars) > 0).then(value)


def bars_per_year() -> pl.Expr:
    """Bars of this width in 365 days."""
    width = (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds()
    return _YEAR_US / width.cast(pl.Float64)


def annualised(variance: pl.Expr) -> pl.Expr:
    """Yearly volatility of a variance per bar."""
    return (variance * bars_per_year()).sqrt()
