"""The best bid and ask over time: spreads, imbalance, quote age and the flow of a quote feed.

What belongs here: the kernel of the `top` channel. What does not: deeper levels
(`book_levels.py`), the fitted price (`micro_price.py`) and recovery (`resilience.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.end_states import (
    ClosingStates,
    EndStates,
    continuous,
    last_of,
)
from tickhandler_dagster.market.bars.order_flow import known_size, side_flow
from tickhandler_dagster.market.bars.quotes import (
    STATE_AGE_US,
    TopTicks,
    top_concatenated,
    top_in_order,
)
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

_Scalar = TypeVar("_Scalar", np.bool_, np.float64)

US_PER_MS = 1_000.0
BPS = 10_000.0

_UNSIZED = ("spread_bps_us", "spread_abs_us", "quote_normal_us", "quote_covered_ms", "update_count")
_KINDS = ("locked_ms", "crossed_ms", "one_sided_ms", "empty_ms")
_SIZED = ("queue_imbalance_us", "queue_normal_us")
_FLOW = ("ofi", "ofi_depth_sum")


@dataclass(frozen=True, slots=True, eq=False)
class _Holding:
    """How long which state holds in which bar.

    Attributes:
        carried: 1 where the first state is taken over from before these bars, else 0.
        bars: All bars of the span, ascending and without holes.
        has_rows: Which of the bars have states of their own.
        starts: Position of each such bar's first state, counted without the carried one.
        held_us: Per state, the time it holds inside its own bar.
        age_us: Per bar with rows, the longest time without an update inside it.
        before: Per bar, position of the state it takes over; -1 where there is none.
        before_us: Per bar, how long that state still holds in it; 0 where there is none.
        before_age_us: Per bar, that state's age when the bar's first update or end comes.
    """

    carried: int
    bars: slice
    has_rows: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.intp]
    held_us: Float64Array
    age_us: Int64Array
    before: npt.NDArray[np.intp]
    before_us: Float64Array
    before_age_us: Int64Array

    def integral(self, values: Float64Array) -> Float64Array:
        """∫ value dt of each bar; one value per state, none of them NaN."""
        total = self.before_us * values[np.maximum(self.before, 0)]
        if len(self.starts):
            own = np.add.reduceat(values[self.carried :] * self.held_us, self.starts)
            total[self.has_rows] += own
        return total

    def total(self, values: Float64Array) -> Float64Array:
        """Sum of each bar; one value per state of the bars themselves."""
        sums = np.zeros(len(self.has_rows))
        if len(self.starts):
            sums[self.has_rows] = np.add.reduceat(values, self.starts)
        return sums


def _holding(timestamp: Int64Array, carried: int, grid: DayGrid, bars: slice) -> _Holding:
    opens, closes = grid.opens[bars], grid.closes[bars]
    edges = np.searchsorted(timestamp, np.append(opens, closes[-1]))
    has_rows = edges[1:] > edges[:-1]
    first = edges[:-1][has_rows]
    last = edges[1:][has_rows] - 1
    own = timestamp[carried:]
    held = np.diff(own, append=0)
    held[last - carried] = closes[has_rows] - timestamp[last]
    starts = first - carried
    age = np.maximum.reduceat(held, starts) if len(starts) else np.empty(0, dtype=np.int64)
    before = edges[:-1] - 1
    until = closes.copy()
    until[has_rows] = timestamp[first]
    since = timestamp[np.maximum(before, 0)]
    before_us = np.clip(np.minimum(until, since + STATE_AGE_US) - opens, 0, None)
    return _Holding(
        carried=carried,
        bars=bars,
        has_rows=has_rows,
        starts=starts,
        held_us=np.minimum(held, STATE_AGE_US).astype(np.float64),
        age_us=age,
        before=before,
        before_us=np.where(before >= 0, before_us, 0).astype(np.float64),
        before_age_us=until - since,
    )


class TopBook:
    """The best quotes of one instrument's day.

    Args:
        grid: The day's bars.
        terms: What the venue's amounts are worth.
        is_quote_feed: The states are events of the best quotes, not samples of a deeper book: only
            then is the change between two of them an order flow.
        gaps: Reported gaps of the feed, half-open, microseconds since the epoch.
    """

    def __init__(
        self,
        grid: DayGrid,
        terms: ContractTerms,
        *,
        is_quote_feed: bool,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._grid = grid
        self._has_sizes = terms.has_known_units
        self._is_quote_feed = is_quote_feed
        self._gaps = gaps
        self._ends = EndStates[TopTicks](grid, top_concatenated)
        self._before: TopTicks | None = None
        self._next_bar = 0
        names = (*_UNSIZED, *_KINDS, *_SIZED, *_FLOW, "ofi_event_count")
        self._sums = {name: np.zeros(grid.bars) for name in names}
        self._age_us = np.full(grid.bars, np.nan)
        self._last_arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def prime(self, ticks: TopTicks) -> None:
        """Take over the last of the states before the day."""
        if len(ticks):
            self._before = last_of(top_in_order(ticks))
            self._ends.keep(self._before)

    def add(self, ticks: TopTicks) -> None:
        """Take the next slice of whole bars."""
        if not len(ticks):
            return
        rows = top_in_order(ticks)
        self._ends.keep(rows)
        end_bar = (int(rows.timestamp[-1]) - self._grid.start_us) // self._grid.timeframe.us + 1
        if self._before is None:
            self._measure(rows, 0, end_bar)
        else:
            self._measure(top_concatenated((self._before, rows)), 1, end_bar)
        self._before = last_of(rows)

    def _measure(self, states: TopTicks, carried: int, end_bar: int) -> None:
        """Every sum of the bars up to `end_bar`, from their states and the one carried in."""
        bars = slice(self._next_bar, end_bar)
        self._next_bar = end_bar
        holding = _holding(states.timestamp, carried, self._grid, bars)
        self._add_times(states, holding)
        self._add_ages(states, holding)
        if self._has_sizes:
            self._add_imbalance(states, holding)
        if self._is_quote_feed:
            self._add_flow(states, holding)

    def _add_times(self, states: TopTicks, holding: _Holding) -> None:
        bars, is_normal = holding.bars, states.is_normal
        spread = states.ask - states.bid
        relative = spread / (states.ask + states.bid)
        relative *= 2 * BPS
        weight = np.ones(len(states))
        covered = holding.integral(weight)
        if not is_normal.all():
            spread, relative, weight = (
                np.where(is_normal, values, 0.0) for values in (spread, relative, weight)
            )
            for name, is_kind in zip(_KINDS, _odd_states(states), strict=True):
                held = holding.integral(is_kind.astype(np.float64))
                self._sums[name][bars] = held / US_PER_MS
        self._sums["spread_abs_us"][bars] = holding.integral(spread)
        self._sums["spread_bps_us"][bars] = holding.integral(relative)
        self._sums["quote_normal_us"][bars] = holding.integral(weight)
        self._sums["quote_covered_ms"][bars] = covered / US_PER_MS
        updates = (~states.is_start[holding.carried :]).astype(np.float64)
        self._sums["update_count"][bars] = holding.total(updates)

    def _add_ages(self, states: TopTicks, holding: _Holding) -> None:
        is_known = holding.before >= 0
        before = np.maximum(holding.before, 0)
        age = np.where(is_known, holding.before_age_us, np.nan)
        arrival = np.where(is_known, states.local_timestamp[before], NO_ARRIVAL)
        if len(holding.starts):
            own = np.maximum.reduceat(states.local_timestamp[holding.carried :], holding.starts)
            rows = holding.has_rows
            age[rows] = np.fmax(age[rows], holding.age_us)
            arrival[rows] = np.maximum(arrival[rows], own)
        self._age_us[holding.bars] = age
        self._last_arrival[holding.bars] = arrival

    def _add_imbalance(self, states: TopTicks, holding: _Holding) -> None:
        depth = states.bid_size + states.ask_size
        is_sized = states.is_normal & (depth > 0)
        imbalance = np.zeros(len(states))
        np.divide(states.bid_size - states.ask_size, depth, out=imbalance, where=is_sized)
        self._sums["queue_imbalance_us"][holding.bars] = holding.integral(imbalance)
        self._sums["queue_normal_us"][holding.bars] = holding.integral(is_sized.astype(np.float64))

    def _add_flow(self, states: TopTicks, holding: _Holding) -> None:
        if len(states) <= holding.carried:
            return
        is_change = _aligned(continuous(states, self._gaps), holding.carried)
        hidden = np.flatnonzero(~is_change)
        bars = holding.bars
        self._sums["ofi_event_count"][bars] = holding.total(is_change.astype(np.float64))
        if not self._has_sizes:
            return
        flow = side_flow(states.bid, states.bid_size)
        flow -= side_flow(-states.ask, states.ask_size)
        flow = _aligned(flow, holding.carried)
        depth = known_size(states.bid_size[holding.carried :]) + known_size(
            states.ask_size[holding.carried :]
        )
        flow[hidden] = 0.0
        depth[hidden] = 0.0
        self._sums["ofi"][bars] = holding.total(flow)
        self._sums["ofi_depth_sum"][bars] = holding.total(depth) / 2

    def finish(self) -> FamilyDay:
        """The day's columns; call after the last slice."""
        if self._before is not None and self._next_bar < self._grid.bars:
            self._measure(self._before, 1, self._grid.bars)
        nothing = np.full(self._grid.bars, np.nan)
        unknown: tuple[str, ...] = () if self._has_sizes else (*_SIZED, *_FLOW)
        if not self._is_quote_feed:
            unknown += (*_FLOW, "ofi_event_count")
        return FamilyDay(
            self._sums
            | dict.fromkeys(unknown, nothing)
            | {"quote_age_max_ms": self._age_us / US_PER_MS}
            | _closing_columns(self._ends.at_close(), nothing),
            self._last_arrival,
        )


def _odd_states(states: TopTicks) -> tuple[npt.NDArray[np.bool_], ...]:
    """Locked, crossed, one-sided, empty."""
    no_bid, no_ask = np.isnan(states.bid), np.isnan(states.ask)
    return (
        states.bid == states.ask,
        states.bid > states.ask,
        no_bid ^ no_ask,
        no_bid & no_ask,
    )


def _aligned(changes: npt.NDArray[_Scalar], carried: int) -> npt.NDArray[_Scalar]:
    """One element per state of the bars: the first has no change where nothing came before it."""
    return changes if carried else np.concatenate((np.zeros(1, dtype=changes.dtype), changes))


def _closing_columns(
    closing: ClosingStates[TopTicks] | None, nothing: Float64Array
) -> dict[str, Float64Array]:
    """Imbalance and weighted mid of the state at each bar's end."""
    if closing is None:
        return {"queue_imbalance": nothing, "weighted_mid": nothing}
    states = closing.states
    depth = states.bid_size + states.ask_size
    is_sized = states.is_normal & (depth > 0)
    imbalance = np.full(len(states), np.nan)
    np.divide(states.bid_size - states.ask_size, depth, out=imbalance, where=is_sized)
    # ½(1+I) is the bid's share: a full bid queue pulls the price to the ask
    weighted = (states.bid + states.ask) / 2 + imbalance * (states.ask - states.bid) / 2
    return {
        "queue_imbalance": closing.spread_out(imbalance),
        "weighted_mid": closing.spread_out(weighted),
    }
