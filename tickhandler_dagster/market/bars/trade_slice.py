"""A slice of trades with the bars it falls in, and the dense columns that a kernel fills from it.

What belongs here: what the kernels over trades (`trade_delays.py`, `trade_sequence.py`,
`large_trades.py`) share. What does not: what they compute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True, eq=False)
class TradeSlice:
    """Trades of whole bars in total order.

    Attributes:
        ticks: The trades, at least one.
        sizes: Their true sizes; None where the contract's units are unknown.
        starts: Position of the first trade of each bar that has one.
        bars: Number of that bar in the day.
    """

    ticks: TradeTicks
    sizes: Sizes | None
    starts: npt.NDArray[np.intp]
    bars: Int64Array


def trade_slice(ticks: TradeTicks, sizes: Sizes | None, grid: DayGrid) -> TradeSlice:
    """The trades, which are in total order, with the bars of `grid` they fall in."""
    starts, bars = bars_of(ticks.timestamp, grid, grid.timeframe)
    return TradeSlice(ticks, sizes, starts, bars)


def bars_of(
    timestamp: Int64Array, grid: DayGrid, timeframe: Timeframe
) -> tuple[npt.NDArray[np.intp], Int64Array]:
    """Position of the first of the ordered times in each bar of `timeframe`, and the bar's number.

    Raises:
        IndexError: a time is not in the day.
    """
    starts, opens = bar_starts(timestamp, timeframe.us)
    bars = (opens - grid.start_us) // timeframe.us
    if bars[0] < 0 or bars[-1] >= grid.bars_of(timeframe):
        message = f"trades at {timestamp[0]}..{timestamp[-1]} µs are not in the day of the grid"
        raise IndexError(message)
    return starts, bars


class DenseColumns:
    """One float per bar and column, and the latest arrival each bar stands on.

    Args:
        grid: Bars of the day.
        sums: Columns that are 0 where nothing happened.
        values: Columns that are undefined where nothing happened.
    """

    def __init__(
        self, grid: DayGrid, *, sums: Iterable[str] = (), values: Iterable[str] = ()
    ) -> None:
        self.columns: dict[str, Float64Array] = {name: np.zeros(grid.bars) for name in sums}
        self.columns |= {name: np.full(grid.bars, np.nan) for name in values}
        self.last_arrival: Int64Array = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def put(self, bars: Int64Array, **values: npt.NDArray[Any]) -> None:
        """Set the bars' values; every bar is set at most once a day."""
        for name, column in values.items():
            self.columns[name][bars] = column

    def stands_on(self, bars: Int64Array, arrivals: Int64Array) -> None:
        """The bars' values stand on rows of these arrivals, too."""
        self.last_arrival[bars] = np.maximum(self.last_arrival[bars], arrivals)
