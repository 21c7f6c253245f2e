"""The book at each bar's end: five levels as they stand, and what only deeper levels can tell.

What belongs here: the kernel of the `levels` channel's closing state. What does not: ratios of the
five levels (expressions in the registry), the arithmetic over levels (`book_depth.py`) and flows
between snapshots (`order_flow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.bars.book_depth import (
    Side,
    book_pressure,
    depth_slope,
    depth_within,
    trading_cost_bps,
)
from tickhandler_dagster.market.bars.end_states import ClosingStates, EndStates
from tickhandler_dagster.market.bars.levels import (
    LevelTicks,
    levels_concatenated,
    levels_in_order,
)
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

STORED_LEVELS = 5
REACHES_BPS = (5, 10, 25)
NOTIONALS: Mapping[str, float] = MappingProxyType({"10k": 10_000.0, "100k": 100_000.0})
"""Worth of the orders whose cost is told, in quote asset, by the suffix of their columns."""


class BookLevels:
    """The book at the bar ends of one instrument's day.

    Args:
        grid: The day's bars.
        terms: What the venue's amounts are worth.
        depth: Levels per side the channel shows: 25 or 5, or 1 for a quote feed, whose deeper
            levels are not empty but unseen.
    """

    def __init__(self, grid: DayGrid, terms: ContractTerms, *, depth: int) -> None:
        self._grid = grid
        self._has_sizes = terms.has_known_units
        self._depth = depth
        self._ends = EndStates[LevelTicks](grid, levels_concatenated)

    def prime(self, ticks: LevelTicks) -> None:
        """Take over the last of the states before the day."""
        self.add(ticks)

    def add(self, ticks: LevelTicks) -> None:
        """Take the next slice of whole bars."""
        if len(ticks):
            self._ends.keep(levels_in_order(ticks))

    def finish(self) -> FamilyDay:
        """The day's columns; call after the last slice."""
        unknown = np.full((len(_NAMES), self._grid.bars), np.nan)
        columns = dict(zip(_NAMES, unknown, strict=True))
        closing = self._ends.at_close()
        if closing is None:
            return FamilyDay(columns, np.full(self._grid.bars, NO_ARRIVAL, dtype=np.int64))
        states = closing.states
        found = _levels(states) | {
            "book_time": states.timestamp.astype(np.float64),
            "book_levels_seen": np.full(len(states), float(self._depth)),
        }
        columns |= {name: closing.spread_out(values) for name, values in found.items()}
        if self._has_sizes:
            columns |= _of_normal_states(closing, self._depth)
        return FamilyDay(columns, closing.arrivals)


def _levels(states: LevelTicks) -> dict[str, Float64Array]:
    return {
        f"{name}_{level + 1}": values[:, level]
        for name, values in (
            ("bid_price", states.bids),
            ("bid_volume", states.bid_sizes),
            ("ask_price", states.asks),
            ("ask_volume", states.ask_sizes),
        )
        for level in range(min(STORED_LEVELS, states.depth))
    }


def _of_normal_states(closing: ClosingStates[LevelTicks], depth: int) -> dict[str, Float64Array]:
    normal = np.flatnonzero(closing.states.top.is_normal)
    states = closing.states.take(normal)
    mids = ((states.bids[:, 0] + states.asks[:, 0]) / 2)[:, None]
    bid = Side(states.bids[:, :depth], _sizes(states.bid_sizes[:, :depth]), mids)
    ask = Side(states.asks[:, :depth], _sizes(states.ask_sizes[:, :depth]), mids)
    found = _depths(bid, ask) | _costs(bid, ask)
    if depth >= STORED_LEVELS:
        found["book_pressure"] = book_pressure(bid, ask, is_weighted=False)
        found["book_pressure_weighted"] = book_pressure(bid, ask, is_weighted=True)
    bars = closing.bars[normal]
    dense = {}
    for name, values in found.items():
        dense[name] = np.full(closing.total, np.nan)
        dense[name][bars] = values
    return dense


def _sizes(sizes: Float64Array) -> Float64Array:
    return np.where(np.isnan(sizes), 0.0, sizes)


def _depths(bid: Side, ask: Side) -> dict[str, Float64Array]:
    found = {"bid_depth_slope": depth_slope(bid), "ask_depth_slope": depth_slope(ask)}
    for reach in REACHES_BPS:
        found[f"bid_depth_{reach}bps"] = depth_within(bid, reach)
        found[f"ask_depth_{reach}bps"] = depth_within(ask, reach)
    return found


def _costs(bid: Side, ask: Side) -> dict[str, Float64Array]:
    found = {}
    for label, notional in NOTIONALS.items():
        found[f"buy_cost_{label}_bps"] = trading_cost_bps(ask, notional)
        found[f"sell_cost_{label}_bps"] = trading_cost_bps(bid, notional)
    return found


_NAMES = (
    *(
        f"{stem}_{level}"
        for stem in ("bid_price", "bid_volume", "ask_price", "ask_volume")
        for level in range(1, STORED_LEVELS + 1)
    ),
    "book_time",
    "book_levels_seen",
    "bid_depth_slope",
    "ask_depth_slope",
    *(f"{side}_depth_{reach}bps" for reach in REACHES_BPS for side in ("bid", "ask")),
    *(f"{side}_cost_{label}_bps" for label in NOTIONALS for side in ("buy", "sell")),
    "book_pressure",
    "book_pressure_weighted",
)
