"""Book snapshots as arrays: several levels of both sides.

What belongs here: the arrays of the `levels` channel and their best level. What does not: what is
computed from them (`book_*.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.quotes import (
    BoolArray,
    TopTicks,
    base_sizes,
    in_time_order,
    start_flags,
)
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms


@dataclass(frozen=True, slots=True, eq=False)
class LevelTicks:
    """States of a book, best level first, in order of arrival unless said otherwise.

    Shape: times (rows,); prices and sizes (rows, depth).

    Attributes:
        timestamp: Exchange time, microseconds since the epoch.
        local_timestamp: Arrival, microseconds since the epoch.
        bids: Bid prices; NaN where the book ends before.
        asks: Ask prices; NaN likewise.
        bid_sizes: Base asset per bid level; NaN where the level or the contract's unit is missing.
        ask_sizes: Base asset per ask level; NaN likewise.
        is_start: The state opens a file of the vendor: it is what the book was, not a change of it.
    """

    timestamp: Int64Array
    local_timestamp: Int64Array
    bids: Float64Array
    asks: Float64Array
    bid_sizes: Float64Array
    ask_sizes: Float64Array
    is_start: BoolArray

    def __len__(self) -> int:
        return len(self.timestamp)

    @property
    def depth(self) -> int:
        """Levels per side."""
        return int(self.bids.shape[1])

    @property
    def top(self) -> TopTicks:
        """The best level alone."""
        return TopTicks(
            self.timestamp,
            self.local_timestamp,
            self.bids[:, 0],
            self.asks[:, 0],
            self.bid_sizes[:, 0],
            self.ask_sizes[:, 0],
            self.is_start,
        )

    def take(self, index: npt.NDArray[np.intp] | BoolArray | slice) -> LevelTicks:
        """The states at these positions, in that order."""
        return LevelTicks(
            self.timestamp[index],
            self.local_timestamp[index],
            self.bids[index],
            self.asks[index],
            self.bid_sizes[index],
            self.ask_sizes[index],
            self.is_start[index],
        )


def level_columns(depth: int) -> tuple[str, ...]:
    """Stored columns of a snapshot of that depth."""
    sides = (
        f"{side}_{field}_{level}"
        for side in ("bid", "ask")
        for field in ("price", "volume")
        for level in range(1, depth + 1)
    )
    return ("timestamp", "local_timestamp", *sides)


def level_ticks(frame: pl.DataFrame, terms: ContractTerms, *, depth: int) -> LevelTicks:
    """Rows with `level_columns(depth)` (and optionally `is_start`) as arrays."""
    times = frame.select(pl.col("timestamp", "local_timestamp").to_physical())

    def side(name: str, field: str) -> Float64Array:
        columns = [f"{name}_{field}_{level}" for level in range(1, depth + 1)]
        return frame.select(columns).to_numpy()

    bids, asks = side("bid", "price"), side("ask", "price")
    return LevelTicks(
        times["timestamp"].to_numpy(),
        times["local_timestamp"].to_numpy(),
        bids,
        asks,
        base_sizes(side("bid", "volume"), bids, terms),
        base_sizes(side("ask", "volume"), asks, terms),
        start_flags(frame),
    )


def single_level(ticks: TopTicks) -> LevelTicks:
    """The best quotes as a book of one level."""
    return LevelTicks(
        ticks.timestamp,
        ticks.local_timestamp,
        ticks.bid.reshape(-1, 1),
        ticks.ask.reshape(-1, 1),
        ticks.bid_size.reshape(-1, 1),
        ticks.ask_size.reshape(-1, 1),
        ticks.is_start,
    )


def levels_in_order(ticks: LevelTicks) -> LevelTicks:
    """The states by exchange time, arrival and position."""
    order = in_time_order(ticks.timestamp, ticks.local_timestamp)
    return ticks if order is None else ticks.take(order)


def levels_concatenated(parts: Sequence[LevelTicks]) -> LevelTicks:
    """The parts one after the other, all of one depth; at least one."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(LevelTicks)]
    return LevelTicks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
