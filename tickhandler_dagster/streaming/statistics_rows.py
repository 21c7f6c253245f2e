"""A bar's stored statistics as a row of numbers, and rows of smaller bars merged to a larger one's.

What belongs here: the columns of such a row, and each merge rule carried out for all instruments at
once. What does not: the rules (the registry and `bars/rollup.py`), and which rows are kept
(`larger_bars.py`).

All numbers are float64, which holds counts and times in microseconds exactly up to 2^53; NaN stands
for what is not known. Rows hold what is known at the bar's end: what looks past it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.stacked import DENSE
from tickhandler_dagster.market.bars.statistics import (
    SIZED_STATISTICS,
    UNITLESS_STATISTICS,
    BarStatistics,
)
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import NO_ARRIVAL, FamilyDay
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

_OPEN = "ts_open"
_UNITLESS = tuple(name for name in UNITLESS_STATISTICS if name != _OPEN)
_OF_TRADES = (*_UNITLESS, *SIZED_STATISTICS)
_DENSE = tuple(feature for feature in DENSE[0] if feature.merge is not Merge.RECOMPUTED)
_KNOWN, _ARRIVAL = "base_bars", "arrival"
_LAST_TRADE, _LAST_ARRIVAL = "previous_trade", "previous_arrival"

_RULES: Mapping[str, Merge] = MappingProxyType(
    {
        _KNOWN: Merge.SUM,
        _ARRIVAL: Merge.MAX,
        _LAST_TRADE: Merge.FIRST,
        _LAST_ARRIVAL: Merge.FIRST,
        **{feature.name: feature.merge for feature in _DENSE},
    }
)
COLUMNS: tuple[str, ...] = (*_RULES, *_OF_TRADES)
"""What a row holds."""

_PLACE = {name: place for place, name in enumerate(COLUMNS)}
KNOWN = _PLACE[_KNOWN]
"""Where a row says of how many 15 s bars it is; NaN where of none."""

_PLACES_OF = {
    merge: np.array([_PLACE[name] for name, rule in _RULES.items() if rule is merge])
    for merge in set(_RULES.values())
}
_INTEGERS = frozenset({_OPEN, *(name for name in _UNITLESS if not FEATURES[name].dtype.is_float())})
_APART_US = 2 * US_PER_DAY
"""Moves each instrument's bars to days of its own, so that no bar holds those of two."""

Rows = npt.NDArray[np.float64]


def row_of(facts: DayFacts, parts: DayParts) -> Float64Array:
    """The statistics of a window of one 15 s bar."""
    known = {_KNOWN: 1.0}
    if facts.previous is not None:
        known[_LAST_TRADE] = facts.previous.timestamp_us
        known[_LAST_ARRIVAL] = facts.previous.arrival_us
    day = parts.found.get(0)
    if day is not None:
        known |= {name: values[0] for name, values in day.statistics.items() if name in _RULES}
        if day.last_arrival[0] != NO_ARRIVAL:
            known[_ARRIVAL] = day.last_arrival[0]
    traded = parts.traded[BASE_TIMEFRAME]
    if traded is not None:
        known |= {name: values[0] for name, values in traded.columns.items() if name != _OPEN}
    row = np.full(len(COLUMNS), np.nan)
    row[[_PLACE[name] for name in known]] = list(known.values())
    return row


def merged_rows(smaller: Rows, opens: Sequence[int], timeframe: Timeframe) -> Float64Array:
    """The rows of a larger bar, one per instrument, from those of the bars that make it up.

    Args:
        smaller: Their rows, in order of time; NaN where a bar is not known.
            Shape: (bars, instruments, statistics).
        opens: First moment of each of them, microseconds since the epoch.
        timeframe: The larger bar's length.
    """
    merged = np.full(smaller.shape[1:], np.nan)
    for merge, places in _PLACES_OF.items():
        merged[:, places] = _REDUCTIONS[merge](smaller[:, :, places])
    has_trades = ~np.isnan(smaller[:, :, _PLACE["trade_count"]])
    is_sized = ~np.isnan(smaller[:, :, _PLACE["volume"]])
    for is_chosen, names in (
        (has_trades & is_sized, _OF_TRADES),
        (has_trades & ~is_sized, _UNITLESS),
    ):
        _merge_trades(merged, smaller, is_chosen, names, opens=opens, timeframe=timeframe)
    return merged


def previous_of(row: Float64Array) -> PreviousTrade | None:
    """The last trade before the bar; None where none is known."""
    last = row[_PLACE[_LAST_TRADE]]
    if np.isnan(last):
        return None
    return PreviousTrade(int(last), int(row[_PLACE[_LAST_ARRIVAL]]))


def parts_of(row: Float64Array, timeframe: Timeframe, open_us: int) -> DayParts:
    """What a window of one bar is put together from, as far as a row holds it."""
    arrival = row[_PLACE[_ARRIVAL]]
    found = FamilyDay(
        {feature.name: row[_PLACE[feature.name], None] for feature in _DENSE},
        np.array([NO_ARRIVAL if np.isnan(arrival) else arrival], dtype=np.int64),
        length_us=timeframe.us,
    )
    return DayParts(traded={timeframe: _statistics(row, open_us)}, found={0: found}, surface={})


def _statistics(row: Float64Array, open_us: int) -> BarStatistics | None:
    if np.isnan(row[_PLACE["trade_count"]]):
        return None
    names = _UNITLESS if np.isnan(row[_PLACE["volume"]]) else _OF_TRADES
    return BarStatistics(
        {
            _OPEN: np.array([open_us], dtype=np.int64),
            **{name: _typed(row[_PLACE[name], None], name) for name in names},
        }
    )


def _merge_trades(
    merged: Rows,
    smaller: Rows,
    is_chosen: npt.NDArray[np.bool_],
    names: Sequence[str],
    *,
    opens: Sequence[int],
    timeframe: Timeframe,
) -> None:
    """The batch's roll-up over the bars with trades of all instruments, one after the other."""
    instruments, bars = np.nonzero(is_chosen.T)
    if not len(instruments):
        return
    columns = {name: _typed(smaller[bars, instruments, _PLACE[name]], name) for name in names}
    moved = np.asarray(opens, dtype=np.int64)[bars] + instruments * _APART_US
    larger = rolled_up(BarStatistics({_OPEN: moved, **columns}), timeframe)
    rows = np.unique(instruments)
    for name in names:
        merged[rows, _PLACE[name]] = larger[name]


def _typed(values: Float64Array, name: str) -> npt.NDArray[np.generic]:
    return values.astype(np.int64) if name in _INTEGERS else values


def _sum(values: Rows) -> Rows:
    total: Rows = np.nansum(values, axis=0)
    total[np.isnan(values).all(axis=0)] = np.nan
    return total


def _first_known(values: Rows) -> Rows:
    position = (~np.isnan(values)).argmax(axis=0)
    return np.asarray(np.take_along_axis(values, position[None], axis=0)[0])


_REDUCTIONS: Mapping[Merge, Callable[[Rows], Rows]] = MappingProxyType(
    {
        Merge.SUM: _sum,
        Merge.MIN: lambda values: np.fmin.reduce(values, axis=0),
        Merge.MAX: lambda values: np.fmax.reduce(values, axis=0),
        Merge.FIRST: _first_known,
        Merge.LAST: lambda values: values[-1],
    }
)
