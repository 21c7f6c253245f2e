"""The state of a book at the end of each bar.

What belongs here: keeping the last state of every bar, and which of them holds at a bar's end. What
does not: what is read from that state (`top_book.py`, `book_levels.py`, `micro_price.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.levels import LevelTicks
from tickhandler_dagster.market.bars.quotes import STATE_AGE_US, BoolArray, TopTicks
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid

States = TypeVar("States", TopTicks, LevelTicks)


@dataclass(frozen=True, slots=True, eq=False)
class ClosingStates(Generic[States]):
    """The states that hold at bar ends.

    Attributes:
        bars: Positions of the bars that have one, ascending.
        states: Their states, one per position; the same state may close several bars.
        total: Number of bars of the day.
    """

    bars: npt.NDArray[np.intp]
    states: States
    total: int

    def spread_out(self, values: Float64Array) -> Float64Array:
        """One value per state as one value per bar; NaN where the bar has none."""
        dense = np.full(self.total, np.nan)
        dense[self.bars] = values
        return dense

    @property
    def arrivals(self) -> Int64Array:
        """Arrival of each bar's state; `NO_ARRIVAL` where the bar has none."""
        dense = np.full(self.total, NO_ARRIVAL, dtype=np.int64)
        dense[self.bars] = self.states.local_timestamp
        return dense


class EndStates(Generic[States]):
    """Keeps the last state of every bar, at most one row per bar.

    Args:
        grid: The day's bars.
        concatenated: Puts parts one after the other.
    """

    def __init__(self, grid: DayGrid, concatenated: Callable[[Sequence[States]], States]) -> None:
        self._grid = grid
        self._concatenated: Callable[[Sequence[States]], States] = concatenated
        self._parts: list[States] = []

    def keep(self, states: States) -> None:
        """Take note of states in time order that follow all those before them."""
        starts, _ = bar_starts(states.timestamp, self._grid.timeframe.us)
        last = np.append(starts[1:], len(states)) - 1
        self._parts.append(states.take(last))

    def at_close(self) -> ClosingStates[States] | None:
        """The last state before each bar's end, unless it is older than `STATE_AGE_US` by then.

        Nulls: None where no state was ever kept.
        """
        if not self._parts:
            return None
        kept = self._concatenated(self._parts)
        closes = self._grid.closes
        position = np.searchsorted(kept.timestamp, closes, side="left") - 1
        age = closes - kept.timestamp[np.maximum(position, 0)]
        bars = np.flatnonzero((position >= 0) & (age <= STATE_AGE_US))
        return ClosingStates(bars, kept.take(position[bars]), self._grid.bars)


def last_of(states: States) -> States:
    """The last state alone, in memory of its own: a view would keep the whole slice alive."""
    return states.take(np.array([len(states) - 1], dtype=np.intp))


def continuous(states: TopTicks | LevelTicks, gaps: Sequence[tuple[int, int]]) -> BoolArray:
    """Whether each state but the first is a change of the state before it.

    Args:
        states: In time order.
        gaps: Reported gaps of the feed, half-open, microseconds since the epoch.

    Shape: (states - 1,).

    A state that opens a file says what the book was; one after a hole of more than `STATE_AGE_US`,
    or with a gap since the state before it, hides the changes between.
    """
    is_change = np.diff(states.timestamp) <= STATE_AGE_US
    np.logical_and(is_change, ~states.is_start[1:], out=is_change)
    for start, end in gaps:
        before, now = states.local_timestamp[:-1], states.local_timestamp[1:]
        is_change &= ~((before < end) & (now >= start))
    return is_change
