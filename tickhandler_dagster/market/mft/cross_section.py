"""Where an instrument stands among the instruments of its venue at the same bar.

What belongs here: entries over the long frame of all instruments, and their evaluation. What does
not: the universe (`pipeline` gives the instruments of the day) and the values that are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import polars as pl

from tickhandler_dagster.market.mft.entry import MftFeature, Scope
from tickhandler_dagster.market.mft.trailing import LEAST_RELATIVE_SPREAD
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

FEWEST_MEMBERS = 5
"""Instruments with a value that a bar needs to be compared at."""

_TAIL = 0.01
_FEW = f"the instrument has no value; fewer than {FEWEST_MEMBERS} instruments have one"

_BAR = "ts_open"
_KEY = "instrument_key"
_PLACE = "_place"

_FIXED_COLUMNS = ("quote_volume", "trade_flow_imbalance", "funding_annualised", "spread_tw_bps")
"""Base volume is not among them: coins of different assets do not compare."""

_entry = partial(MftFeature, look_back=0, scope=Scope.CROSS_SECTION)


def compared_columns(windows: Windows) -> tuple[str, ...]:
    """Columns the long frame must have beside keys: what instruments are compared by."""
    return (*_returns(windows), f"realized_vol_bars_{windows.volatility[0]}", *_FIXED_COLUMNS)


def cross_section_features(windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of the cross-section for these windows, in the order of the columns.

    Their expressions are over the rows of a long frame that are valid and have a value: none but
    `cross_sectional` evaluates them.
    """
    return (
        *(entry for name in compared_columns(windows) for entry in _places(name)),
        *(entry for name in _returns(windows) for entry in _breadths(name)),
    )


def cross_sectional(frames: pl.DataFrame, features: Sequence[MftFeature]) -> pl.DataFrame:
    """The long frame with a column for each feature and when the last of the bar was available.

    Args:
        frames: A row per instrument and bar, in any order: `instrument_key`, `ts_open`,
            `available_at`, `is_valid` (there, final and observed) and `compared_columns`.
        features: Entries of `cross_section_features`.

    Shape: the rows in the order they came in. `cross_section_available_at` is the latest
        `available_at` of the valid instruments of the bar: none of the features is known before.

    Nulls: a row that is not valid has no feature, and no other row's features count it.
    """
    last = pl.when("is_valid").then("available_at").max().over(_BAR)
    result = frames.with_columns(cross_section_available_at=last).with_row_index(_PLACE)
    # Sums of floats depend on the order and on the nulls between, in their last bit: each column is
    # compared among its members alone, in one order, so that no other row can show.
    members = result.filter("is_valid").sort(_BAR, _KEY)
    for name in dict.fromkeys(feature.inputs for feature in features):
        alike = [feature for feature in features if feature.inputs == name]
        compared = _compared(members, alike)
        result = result.join(compared, on=_PLACE, how="left", maintain_order="left")
    return result.drop(_PLACE)


def _compared(members: pl.DataFrame, features: Sequence[MftFeature]) -> pl.DataFrame:
    """Features that read the same column, of the rows that have a value in it."""
    (name,) = features[0].inputs
    return (
        members.filter(pl.col(name).is_finite())
        .lazy()
        .select(_PLACE, *(_kept(feature) for feature in features))
        .collect()
    )


def _kept(feature: MftFeature) -> pl.Expr:
    value = feature.expression
    return pl.when(value.is_finite()).then(value).cast(feature.dtype).alias(feature.name)


def _returns(windows: Windows) -> tuple[str, ...]:
    return tuple(f"log_return_{horizon}" for horizon in windows.horizons)


def _places(name: str) -> Iterator[MftFeature]:
    value, is_enough = pl.col(name), _is_enough(name)
    count, rank = value.count().over(_BAR), value.rank("average").over(_BAR)
    kept = _winsorised(name)
    mean, deviation = kept.mean().over(_BAR), kept.std(ddof=0).over(_BAR)
    varies = deviation > mean.abs() * LEAST_RELATIVE_SPREAD
    yield _entry(
        name=f"cs_rank_{name}",
        formula=f"(rank - ½) / n - ½ of {name} among the venue's n instruments at the bar, ties "
        "averaged: from just above -½ for the lowest to just below ½.",
        inputs=(name,),
        expression=pl.when(is_enough).then((rank - 0.5) / count - 0.5),
        bounds=Bounds(gt=-0.5, lt=0.5),
        null_rule=_FEW,
    )
    yield _entry(
        name=f"cs_z_{name}",
        formula=f"(x - mean) / standard deviation (ddof 0) of {name} at the bar, each value first "
        "cut to the 1st and 99th percentile of the bar.",
        inputs=(name,),
        expression=pl.when(is_enough & varies).then((kept - mean) / deviation),
        null_rule=f"{_FEW}; all alike",
    )


def _breadths(name: str) -> Iterator[MftFeature]:
    is_enough = _is_enough(name)
    deviation = _winsorised(name).std(ddof=0).over(_BAR)
    yield _entry(
        name=f"cs_dispersion_{name}",
        formula=f"Standard deviation (ddof 0) of {name} over the venue's instruments at the bar, "
        "each value first cut to the 1st and 99th percentile of the bar.",
        inputs=(name,),
        expression=pl.when(is_enough).then(deviation),
        bounds=Bounds(ge=0),
        null_rule=_FEW,
    )
    yield _entry(
        name=f"cs_breadth_{name}",
        formula=f"Share of the venue's instruments at the bar whose {name} is above 0.",
        inputs=(name,),
        expression=pl.when(is_enough).then((pl.col(name) > 0).mean().over(_BAR)),
        bounds=Bounds(ge=0, le=1),
        null_rule=_FEW,
    )


def _is_enough(name: str) -> pl.Expr:
    return pl.col(name).count().over(_BAR) >= FEWEST_MEMBERS


def _winsorised(name: str) -> pl.Expr:
    value = pl.col(name)
    low, high = (value.quantile(tail, "linear").over(_BAR) for tail in (_TAIL, 1 - _TAIL))
    return value.clip(low, high)
