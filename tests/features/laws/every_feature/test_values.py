"""Every value is a number within its bounds or a null that its entry explains."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.schema_check import SchemaCheck

CONSTANT = {
    "book_levels_seen",
    "duplicate_id_count",
    "funding_interval_h",
    "large_trade_threshold",
    "liquidation_is_throttled",
    "micro_price_fit_day",
    "ofi_snap_fit_day",
    "surface_venue",
}
"""Of a day, or of the hand-made market."""


_BOOK = {Channel.TRADES, Channel.TOP, Channel.LEVELS, Channel.FACTS}
_ALL = {*_BOOK, Channel.TICKER, Channel.LIQUIDATIONS, Channel.OPTIONS}
MARKETS = {
    "perpetual": _ALL,
    "future": _ALL,
    "inverse": _ALL,
    "unknown units": _ALL,
    "sandbox: linear": _ALL - {Channel.OPTIONS},
    "sandbox: inverse": _ALL - {Channel.OPTIONS},
    "sandbox: without dense ids": _ALL - {Channel.OPTIONS},
    "sandbox: spot": _BOOK,
    "recorded: linear": _BOOK,
    "recorded: spot": _BOOK,
}
"""Market → the channels it has."""


def is_outside(feature):
    """Whether a value breaks the bounds of its entry."""
    value, bounds = pl.col(feature.name), feature.bounds
    rules = (
        (bounds.gt, value.le), (bounds.ge, value.lt), (bounds.lt, value.ge), (bounds.le, value.gt),
    )  # fmt: skip
    broken = [breaks(limit) for limit, breaks in rules if limit is not None]
    return pl.any_horizontal(*broken) if broken else pl.lit(value=False)


@pytest.fixture(
    params=[
        *MARKETS,
        (DataType.TRADES,), (DataType.BOOK_SNAPSHOT_5,), (DataType.TRADES, DataType.QUOTES),
        (DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS), (),
    ],
    ids=str,
)  # fmt: skip
def frames(request):
    """Bars of every kind of instrument, of every part of the channels, and of other markets."""
    if isinstance(request.param, tuple):
        return request.getfixturevalue("bars").with_channels(*request.param)
    return found(request, request.param)


def found(request, market):
    """The bars of a market by its name."""
    kind, _, name = market.partition(": ")
    if kind == "sandbox":
        return request.getfixturevalue("foreign")(name)
    if kind == "recorded":
        return request.getfixturevalue("foreign")(name, request.getfixturevalue("recorded"))
    return request.getfixturevalue("bars").of_instrument(kind)


def counted(frame, wrong):
    counts = frame.select(**wrong).sum().row(0, named=True)
    return {name: count for name, count in counts.items() if count}


def test_no_value_is_nan_or_infinite(frames):
    for timeframe, frame in frames.items():
        numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
        wrong = {name: ~pl.col(name).is_finite() for name in numbers}
        assert counted(frame, wrong) == {}, timeframe


def test_every_value_is_within_its_bounds(frames, features):
    wrong = {name: is_outside(one) for name, one in features.items()}
    for timeframe, frame in frames.items():
        assert counted(frame, wrong) == {}, timeframe


def test_bars_keep_the_rules_of_their_table(frames):
    report = SchemaCheck(CANDLE_TABLE).run([(str(name), frame) for name, frame in frames.items()])
    assert not report.failures


@pytest.mark.parametrize("market", MARKETS)
def test_a_null_has_a_reason_in_its_entry(market, request, features):
    wrong = {
        name: pl.col(name).is_null()
        for name, one in features.items()
        if not one.null_rule and not one.minimum and MARKETS[market].issuperset(one.inputs)
    }
    for timeframe, frame in found(request, market).items():
        assert counted(frame.filter(pl.col("coverage") == 1), wrong) == {}, timeframe


def test_every_feature_is_computed_at_least_once(bars, features):
    missing = set(features)
    for frame in (*bars.plain().values(), *bars.future().values()):
        missing -= {name for name in missing if frame[name].null_count() < frame.height}
    assert sorted(missing) == []


def test_every_feature_takes_more_than_one_value(bars, features):
    """The laws of a column that never changes would hold for nothing."""
    frames = [*bars.plain().values(), *bars.future().values()]
    still = {
        name
        for name in features
        if pl.concat([frame[name] for frame in frames]).drop_nulls().n_unique() < 2
    }
    assert sorted(still - CONSTANT) == []
