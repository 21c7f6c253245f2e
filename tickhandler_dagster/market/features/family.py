"""A family's day: its statistics on the dense grid of bars, their roll-up and their frame.

What belongs here: the form in which every family of features hands over what it found, and the
merging by the registry's rules. What does not: the arithmetic of a family (`market/bars`).

All statistics are float64: a count or a time in microseconds is exact in it up to 2^53, and one
type makes one roll-up. NaN is "undefined" and becomes null in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.feature import Feature, Merge
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

NO_ARRIVAL = -(2**63)
"""Stands for "no row" where an arrival is asked for."""

Cut: TypeAlias = tuple[Timeframe, slice]
"""Some consecutive bars of the day's bars of a timeframe."""


@dataclass(frozen=True, slots=True)
class DayGrid:
    """All bars of one length in a UTC day, listed or not.

    Attributes:
        start_us: First moment of the day, microseconds since the epoch.
        timeframe: Length of the bars.
    """

    start_us: int
    timeframe: Timeframe = BASE_TIMEFRAME

    @property
    def end_us(self) -> int:
        """First moment after the day."""
        return self.start_us + US_PER_DAY

    @property
    def bars(self) -> int:
        """Number of bars."""
        return US_PER_DAY // self.timeframe.us

    @property
    def opens(self) -> Int64Array:
        """First moment of each bar. Shape: (bars,)."""
        return self.start_us + np.arange(self.bars, dtype=np.int64) * self.timeframe.us

    @property
    def closes(self) -> Int64Array:
        """First moment after each bar. Shape: (bars,)."""
        return self.opens + self.timeframe.us


@dataclass(frozen=True, slots=True, eq=False)
class FamilyDay:
    """What one family found in an instrument's day.

    Attributes:
        statistics: Mergeable columns, one element per 15 s bar of the day (`DayGrid.bars`). A
            summed statistic is 0 where nothing happened, never NaN.
        exact: Columns that do not merge, per timeframe, one element per bar of it.
        last_arrival: Latest arrival of any row a 15 s bar's values stand on, its own rows and those
            of the state it took over; `NO_ARRIVAL` where there is none.
    """

    statistics: Mapping[str, Float64Array]
    last_arrival: Int64Array
    exact: Mapping[Timeframe, Mapping[str, Float64Array]] = field(default_factory=dict)


def merged(*days: FamilyDay) -> FamilyDay:
    """What several computations found, as one family's day; at least one."""
    return FamilyDay(
        {name: values for day in days for name, values in day.statistics.items()},
        np.maximum.reduce([day.last_arrival for day in days]),
        {
            timeframe: {
                name: values
                for day in days
                for name, values in day.exact.get(timeframe, {}).items()
            }
            for timeframe in Timeframe
        },
    )


def _first_known(values: Float64Array) -> Float64Array:
    known = ~np.isnan(values)
    position = known.argmax(axis=1)
    return np.asarray(values[np.arange(len(values)), position])


def _last(values: Float64Array) -> Float64Array:
    return values[:, -1]


_REDUCTIONS: Mapping[Merge, Callable[[Float64Array], Float64Array]] = MappingProxyType(
    {
        Merge.SUM: lambda values: np.add.reduce(values, axis=1),
        Merge.MIN: lambda values: np.fmin.reduce(values, axis=1),
        Merge.MAX: lambda values: np.fmax.reduce(values, axis=1),
        Merge.FIRST: _first_known,
        Merge.LAST: _last,
    }
)


def rolled_up_column(values: Float64Array, merge: Merge, timeframe: Timeframe) -> Float64Array:
    """A statistic of the bars of `timeframe` from that of the day's smaller bars.

    Example:
        >>> quarter_minutes = np.arange(5_760.0)
        >>> rolled_up_column(quarter_minutes, Merge.SUM, Timeframe.M1)[:2].tolist()
        [6.0, 22.0]
    """
    ratio = len(values) // timeframe.bars_per_day
    return values if ratio == 1 else _REDUCTIONS[merge](values.reshape(-1, ratio))


def rolled_up_arrival(last_arrival: Int64Array, timeframe: Timeframe) -> Int64Array:
    """The latest arrival of each bar of `timeframe`."""
    ratio = len(last_arrival) // timeframe.bars_per_day
    return np.asarray(np.maximum.reduce(last_arrival.reshape(-1, ratio), axis=1))


def family_columns(
    day: FamilyDay, features: Sequence[Feature], timeframe: Timeframe
) -> dict[str, pl.Series]:
    """The family's stored columns for all bars of one timeframe, by name (`cut_columns`)."""
    columns = cut_columns(day, features, [(timeframe, slice(0, timeframe.bars_per_day))])
    return {column.name: column for column in columns}


def cut_columns(
    day: FamilyDay, features: Sequence[Feature], cuts: Sequence[Cut]
) -> list[pl.Series]:
    """The family's stored columns, derived ones not yet, for bars of several timeframes.

    Columns of a channel that is not there are not among them.

    Args:
        day: What the family found.
        features: Which columns.
        cuts: Timeframes, and which of its bars are wanted of each.

    Shape: one element per wanted bar, in the order of the cuts.
    Nulls: where the family has NaN.
    """
    return [
        as_series(np.concatenate([_values(day, feature, cut) for cut in cuts]), feature)
        for feature in features
        if feature.name in day.statistics
        or all(feature.name in day.exact.get(timeframe, {}) for timeframe, _ in cuts)
    ]


def arrival_column(day: FamilyDay | None, cuts: Sequence[Cut]) -> pl.Series:
    """The latest arrival behind each wanted bar, `NO_ARRIVAL` where there is none."""
    if day is None:
        total = sum(bars.stop - bars.start for _, bars in cuts)
        return pl.repeat(NO_ARRIVAL, total, dtype=pl.Int64, eager=True)
    return pl.Series(
        np.concatenate(
            [rolled_up_arrival(day.last_arrival, timeframe)[bars] for timeframe, bars in cuts]
        )
    )


def _values(day: FamilyDay, feature: Feature, cut: Cut) -> Float64Array:
    timeframe, bars = cut
    if feature.name in day.statistics:
        return rolled_up_column(day.statistics[feature.name], feature.merge, timeframe)[bars]
    return day.exact[timeframe][feature.name][bars]


def as_series(values: Float64Array, feature: Feature) -> pl.Series:
    """The values in the feature's type, NaN as null and every zero positive.

    A row that is masked leaves a zero, and its sign may come from what was beside it in the slice.
    """
    series = pl.Series(feature.name, values + 0.0, nan_to_null=True)
    if series.dtype == feature.dtype:
        return series
    if feature.dtype.is_temporal():
        return series.cast(pl.Int64).cast(feature.dtype)
    return series.cast(feature.dtype)
