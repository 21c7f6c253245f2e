"""Features of a series: every expression once, and null wherever its window is not whole.

What belongs here: the rule of windows, the same for every feature. What does not: the expressions.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature

_VALID, _TRADED = "valid_run", "traded_run"


def evaluated(series: pl.DataFrame, features: Sequence[MftFeature]) -> pl.DataFrame:
    """The series with a column for each feature.

    A value is kept only where the bar and the `look_back` bars before it are valid in a row (and
    traded, for features that need trades) and it is a finite number.

    Args:
        series: `bar_series`, and the columns that the features' scope needs beside it.
        features: Entries whose inputs are all among the series' columns.
    """
    longest = series.select(pl.col(_VALID, _TRADED).max().fill_null(0)).row(0, named=True)
    # Whose window is nowhere whole is not computed: planning so many expressions costs more than
    # the rows of a short series do.
    whole = {one.name for one in features if longest[_run_of(one)] > one.look_back}
    # In two steps: polars computes twice what stands in a condition and in its branch.
    values = series.with_columns(
        (one.expression if one.name in whole else pl.lit(None)).cast(one.dtype).alias(one.name)
        for one in features
    )
    return values.with_columns(_windowed(one) for one in features if one.name in whole)


def _run_of(feature: MftFeature) -> str:
    return _TRADED if feature.needs_trades else _VALID


def _windowed(feature: MftFeature) -> pl.Expr:
    """The feature's own column, null where its window is not whole."""
    value = pl.col(feature.name)
    run = pl.col(_run_of(feature))
    is_number = value.is_finite() if feature.dtype.is_float() else pl.lit(value=True)
    return pl.when((run > feature.look_back) & is_number).then(value).alias(feature.name)
