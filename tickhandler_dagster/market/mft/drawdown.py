"""The deepest fall of the price inside a window.

What belongs here: the entries of `max_drawdown_<window>` and their arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tickhandler_dagster.market.features.units import FRACTION
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.shortest_window import refuse_short_window
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

SHORTEST_WINDOW = 30
"""Closes."""

Floats = NDArray[np.float64]


def drawdown_features(windows: Windows) -> tuple[MftFeature, ...]:
    """One entry per window of moments.

    Raises:
        InvalidInput: A window is shorter than 30 closes.
    """
    return tuple(_drawdown(window) for window in windows.moments)


def _drawdown(window: int) -> MftFeature:
    refuse_short_window("moments", window, SHORTEST_WINDOW)

    def of_series(price: pl.Series) -> pl.Series:
        return pl.Series(max_drawdown(price.to_numpy(), window), nan_to_null=True)

    return MftFeature(
        name=f"max_drawdown_{window}",
        formula=(
            f"Deepest fall among {window} closes: min over s of price_s/(highest price from the "
            "window's first close to s) - 1."
        ),
        look_back=window - 1,
        needs_trades=True,
        inputs=("price",),
        unit=FRACTION,
        bounds=Bounds(gt=-1.0, le=0.0),
        source="Magdon-Ismail, Atiya 2004, Risk 17(10)",
        expression=pl.col("price").map_batches(of_series, return_dtype=pl.Float64()),
    )


def max_drawdown(price: Floats, window: int) -> Floats:
    """Deepest fall inside each window, as a fraction of the high before it.

    Blocks of 1, 2, 4, … rows are joined until they make the window. That costs log₂ `window` passes
    where a sliding window costs `window`, and only compares quotients of two prices: the number is
    the same to the bit wherever the series starts.

    Shape: as `price`; an element belongs to the window that ends there.
    Nulls: NaN where the window holds a NaN or would begin before the series.

    Example:
        >>> max_drawdown(np.array([100.0, 125.0, 100.0, 150.0, 75.0]), 3).tolist()
        [nan, nan, -0.19999999999999996, -0.19999999999999996, -0.5]
    """
    block = _Block(1, price, price, price / price)
    whole = None
    while True:
        if window & block.rows:
            whole = block if whole is None else _joined(block, whole)
        if 2 * block.rows > window:
            break
        block = _joined(block, block)
    return np.full(price.shape, np.nan) if whole is None else whole.kept - 1.0


class _Block(NamedTuple):
    """The rows up to each row: how many, their extremes, and what the deepest fall has left."""

    rows: int
    low: Floats
    high: Floats
    kept: Floats


def _joined(older: _Block, newer: _Block) -> _Block:
    """The deepest fall is inside a part, or from the older one's high to the newer one's low."""
    low, high, kept = (_later(values, newer.rows) for values in older[1:])
    return _Block(
        older.rows + newer.rows,
        np.minimum(low, newer.low),
        np.maximum(high, newer.high),
        np.minimum(np.minimum(kept, newer.kept), newer.low / high),
    )


def _later(values: Floats, rows: int) -> Floats:
    moved = np.full(values.shape, np.nan)
    moved[rows:] = values[: max(len(values) - rows, 0)]
    return moved
