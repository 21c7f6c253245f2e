"""Prices that are no multiple of the price step.

What belongs here: the comparison and which columns hold prices on the grid. What does not: the step
of a day, which is the universe's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.audit_limits import GRID_TOLERANCE
from tickhandler_dagster.market.quality.broken_rows import BoolArray, BrokenRows, Int64Array

# Of a book's levels the best two: the others were the best before, or come from the same message.
# Mark, index and last prices of a ticker are averages and lie on no grid.
PRICE_COLUMNS: Mapping[DataType, tuple[str, ...]] = MappingProxyType(
    {
        DataType.TRADES: ("price",),
        DataType.INCREMENTAL_BOOK_L2: ("price",),
        DataType.QUOTES: ("ask_price", "bid_price"),
        DataType.BOOK_SNAPSHOT_5: ("ask_price_1", "bid_price_1"),
        DataType.BOOK_SNAPSHOT_25: ("ask_price_1", "bid_price_1"),
        DataType.DERIVATIVE_TICKER: (),
        DataType.LIQUIDATIONS: (),  # a bankruptcy price on some venues, which is on no grid
        DataType.OPTIONS_CHAIN: (),  # the step of a premium depends on the premium
        DataType.BOOK_TICKER: ("ask_price", "bid_price"),
    }
)


class GridAudit:
    """Follows the prices of a file.

    Args:
        tick_size: The price step.
        columns: Where prices are.
    """

    def __init__(self, tick_size: float, columns: tuple[str, ...]) -> None:
        self._tick_size = tick_size
        self._columns = columns
        self.broken = BrokenRows()

    def add(self, frame: pl.DataFrame, exchange: Int64Array) -> None:
        """Add the rows of a piece of the file."""
        is_off = np.zeros(frame.height, dtype=np.bool_)
        for name in self._columns:
            is_off |= off_grid(frame[name].to_numpy(), self._tick_size)
        self.broken.add(is_off, exchange, {name: frame[name] for name in self._columns})


def off_grid(prices: npt.NDArray[np.float64], tick_size: float) -> BoolArray:
    """Per price: it is no multiple of the step; a missing one is none.

    Example:
        >>> import numpy as np
        >>> off_grid(np.array([0.3, 0.31, np.nan]), 0.1).tolist()
        [False, True, False]
    """
    steps = prices / tick_size
    return np.abs(steps - np.rint(steps)) > GRID_TOLERANCE
