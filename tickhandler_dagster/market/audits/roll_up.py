"""Whether stored bars are what the stored 15 s bars inside them add up to.

What belongs here: the definitions of the merge rules, said a second time. It uses nothing of
`bars/rollup.py` or `features/family.py`, whose work it judges; a fault there would otherwise judge
itself. Which columns merge, and how, comes from the registry.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.bars.statistics import SIZED_STATISTICS, UNITLESS_STATISTICS
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.registry import DELAYS_US, FEATURES, delayed_name
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

ROUNDING = 1e-9
"""What sums of floats may differ by, relative to the sum."""

CANCELLED = 1e-12
"""And relative to the sum of the terms' sizes: signed terms cancel, their rounding does not."""

_SAME = ("instrument_key", "venue", "clock", "has_memory", "book_source", "quote_source")
"""Columns that are one value in all bars of a day, whatever their length."""

_KNOWN_AT = ("available_at", *(delayed_name(delay) for delay in DELAYS_US))
_GRID = ("ts_open", "ts_close", "timeframe", "status", "is_final", "gap_ms", "coverage")

_OF_TRADES = frozenset({*UNITLESS_STATISTICS, *SIZED_STATISTICS})
"""Null in a bar without trades; the others are null in a bar of which nothing was observed."""

_COMPARED = frozenset({Merge.SUM, Merge.MIN, Merge.MAX, Merge.FIRST, Merge.LAST})

ROLLED_UP: Mapping[str, Feature] = MappingProxyType(
    {name: feature for name, feature in FEATURES.items() if feature.merge in _COMPARED}
)
"""Features that are compared. Derived ones follow from these, and what is computed from the ticks
for every length has nothing to be compared with."""

COLUMNS: tuple[str, ...] = (*_SAME, *_GRID, *_KNOWN_AT, *ROLLED_UP)
"""What is read of a candle file for the comparison."""

_HOLE_MARKS: Mapping[Channel, tuple[str, ...]] = MappingProxyType(
    {
        channel: tuple(
            name
            for name, feature in ROLLED_UP.items()
            if feature.merge is Merge.SUM and feature.inputs == (channel,) and not feature.delay_us
        )
        for channel in (Channel.TOP, Channel.LEVELS)
    }
)
"""Columns of the book that are 0 where nothing happened: null tells of a hole in the book."""

_WHOLE, _OBSERVED, _ENDS = "__whole", "__observed", "__ends"
_EXPECTED = "__expected_"
_HOLE = "__hole_"
_SIZE = "__size_"

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class RollUpDifference:
    """A column in which stored bars are not what smaller bars add up to.

    Attributes:
        timeframe: Length of the bars.
        column: The column; `ts_open` where a bar is missing or there should be none.
        opens: Opens of the bars, in order.
        sample: The first of them in words: stored value and expected one.
    """

    timeframe: Timeframe
    column: str
    opens: tuple[dt.datetime, ...]
    sample: str


def roll_up_differences(
    base: pl.DataFrame, larger: pl.DataFrame, timeframe: Timeframe
) -> list[RollUpDifference]:
    """Every column in which the stored bars differ from what the 15 s bars add up to.

    Columns that do not come from single trades are compared where all 15 s bars of the larger one
    exist and were observed: of a bar of which nothing was observed nothing is stored, and what a
    larger bar holds of that time cannot be told from it. A hole of the book in one part leaves
    nothing known of the book in the whole. Counts and extremes are held to the last bit, sums of
    floats to `ROUNDING`.

    Args:
        base: Stored 15 s bars of a day, with `COLUMNS`.
        larger: Stored bars of `timeframe` of the same instrument and day, with `COLUMNS`.
        timeframe: Length of the larger bars.
    """
    opens, names = _opens(timeframe), _known_columns(base, larger)
    both = (
        larger.with_columns(__stored=True)
        .join(_added_up(base, timeframe, names), left_on="ts_open", right_on=opens, how="full")
        .with_columns(pl.coalesce("ts_open", opens).alias("__open"))
        .sort("__open")
    )
    return [*_missing_bars(both, timeframe), *_differences(both, timeframe, names)]


def _known_columns(*frames: pl.DataFrame) -> frozenset[str]:
    """Without features that are null in all bars of all lengths: most, of an option's day."""
    return frozenset(
        name
        for name in COLUMNS
        if name not in ROLLED_UP or any(frame[name].count() for frame in frames)
    )


def _opens(timeframe: Timeframe) -> str:
    return f"__{timeframe}"


def _added_up(base: pl.DataFrame, timeframe: Timeframe, names: frozenset[str]) -> pl.DataFrame:
    is_observed = (pl.col("coverage") > 0) | (pl.col("trade_count").fill_null(0) > 0)
    name = _opens(timeframe)
    return (
        base.sort("ts_open")
        .with_columns(
            pl.col("ts_open").dt.truncate(f"{timeframe.us}us").alias(name), __seen=is_observed
        )
        .with_columns(_holes())
        .group_by(name, maintain_order=True)
        .agg(
            *_parts(timeframe),
            *(part for name, parts in _sums(timeframe).items() if name in names for part in parts),
        )
    )


def _parts(timeframe: Timeframe) -> tuple[pl.Expr, ...]:
    """What is known of the 15 s bars themselves: all there, all observed, the last one observed."""
    ratio = timeframe.us // BASE_TIMEFRAME.us
    end = pl.col(_opens(timeframe)).first() + _width(timeframe)
    return (
        (pl.len() == ratio).alias(_WHOLE),
        ((pl.len() == ratio) & pl.col("__seen").all()).alias(_OBSERVED),
        (pl.col("__seen").last() & (pl.col("ts_close").last() == end)).alias(_ENDS),
    )


@cache
def _sums(timeframe: Timeframe) -> Mapping[str, tuple[pl.Expr, ...]]:
    """What each column should be. Kept: making hundreds of expressions takes as long as a day."""
    sums: dict[str, tuple[pl.Expr, ...]] = {
        name: (_expected(name, value),) for name, value in _identity(timeframe)
    }
    for name, feature in ROLLED_UP.items():
        sums[name] = (_expected(name, _known(feature)),)
        if _is_float_sum(feature):
            sums[name] += (pl.col(name).abs().sum().alias(f"{_SIZE}{name}"),)
    return sums


def _width(timeframe: Timeframe) -> pl.Expr:
    return pl.duration(microseconds=timeframe.us)


def _expected(column: str, expression: pl.Expr) -> pl.Expr:
    return expression.alias(f"{_EXPECTED}{column}")


def _identity(timeframe: Timeframe) -> Iterator[tuple[str, pl.Expr]]:
    for name in _SAME:
        yield name, pl.col(name).first()
    yield "timeframe", pl.lit(timeframe.value)
    yield "ts_close", pl.col("ts_open").first().dt.truncate(f"{timeframe.us}us") + _width(timeframe)
    yield "status", _status()
    yield "is_final", pl.col("is_final").all()
    yield "gap_ms", pl.col("gap_ms").sum()
    yield "coverage", pl.col("coverage").sum() * (BASE_TIMEFRAME.us / timeframe.us)
    for name in _KNOWN_AT:
        yield name, pl.col(name).max()


def _status() -> pl.Expr:
    """One trade makes a traded bar; without one, a gap in any part is a gap in the whole."""
    status = pl.col("status")
    return (
        pl.when((status == BarStatus.TRADED).any())
        .then(pl.lit(BarStatus.TRADED.value))
        .when((status == BarStatus.VENDOR_GAP).any())
        .then(pl.lit(BarStatus.VENDOR_GAP.value))
        .when((status == BarStatus.NOT_INGESTED).any())
        .then(pl.lit(BarStatus.NOT_INGESTED.value))
        .otherwise(pl.lit(BarStatus.NO_TRADE.value))
    )


def _merged(feature: Feature) -> pl.Expr:
    return _MERGED[feature.merge](pl.col(feature.name), feature.name in _OF_TRADES)


def _known(feature: Feature) -> pl.Expr:
    merged = _merged(feature)
    holes = [_has_hole(channel) for channel in _HOLE_MARKS if channel in feature.inputs]
    return pl.when(~pl.any_horizontal(holes)).then(merged) if holes else merged


def _has_hole(channel: Channel) -> pl.Expr:
    return pl.col(f"{_HOLE}{channel}").any()


def _holes() -> list[pl.Expr]:
    """Per channel of the book: of an observed part nothing is stored of it."""
    return [
        (pl.col("__seen") & pl.all_horizontal(pl.col(name).is_null() for name in names)).alias(
            f"{_HOLE}{channel}"
        )
        for channel, names in _HOLE_MARKS.items()
    ]


def _sum(value: pl.Expr, is_of_trades: bool) -> pl.Expr:  # noqa: FBT001  (the form of a merge)
    """Of trades: what there is. Of states: null as soon as one part is undefined."""
    is_known = value.is_not_null().any() if is_of_trades else value.is_not_null().all()
    return pl.when(is_known).then(value.sum())


def _last(value: pl.Expr, is_of_trades: bool) -> pl.Expr:  # noqa: FBT001  (the form of a merge)
    """Of trades: the last that happened. Of states: the state at the end, null where undefined."""
    return value.drop_nulls().last() if is_of_trades else value.last()


_MERGED: Mapping[Merge, Callable[[pl.Expr, bool], pl.Expr]] = MappingProxyType(
    {
        Merge.SUM: _sum,
        Merge.MIN: lambda value, _: value.min(),
        Merge.MAX: lambda value, _: value.max(),
        Merge.FIRST: lambda value, _: value.drop_nulls().first(),
        Merge.LAST: _last,
    }
)


def _is_float_sum(feature: Feature) -> bool:
    return feature.merge is Merge.SUM and feature.dtype.is_float()


def _missing_bars(both: pl.DataFrame, timeframe: Timeframe) -> Iterator[RollUpDifference]:
    parts = f"{_EXPECTED}timeframe"
    for is_wrong, text in (
        (pl.col("__stored").is_null(), "is not stored"),
        (pl.col(parts).is_null(), "has no 15 s bars"),
    ):
        wrong = both.filter(is_wrong)["__open"].to_list()
        if wrong:
            yield RollUpDifference(
                timeframe, "ts_open", tuple(wrong), f"{timeframe} bar at {_moment(wrong[0])} {text}"
            )


def _differences(
    both: pl.DataFrame, timeframe: Timeframe, names: frozenset[str]
) -> Iterator[RollUpDifference]:
    paired = both.filter(
        pl.col("__stored").is_not_null() & pl.col(f"{_EXPECTED}timeframe").is_not_null()
    )
    flags = paired.select(flag for name, flag in _flags().items() if name in names)
    counts = flags.sum().row(0, named=True)
    for name in (name for name, count in counts.items() if count):
        wrong = paired.filter(flags[name])
        first = wrong.row(0, named=True)
        yield RollUpDifference(
            timeframe,
            name,
            tuple(wrong["__open"].to_list()),
            f"{timeframe} {name} at {_moment(first['__open'])} is {_text(first[name])}, "
            f"15 s bars give {_text(first[f'{_EXPECTED}{name}'])}",
        )


@cache
def _flags() -> Mapping[str, pl.Expr]:
    """Per compared column: the bar differs in it."""
    return {name: _differs(name).alias(name) for name in COLUMNS if name != "ts_open"}


def _differs(name: str) -> pl.Expr:
    feature = ROLLED_UP.get(name)
    if feature is not None:
        return _feature_differs(feature)
    stored, expected = pl.col(name), pl.col(f"{_EXPECTED}{name}")
    if name in _KNOWN_AT:
        # Not equal: a larger bar also waits for what came before its first part.
        return stored < expected
    if name in ("gap_ms", "coverage"):
        return pl.col(_WHOLE) & _is_apart(stored, expected, pl.lit(0.0))
    different = stored.ne_missing(expected)
    return pl.col(_WHOLE) & different if name in ("status", "is_final") else different


def _feature_differs(feature: Feature) -> pl.Expr:
    name = feature.name
    stored, expected = pl.col(name), pl.col(f"{_EXPECTED}{name}")
    if _is_float_sum(feature):
        different = _is_apart(stored, expected, pl.col(f"{_SIZE}{name}"))
    else:
        different = stored.ne_missing(expected)
    if name in _OF_TRADES:
        return different
    if feature.merge is Merge.LAST:
        # A hole in a part that is not stored, or of which nothing is, can make the whole null.
        return pl.col(_ENDS) & different & (pl.col(_OBSERVED) | stored.is_not_null())
    return pl.col(_OBSERVED) & different


def _is_apart(stored: pl.Expr, expected: pl.Expr, size: pl.Expr) -> pl.Expr:
    tolerance = ROUNDING * expected.abs() + CANCELLED * size
    is_one_null = stored.is_null() != expected.is_null()
    return is_one_null | ((stored - expected).abs() > tolerance).fill_null(value=False)


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _text(value: object) -> str:
    return "null" if value is None else f"{value!s}"
