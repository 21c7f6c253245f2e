"""An instrument beside the venue's reference: beta, correlation, residual and who moves first.

What belongs here: the entries that read `ref_log_return` and `ref_valid_run`, the columns of the
reference's series joined on the bar. What does not: which instrument is the reference (`pipeline`).

The reference beside itself has beta and correlation 1 and no residual; its lead-lag is its own
autocorrelation.
"""

from __future__ import annotations

from itertools import product

import polars as pl

from tickhandler_dagster.market.mft.comoments import correlation, covariance, positive, variance
from tickhandler_dagster.market.mft.entry import MftFeature, Scope
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW = 60
"""Returns that both sides have."""

_INPUTS = ("log_return", "ref_log_return", "ref_valid_run")
_CORRELATION = Bounds(ge=-1.0, le=1.0)
_GAPS = "a bar of the window is a gap of the reference"

_own = pl.col("log_return")
_ref = pl.col("ref_log_return")


def reference_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Beta, correlation and residual per window; lead-lag per window and lag.

    Raises:
        InvalidInput: A window is shorter than 60 returns.
    """
    for window in windows.reference:
        refuse_short_window("reference", window, SHORTEST_WINDOW)
    for window in windows.autocorrelation:
        refuse_short_window("autocorrelation", window, SHORTEST_WINDOW)
    entries = (_beta, _correlation, _residual)
    return (
        *(entry(window) for window in windows.reference for entry in entries),
        *(_lead_lag(lag, window) for window, lag in product(windows.autocorrelation, windows.lags)),
    )


def _beta(window: int) -> MftFeature:
    return MftFeature(
        name=f"reference_beta_{window}",
        formula=(
            f"Beta to the reference: cov(r, r_ref)/var(r_ref) of {window} log returns of the same "
            "bars; 1 for the reference itself."
        ),
        look_back=window,
        needs_trades=True,
        scope=Scope.REFERENCE,
        inputs=_INPUTS,
        null_rule=f"{_GAPS}, or its returns do not vary",
        source="Sharpe 1963, Management Science 9(2)",
        oracle="statsmodels 0.15.0 RollingOLS with a constant",
        expression=_whole(_slope(window), window),
    )


def _correlation(window: int) -> MftFeature:
    return MftFeature(
        name=f"reference_correlation_{window}",
        formula=(
            f"Pearson correlation of {window} log returns with the reference's of the same bars; "
            "1 for the reference itself."
        ),
        look_back=window,
        needs_trades=True,
        scope=Scope.REFERENCE,
        inputs=_INPUTS,
        bounds=_CORRELATION,
        null_rule=f"{_GAPS}, or the returns of either side do not vary",
        source="Epps 1979, JASA 74(366)",
        expression=_whole(correlation(_own, _ref, window), window),
    )


def _residual(window: int) -> MftFeature:
    # Returns that never differ from the reference's are the reference's: no column names it here.
    differs = variance(_own - _ref, window) > 0
    return MftFeature(
        name=f"reference_residual_{window}",
        formula=(
            "Part of the bar's log return the reference does not explain: r - β·r_ref, "
            f"β over {window} log returns up to the bar."
        ),
        look_back=window,
        needs_trades=True,
        scope=Scope.REFERENCE,
        inputs=_INPUTS,
        null_rule=f"{_GAPS}, or its returns do not vary, or it is the instrument itself",
        source="Sharpe 1963, Management Science 9(2)",
        expression=_whole(pl.when(differs).then(_own - _slope(window) * _ref), window),
    )


def _lead_lag(lag: int, window: int) -> MftFeature:
    return MftFeature(
        name=f"reference_lead_{lag}_{window}",
        formula=(
            f"Pearson correlation of {window} log returns with the reference's {lag} bars earlier: "
            "corr(r_t, r_ref,t-k); positive where the reference leads."
        ),
        look_back=window + lag,
        needs_trades=True,
        scope=Scope.REFERENCE,
        inputs=_INPUTS,
        bounds=_CORRELATION,
        null_rule=f"{_GAPS}, or the returns of either side do not vary",
        source="Hayashi, Yoshida 2005, Bernoulli 11(2), on a common grid",
        expression=_whole(correlation(_own, _ref.shift(lag), window), window + lag),
    )


def _slope(window: int) -> pl.Expr:
    return covariance(_own, _ref, window) / positive(variance(_ref, window))


def _whole(value: pl.Expr, look_back: int) -> pl.Expr:
    """The rule of windows for the reference's bars; the instrument's own is `evaluation.py`'s."""
    return pl.when(pl.col("ref_valid_run") > look_back).then(value)
