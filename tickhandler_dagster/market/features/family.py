"""A family's day: its statistics on the dense grid of bars, their roll-up and their frame.

What belongs here: the form in which every family of features hands over what it found, and the
merging by the registry's rules. What does not: the arithmetic of a family (`market/bars`).

All statistics are float64: a count or a time in microseconds is exact in it up to 2^53, and one
type makes one roll-up. NaN is "undefined" and becomes null in the table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.feature import Feature, Merge
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

NO_ARRIVAL = -(2**63)
"""Stands for "no row" where an arrival is asked for."""


@dataclass(frozen=True, slots=True)
class DayGrid:
    """All bars of one length in a UTC day or in a window of it, listed or not.

    Attributes:
        start_us: First moment of the day or window, microseconds since the epoch.
        timeframe: Length of the bars.
        length_us: Length of the day or window, whole bars.
    """

    start_us: int
    timeframe: Timeframe = BASE_TIMEFRAME
    length_us: int = US_PER_DAY

    @property
    def end_us(self) -> int:
        """First moment after the day or window."""
        return self.start_us + self.length_us

    @property
    def day_start_us(self) -> int:
        """First moment of the UTC day."""
        return self.start_us - self.start_us % US_PER_DAY

    @property
    def is_whole_day(self) -> bool:
        """It is a day and not a part of one."""
        return self.length_us == US_PER_DAY

    @property
    def bars(self) -> int:
        """Number of bars."""
        return self.length_us // self.timeframe.us

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes, smallest first, whose bars fill the day or window exactly."""
        return _dividing(self.start_us % US_PER_DAY, self.length_us)

    def bars_of(self, timeframe: Timeframe) -> int:
        """Number of bars of another length."""
        return self.length_us // timeframe.us

    @property
    def opens(self) -> Int64Array:
        """First moment of each bar. Shape: (bars,)."""
        return self.start_us + np.arange(self.bars, dtype=np.int64) * self.timeframe.us

    @property
    def closes(self) -> Int64Array:
        """First moment after each bar. Shape: (bars,)."""
        return self.opens + self.timeframe.us


@functools.lru_cache(maxsize=4096)
def _dividing(since_midnight_us: int, length_us: int) -> tuple[Timeframe, ...]:
    return tuple(
        timeframe
        for timeframe in sorted(Timeframe, key=lambda one: one.us)
        if since_midnight_us % timeframe.us == 0 and length_us % timeframe.us == 0
    )


@dataclass(frozen=True, slots=True, eq=False)
class FamilyDay:
    """What one family found in an instrument's day or window.

    Attributes:
        statistics: Mergeable columns, one element per 15 s bar of the day (`DayGrid.bars`). A
            summed statistic is 0 where nothing happened, never NaN.
        exact: Columns that do not merge, per timeframe, one element per bar of it.
        last_arrival: Latest arrival of any row a 15 s bar's values stand on, its own rows and those
            of the state it took over; `NO_ARRIVAL` where there is none.
        length_us: Length of the time that the arrays span. The kernels leave it at a day, for they
            know no other length of bars than their own; `merged` sets it.
    """

    statistics: Mapping[str, Float64Array]
    last_arrival: Int64Array
    exact: Mapping[Timeframe, Mapping[str, Float64Array]] = field(default_factory=dict)
    length_us: int = US_PER_DAY


def merged(*days: FamilyDay, length_us: int = US_PER_DAY) -> FamilyDay:
    """What several computations found in so long a time, as one family's day; at least one."""
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
        length_us,
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


def rolled_up_column(
    values: Float64Array, merge: Merge, timeframe: Timeframe, length_us: int = US_PER_DAY
) -> Float64Array:
    """A statistic of the bars of `timeframe` from that of the smaller bars of so long a time.

    Example:
        >>> quarter_minutes = np.arange(5_760.0)
        >>> rolled_up_column(quarter_minutes, Merge.SUM, Timeframe.M1)[:2].tolist()
        [6.0, 22.0]
    """
    ratio = len(values) * timeframe.us // length_us
    return values if ratio == 1 else _REDUCTIONS[merge](values.reshape(-1, ratio))


def rolled_up_arrival(
    last_arrival: Int64Array, timeframe: Timeframe, length_us: int = US_PER_DAY
) -> Int64Array:
    """The latest arrival of each bar of `timeframe`."""
    ratio = len(last_arrival) * timeframe.us // length_us
    return np.asarray(np.maximum.reduce(last_arrival.reshape(-1, ratio), axis=1))


def family_columns(
    day: FamilyDay, features: Sequence[Feature], timeframe: Timeframe
) -> dict[str, pl.Series]:
    """The family's stored columns for all bars of one timeframe, by name; derived ones not yet.

    Columns of a channel that is not there are not among them.

    Nulls: where the family has NaN.
    """
    exact = day.exact.get(timeframe, {})
    return {
        feature.name: as_series(
            rolled_up_column(day.statistics[feature.name], feature.merge, timeframe, day.length_us)
            if feature.name in day.statistics
            else exact[feature.name],
            feature,
        )
        for feature in features
        if feature.name in day.statistics or feature.name in exact
    }


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
