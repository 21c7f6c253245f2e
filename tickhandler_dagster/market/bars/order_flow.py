"""Order flow imbalance: what each change of a book's level says about demand.

What belongs here: the flow of one level between consecutive states, and the kernel of flows
between snapshots for the first five levels. What does not: the flow of a quote feed's best level
over bars (`top_book.py`) and the weights of levels (`flow_loading.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.end_states import continuous, last_of
from tickhandler_dagster.market.bars.flow_loading import LEVELS, OrderFlowMemory
from tickhandler_dagster.market.bars.flow_tally import FlowTally
from tickhandler_dagster.market.bars.levels import (
    LevelTicks,
    levels_concatenated,
    levels_in_order,
)
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay


def side_flow(price: Float64Array, size: Float64Array) -> Float64Array:
    """Size gained by the bid side of a level at each state but the first.

    Missing levels stand infinitely far away with size 0, so a level that appears gains its size
    and one that vanishes loses it. The ask side is the same with its prices negated.

    Shape: (states - 1,).
    Source: Cont, Kukanov & Stoikov (2014), The Price Impact of Order Book Events, eq. 2.

    Example:
        >>> side_flow(np.array([100.0, 100.0, 101.0]), np.array([5.0, 8.0, 2.0])).tolist()
        [3.0, 2.0]
    """
    is_missing = np.isnan(price)
    if is_missing.any():
        price = np.where(is_missing, -np.inf, price)
    is_unsized = np.isnan(size)
    if is_unsized.any():
        size = np.where(is_unsized, 0.0, size)
    gained = np.where(price[1:] >= price[:-1], size[1:], 0.0)
    gained -= np.where(price[1:] <= price[:-1], size[:-1], 0.0)
    return gained


def known_size(size: Float64Array) -> Float64Array:
    """The sizes, 0 where a level is missing."""
    is_missing = np.isnan(size)
    return np.where(is_missing, 0.0, size) if is_missing.any() else size


class SnapshotFlow:
    """Order flow between consecutive snapshots, level by level, of one instrument's day.

    A flow between sampled states is not the flow of events: it misses what came and went between.
    It has names of its own.

    Args:
        grid: The day's bars.
        terms: What the venue's amounts are worth.
        memory: Weights of the levels fitted on an earlier day; None where there is none.
        gaps: Reported gaps of the feed, half-open, microseconds since the epoch.
    """

    def __init__(
        self,
        grid: DayGrid,
        terms: ContractTerms,
        *,
        memory: OrderFlowMemory | None = None,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._grid = grid
        self._has_sizes = terms.has_known_units
        self._memory = memory
        self._gaps = gaps
        self._before: LevelTicks | None = None
        self._flows = np.zeros((LEVELS, grid.bars))
        self._depth = np.zeros(grid.bars)
        self._events = np.zeros(grid.bars)
        self._last_arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def prime(self, ticks: LevelTicks) -> None:
        """Take over the last of the states before the day."""
        if len(ticks):
            self._before = last_of(levels_in_order(ticks))

    def add(self, ticks: LevelTicks) -> None:
        """Take the next slice of whole bars."""
        if not len(ticks):
            return
        rows = levels_in_order(ticks)
        before = self._before
        self._before = last_of(rows)
        if before is None:
            before = rows.take(np.zeros(1, dtype=np.intp))  # itself: a change of nothing
            is_change = np.concatenate(([False], continuous(rows, self._gaps)))
        else:
            edge = levels_concatenated((before, rows.take(np.zeros(1, dtype=np.intp))))
            is_change = np.concatenate((continuous(edge, self._gaps), continuous(rows, self._gaps)))
        starts, opens = bar_starts(rows.timestamp, self._grid.timeframe.us)
        bars = (opens - self._grid.start_us) // self._grid.timeframe.us
        self._events[bars] = np.add.reduceat(is_change.astype(np.float64), starts)
        self._note_arrivals(rows, before, starts, bars)
        if self._has_sizes:
            self._add_flows(rows, before, is_change, (starts, bars))

    def _note_arrivals(
        self,
        rows: LevelTicks,
        before: LevelTicks,
        starts: npt.NDArray[np.intp],
        bars: npt.NDArray[np.int64],
    ) -> None:
        own = np.maximum.reduceat(rows.local_timestamp, starts)
        taken_over = rows.local_timestamp[starts - 1]
        taken_over[0] = before.local_timestamp[0]
        self._last_arrival[bars] = np.maximum(own, taken_over)

    def _add_flows(
        self,
        rows: LevelTicks,
        before: LevelTicks,
        is_change: npt.NDArray[np.bool_],
        where: tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]],
    ) -> None:
        starts, bars = where
        hidden = np.flatnonzero(~is_change)
        depth = np.zeros(len(rows))
        for level in range(min(LEVELS, rows.depth)):
            bid, ask, bid_size, ask_size = (
                np.concatenate((getattr(before, name)[:, level], getattr(rows, name)[:, level]))
                for name in ("bids", "asks", "bid_sizes", "ask_sizes")
            )
            flow = side_flow(bid, bid_size)
            flow -= side_flow(np.negative(ask, out=ask), ask_size)
            flow[hidden] = 0.0
            self._flows[level, bars] = np.add.reduceat(flow, starts)
            depth += known_size(bid_size[1:])
            depth += known_size(ask_size[1:])
        depth[hidden] = 0.0
        self._depth[bars] = np.add.reduceat(depth, starts) / (2 * LEVELS)

    def finish(self) -> FamilyDay:
        """The day's flows; call after the last slice."""
        nothing = np.full(self._grid.bars, np.nan)
        columns = {"ofi_snap_event_count": self._events}
        weighted, fit_day = nothing, nothing
        if self._memory is not None and self._memory.loading:
            weighted = np.zeros(self._grid.bars)
            for weight, flow in zip(self._memory.loading, self._flows, strict=True):
                weighted += weight * flow
            fit_day = np.full(self._grid.bars, float(self._memory.day_us))
        sized = {
            **{f"ofi_snap_{level + 1}": flow for level, flow in enumerate(self._flows)},
            "ofi_snap_depth_sum": self._depth,
            "ofi_snap_weighted": weighted,
        }
        if not self._has_sizes:
            sized = dict.fromkeys(sized, nothing)
        return FamilyDay(columns | sized | {"ofi_snap_fit_day": fit_day}, self._last_arrival)

    def tally(self) -> FlowTally | None:
        """What these snapshots add to the fit of their day; None where units are unknown."""
        if not self._has_sizes:
            return None
        return FlowTally.of(self._grid, self._flows, self._depth, self._events)
