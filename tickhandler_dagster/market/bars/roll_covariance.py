"""Covariance of successive price changes of trades: the sums behind Roll's spread.

What belongs here: the sums of each bar. What does not: the spread (`market/features/spreads.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.blocks import whole_bar_blocks
from tickhandler_dagster.market.bars.exact_sums import rounded_changes
from tickhandler_dagster.market.bars.segments import bar_starts, run_lengths
from tickhandler_dagster.market.bars.ticks import Float64Array, TradeTicks
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay


@dataclass(frozen=True, slots=True)
class RollCarry:
    """The last two trades.

    Attributes:
        prices: Their prices, the older first; None where there is none.
        arrivals: Their arrivals.
    """

    prices: tuple[float | None, ...] = (None, None)
    arrivals: tuple[int, ...] = (NO_ARRIVAL, NO_ARRIVAL)


class RollCovariance:
    """Products of each trade's price change with the one before it, in the bar of the later trade.

    A change is relative to the price it starts from, so that the changes of a long bar are of one
    size whatever the price does in it.

    Args:
        grid: The bars.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(self, grid: DayGrid, carried: RollCarry | None = None) -> None:
        self._grid = grid
        self._sums = {name: np.zeros(grid.bars) for name in _NAMES}
        self._arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)
        known = carried or RollCarry()
        self._prices = np.array([np.nan if price is None else price for price in known.prices])
        self._arrivals = np.array(known.arrivals, dtype=np.int64)

    def prime(self, ticks: TradeTicks) -> None:
        """Take some trades before the day's first moment, in total order; the last two matter."""
        self._prices = np.append(self._prices, ticks.price)[-2:]
        self._arrivals = np.append(self._arrivals, ticks.local_timestamp)[-2:]

    def add(self, ticks: TradeTicks) -> None:
        """Take the trades of a slice, in total order."""
        for block in whole_bar_blocks(ticks.timestamp, self._grid.timeframe.us):
            self._add_block(ticks.take(block))

    def carry(self) -> RollCarry:
        """What the next window takes over."""
        prices = (None if math.isnan(price) else price for price in self._prices.tolist())
        return RollCarry(tuple(prices), tuple(self._arrivals.tolist()))

    def finish(self) -> FamilyDay:
        """The day's sums. Shape: one element per bar."""
        return FamilyDay(self._sums, self._arrival)

    def _add_block(self, ticks: TradeTicks) -> None:
        starts, opens = bar_starts(ticks.timestamp, self._grid.timeframe.us)
        bars = (opens - self._grid.start_us) // self._grid.timeframe.us
        prices = np.append(self._prices, ticks.price)
        arrivals = np.append(self._arrivals, ticks.local_timestamp)
        changes = rounded_changes(np.diff(prices) / prices[:-1])
        later, earlier = changes[1:], changes[:-1]
        products = later * earlier
        count = run_lengths(starts, len(ticks))
        # Only the day's first two trades can be without a pair, and both are in one block unless
        # each has a block of its own.
        unknown = np.flatnonzero(np.isnan(products[:2]))
        if len(unknown):
            later, earlier = later.copy(), earlier.copy()
            later[unknown] = earlier[unknown] = products[unknown] = 0.0
            np.subtract.at(count, np.searchsorted(starts, unknown, side="right") - 1, 1)
        rows: tuple[Float64Array, ...] = (later, earlier, products)
        sums = (count, *(np.add.reduceat(row, starts) for row in rows))
        for name, values in zip(_NAMES, sums, strict=True):
            self._sums[name][bars] = values
        own = np.maximum.reduceat(ticks.local_timestamp, starts)
        self._arrival[bars] = np.maximum(own, np.maximum(arrivals[starts], arrivals[starts + 1]))
        self._prices, self._arrivals = prices[-2:], arrivals[-2:]


_NAMES = (
    "roll_pair_count",
    "roll_change_sum",
    "roll_earlier_change_sum",
    "roll_product_sum",
)
