"""Resilience: how fast the touch refills after one update takes most of it away.

What belongs here: the kernel, which finds the depletions of a day and gives their counts and
medians. What does not: how long one depletion lasts (`recovery.py`).

A depletion is followed for `HORIZON_US` past its own bar, so everything here is known that much
later than the bar.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.end_states import continuous
from tickhandler_dagster.market.bars.quotes import TopTicks, top_concatenated, top_in_order
from tickhandler_dagster.market.bars.recovery import (
    HORIZON_US,
    UNRESOLVED,
    recovery_times,
)
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay
from tickhandler_dagster.market.timeframes import Timeframe

MIN_EVENTS = 3

_US_PER_MS = 1_000.0
_TIME_BITS = 23  # 2^23 µs > HORIZON_US
_CENSORED = HORIZON_US + 1  # so that a recovery after exactly the horizon is told apart
_NO_EVENTS = np.empty(0, dtype=np.int64)


class Resilience:
    """Depletions of the touch of one instrument's day, and their recoveries.

    Memory grows by eight bytes a depletion: medians do not merge.

    Args:
        grid: The day's bars.
        terms: What the venue's amounts are worth.
        gaps: Reported gaps of the feed, half-open, microseconds since the epoch.
    """

    def __init__(
        self,
        grid: DayGrid,
        terms: ContractTerms,
        *,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._grid = grid
        self._has_sizes = terms.has_known_units
        self._gaps = gaps
        self._open: TopTicks | None = None
        self._known_until_us = grid.end_us
        self._unresolved = np.zeros(grid.bars)
        self._resolved: list[Int64Array] = []
        self._own_arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)
        self._later_arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def prime(self, ticks: TopTicks) -> None:
        """Take over the last of the states before the day."""
        if len(ticks):
            self._open = top_in_order(ticks).take(np.array([len(ticks) - 1], dtype=np.intp))

    def add(self, ticks: TopTicks) -> None:
        """Take the next slice of whole bars."""
        if not len(ticks):
            return
        rows = top_in_order(ticks)
        self._note_arrivals(rows)
        states = rows if self._open is None else top_concatenated((self._open, rows))
        if self._grid.bars == 1:  # all of it is followed at once at the end: half the searches
            self._open = states
            return
        open_from = int(
            np.searchsorted(states.timestamp, states.timestamp[-1] - HORIZON_US, side="left")
        )
        self._measure(states, open_from, known_until_us=int(states.timestamp[-1]))
        # the state before the first open one says what was there before a depletion
        first = max(open_from - 1, 0)
        self._open = states.take(np.arange(first, len(states), dtype=np.intp))

    def add_after(self, ticks: TopTicks, *, known_until_us: int | None = None) -> None:
        """Take states after the day's end, once, after the last slice.

        Args:
            ticks: States of the day's following seconds, `HORIZON_US` of them where they exist.
            known_until_us: Up to when the feed is known, which a quiet book does not show by a
                state; None for the time of the last state.
        """
        until = [self._grid.end_us] if known_until_us is None else [known_until_us]
        ordered = top_in_order(ticks)
        if len(ordered):
            until.append(int(ordered.timestamp[-1]))
        rows = ordered.take(ordered.timestamp <= self._grid.end_us + HORIZON_US)
        if len(rows):
            self._note_arrivals(rows)
            if self._open is not None:
                self._open = top_concatenated((self._open, rows))
        self._known_until_us = max(until)

    def finish(self) -> FamilyDay:
        """The day's columns; call after the last slice and, if at all, `add_after`."""
        if self._open is not None:
            end = int(np.searchsorted(self._open.timestamp, self._grid.end_us))
            self._measure(self._open, end, known_until_us=self._known_until_us)
            self._open = None
        keys = np.sort(np.concatenate([_NO_EVENTS, *self._resolved]))
        bars, times = keys >> _TIME_BITS, keys & ((1 << _TIME_BITS) - 1)
        total = self._grid.bars
        recovered = np.bincount(bars[times < _CENSORED], minlength=total)
        statistics = {
            "resilience_event_count": np.bincount(bars, minlength=total).astype(np.float64),
            "resilience_recovered_count": recovered.astype(np.float64),
            "resilience_unresolved_count": self._unresolved,
        }
        if not self._has_sizes:
            statistics = dict.fromkeys(statistics, np.full(total, np.nan))
        exact = {
            timeframe: {"resilience_median_ms": _medians(bars, times, self._grid, timeframe)}
            for timeframe in Timeframe
            if timeframe in self._grid.timeframes and timeframe.us >= self._grid.timeframe.us
        }
        return FamilyDay(statistics, np.maximum(self._own_arrival, self._later_arrival), exact)

    def _measure(self, states: TopTicks, end: int, *, known_until_us: int) -> None:
        """Follow the depletions at the states from the second to the one before `end`."""
        if end < 2 or not self._has_sizes:  # noqa: PLR2004  (one state and the one before it)
            return
        is_normal = states.is_normal
        is_step = continuous(states, self._gaps)[: end - 1]
        is_step &= is_normal[1:end] & is_normal[: end - 1]
        for price, size in (
            (np.where(is_normal, states.bid, -np.inf), states.bid_size),
            (np.where(is_normal, -states.ask, -np.inf), states.ask_size),
        ):
            at = 1 + np.flatnonzero(is_step & _is_depleted(price[:end], size[:end]))
            self._keep(
                at, recovery_times(states.timestamp, price, size, at), states, known_until_us
            )

    def _keep(
        self, at: npt.NDArray[np.intp], times: Int64Array, states: TopTicks, known_until_us: int
    ) -> None:
        moments = states.timestamp[at]
        bars = (moments - self._grid.start_us) // self._grid.timeframe.us
        is_open = times == UNRESOLVED
        is_hidden = is_open & (moments + HORIZON_US > known_until_us)
        for start, end in self._gaps:
            arrival = states.local_timestamp[at]
            is_hidden |= is_open & (arrival < end) & (arrival + HORIZON_US >= start)
        np.add.at(self._unresolved, bars[is_hidden], 1.0)
        times = np.where(is_open, _CENSORED, times)
        self._resolved.append(((bars << _TIME_BITS) | times)[~is_hidden])

    def _note_arrivals(self, rows: TopTicks) -> None:
        """A bar stands on its own rows, the state before them and those of the seconds after it."""
        starts, opens = bar_starts(rows.timestamp, self._grid.timeframe.us)
        bars = (opens - self._grid.start_us) // self._grid.timeframe.us
        arrival = rows.local_timestamp
        before, since = arrival[starts - 1], rows.timestamp[starts - 1]
        before[0] = NO_ARRIVAL if self._open is None else self._open.local_timestamp[-1]
        since[0] = NO_ARRIVAL if self._open is None else self._open.timestamp[-1]
        # every second run is the head of a bar; the sentinel is there for a head that ends all
        heads = np.searchsorted(rows.timestamp, opens + HORIZON_US)
        runs = np.stack((starts, heads), axis=1).ravel()
        in_head = np.maximum.reduceat(np.append(arrival, NO_ARRIVAL), runs)[::2]
        is_followed = (bars > 0) & (heads > starts) & (since >= opens - HORIZON_US)
        self._later_arrival[bars[is_followed] - 1] = in_head[is_followed]
        own = np.maximum(np.maximum.reduceat(arrival, starts), before)
        is_today = (bars >= 0) & (bars < self._grid.bars)
        self._own_arrival[bars[is_today]] = own[is_today]


def _is_depleted(price: Float64Array, size: Float64Array) -> npt.NDArray[np.bool_]:
    """The best price retreats, or half its size or more goes. Shape: (states - 1,)."""
    is_smaller = (price[1:] == price[:-1]) & (size[1:] <= size[:-1] / 2)
    return np.asarray((price[1:] < price[:-1]) | is_smaller)


def _medians(
    bars: Int64Array, times: Int64Array, grid: DayGrid, timeframe: Timeframe
) -> Float64Array:
    """Median time per bar, not recovered ones as long as the horizon; NaN below `MIN_EVENTS`."""
    ratio = timeframe.us // grid.timeframe.us
    keys = np.sort(((bars // ratio) << _TIME_BITS) | np.minimum(times, HORIZON_US))
    total = grid.bars // ratio
    counts = np.bincount(keys >> _TIME_BITS, minlength=total)
    ends = np.cumsum(counts)
    medians = np.full(total, np.nan)
    defined = np.flatnonzero(counts >= MIN_EVENTS)
    low = ends[defined] - counts[defined] + (counts[defined] - 1) // 2
    high = ends[defined] - counts[defined] + counts[defined] // 2
    both = (keys[low] & ((1 << _TIME_BITS) - 1)) + (keys[high] & ((1 << _TIME_BITS) - 1))
    medians[defined] = both / 2 / _US_PER_MS
    return medians
