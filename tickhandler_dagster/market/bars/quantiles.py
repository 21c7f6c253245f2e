"""Exact quantiles of a day's values for every timeframe, in memory that does not grow with the day.

What belongs here: which of a bar's values are its quantiles, and how few of them have to be kept
for the larger bars. What does not: what the values are (`trade_quality.py`).

Quantiles do not merge, but sorted values with their counts do. Only the hour in progress is kept
value by value; a complete hour is folded into its distinct values and how often each occurred.
Sizes are lots and delays whole microseconds, so a day of forty million trades has few distinct
values. An inverse contract's base sizes are quotients and hardly repeat: no method finds exact
quantiles of such a stream in one pass and bounded memory (Munro & Paterson 1980), so there it is at
most 16 bytes a trade, of venues that trade a few million a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.segments import bar_starts, run_lengths, run_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

_BLOCK_HOURS = Timeframe.H4.us // Timeframe.H1.us


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile to compute.

    Attributes:
        probability: Between 0 and 1.
        minimum: Smallest number of values at which it is defined.
    """

    probability: float
    minimum: int


@dataclass(frozen=True, slots=True, eq=False)
class _Multiset:
    """Distinct values in order, and how often each occurs."""

    values: Float64Array
    counts: Int64Array


class QuantileDay:
    """Quantiles of one quantity over the bars of all timeframes of a day or window.

    A window that is not of whole hours is one part that is folded at its end.

    Sorting in place from the smallest bar to the largest, each timeframe finds its parts sorted
    already. Selecting only the wanted ranks measured half as much again, and would need its own
    list of ranks for every bar in place of one lookup for all of them.

    Args:
        grid: The day; the length of its bars does not matter.
        quantiles: Column → quantile.
    """

    def __init__(self, grid: DayGrid, quantiles: Mapping[str, Quantile]) -> None:
        self._start_us = grid.start_us
        self._quantiles = quantiles
        self._counts = np.zeros(grid.bars_of(BASE_TIMEFRAME), dtype=np.int64)
        self._raw: list[Float64Array] = []
        self._columns = {
            timeframe: {name: np.full(grid.bars_of(timeframe), np.nan) for name in quantiles}
            for timeframe in grid.timeframes
        }
        self._sorted = [one for one in self._columns if one.us <= Timeframe.H1.us]
        self._part_us = Timeframe.H1.us if Timeframe.H1 in self._columns else grid.length_us
        self._part = 0
        self._parts = grid.length_us // self._part_us
        self._block: list[_Multiset] = []
        self._day: list[_Multiset] = []

    def add(self, timestamp: Int64Array, values: Float64Array) -> None:
        """Add the values of a span of whole base bars that follows the spans before it.

        Args:
            timestamp: When each value was, in order of time.
            values: One per time, none of them NaN.
        """
        if not len(values):
            return
        starts, opens = bar_starts(timestamp, BASE_TIMEFRAME.us)
        bars = (opens - self._start_us) // BASE_TIMEFRAME.us
        self._counts[bars] = run_lengths(starts, len(values))
        self._raw.append(values)
        self._fold_until(int(bars[-1]) // self._part_bars)

    def finish(self) -> Mapping[Timeframe, Mapping[str, Float64Array]]:
        """The quantiles of each timeframe that fills the day or window; ends it.

        Shape: one element per bar.
        Nulls: NaN where the bar has fewer values than the quantile needs.
        """
        self._fold_until(self._parts)
        if self._day and Timeframe.H24 in self._columns:
            self._set_from_multiset(Timeframe.H24, 0, _merged(self._day))
        return self._columns

    @property
    def _part_bars(self) -> int:
        return self._part_us // BASE_TIMEFRAME.us

    def _fold_until(self, part: int) -> None:
        """Turn the complete hours before this one into quantiles and multisets."""
        if part == self._part:
            return
        counts = self._counts[self._part * self._part_bars : part * self._part_bars]
        complete = int(counts.sum())
        raw = np.concatenate(self._raw) if self._raw else np.empty(0)
        # copies: a view would keep the whole slice alive, and sorting in place is for our own
        self._raw = [raw[complete:].copy()] if len(raw) > complete else []
        values = raw[:complete]
        for timeframe in self._sorted:
            self._sort_and_set(timeframe, values, counts)
        if Timeframe.H4 in self._columns:
            self._fold_hours(values, counts)
        self._part = part

    def _fold_hours(self, values: Float64Array, counts: Int64Array) -> None:
        """Turn the sorted hours at hand into multisets, and each fourth into a larger bar."""
        start = 0
        totals = counts.reshape(-1, self._part_bars).sum(axis=1).tolist()
        for hour, total in enumerate(totals, self._part + 1):
            if total:
                self._block.append(_multiset(values[start : start + total]))
            start += total
            if hour % _BLOCK_HOURS == 0:
                self._close_block(hour // _BLOCK_HOURS - 1)

    def _sort_and_set(self, timeframe: Timeframe, values: Float64Array, counts: Int64Array) -> None:
        """Sort the bars of `timeframe` in the hours at hand and look up their quantiles."""
        totals = counts.reshape(-1, timeframe.us // BASE_TIMEFRAME.us).sum(axis=1)
        bars = np.flatnonzero(totals)
        totals = totals[bars]
        ends = np.cumsum(totals)
        starts = ends - totals
        unsorted = totals > 1
        for start, end in zip(starts[unsorted].tolist(), ends[unsorted].tolist(), strict=True):
            values[start:end].sort()
        bars += self._part * self._part_us // timeframe.us
        for name, quantile in self._quantiles.items():
            enough = totals >= quantile.minimum
            below, above, weight = _ranks(totals[enough], quantile.probability)
            first = starts[enough]
            self._columns[timeframe][name][bars[enough]] = _between(
                values[first + below], values[first + above], weight
            )

    def _close_block(self, bar: int) -> None:
        """The four hours of this bar are complete."""
        if not self._block:
            return
        merged = _merged(self._block)
        self._set_from_multiset(Timeframe.H4, bar, merged)
        self._day.append(merged)
        self._block = []

    def _set_from_multiset(self, timeframe: Timeframe, bar: int, multiset: _Multiset) -> None:
        ends = np.cumsum(multiset.counts)
        total = ends[-1:]
        for name, quantile in self._quantiles.items():
            if total[0] < quantile.minimum:
                continue
            below, above, weight = _ranks(total, quantile.probability)
            low, high = (
                multiset.values[np.searchsorted(ends, rank, side="right")]
                for rank in (below, above)
            )
            self._columns[timeframe][name][bar] = _between(low, high, weight)[0]


def _ranks(counts: Int64Array, probability: float) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Ranks from 0 of the two values nearest to rank `(n - 1)·p`, and its place between them.

    Source: Hyndman & Fan (1996), Sample Quantiles in Statistical Packages, definition 7.
    """
    rank = (counts - 1) * probability
    below = np.floor(rank).astype(np.int64)
    return below, np.minimum(below + 1, counts - 1), rank - below


def _between(low: Float64Array, high: Float64Array, weight: Float64Array) -> Float64Array:
    return np.asarray(low + (high - low) * weight)


def _multiset(ordered: Float64Array) -> _Multiset:
    starts = run_starts(ordered)
    return _Multiset(ordered[starts], run_lengths(starts, len(ordered)))


def _merged(parts: Sequence[_Multiset]) -> _Multiset:
    """All values of the parts.

    The stable sort is the one that finds the sorted runs: merging costs a pass, not a sort.
    """
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([part.values for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    order = np.argsort(values, kind="stable")
    values = values[order]
    starts = run_starts(values)
    return _Multiset(values[starts], np.add.reduceat(counts[order], starts))
