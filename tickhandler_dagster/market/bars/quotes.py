"""Best bid and ask as arrays, and what a state of them is worth.

What belongs here: the arrays of the `top` channel, their order and the kinds of states. What does
not: deeper levels (`levels.py`) and what is computed over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms

BoolArray = npt.NDArray[np.bool_]

TOP_COLUMNS = (
    "timestamp",
    "local_timestamp",
    "bid_price",
    "ask_price",
    "bid_amount",
    "ask_amount",
)

STATE_AGE_US = 60_000_000
"""After this long without a row a state is no longer taken to hold: an outage is not calm."""


@dataclass(frozen=True, slots=True, eq=False)
class TopTicks:
    """States of the best quotes of one instrument, in order of arrival unless said otherwise.

    Attributes:
        timestamp: Exchange time, microseconds since the epoch.
        local_timestamp: Arrival, microseconds since the epoch.
        bid: Best bid; NaN where that side is empty.
        ask: Best ask; NaN where that side is empty.
        bid_size: Base asset at the best bid; NaN where the side is empty or units are unknown.
        ask_size: Base asset at the best ask; NaN likewise.
        is_start: The state opens a file of the vendor: it is what the book was, not a change of it.
    """

    timestamp: Int64Array
    local_timestamp: Int64Array
    bid: Float64Array
    ask: Float64Array
    bid_size: Float64Array
    ask_size: Float64Array
    is_start: BoolArray

    def __len__(self) -> int:
        return len(self.timestamp)

    @property
    def is_normal(self) -> BoolArray:
        """Two-sided with bid below ask: only such a state has a mid."""
        return self.bid < self.ask  # false where either is NaN

    @property
    def mid(self) -> Float64Array:
        """The mean of bid and ask; NaN where the state is not normal."""
        return np.where(self.is_normal, (self.bid + self.ask) / 2, np.nan)

    def take(self, index: npt.NDArray[np.intp] | BoolArray | slice) -> TopTicks:
        """The states at these positions, in that order."""
        return TopTicks(
            self.timestamp[index],
            self.local_timestamp[index],
            self.bid[index],
            self.ask[index],
            self.bid_size[index],
            self.ask_size[index],
            self.is_start[index],
        )


def top_ticks(frame: pl.DataFrame, terms: ContractTerms) -> TopTicks:
    """Rows with `TOP_COLUMNS` (and optionally `is_start`) as arrays, sizes in base asset."""
    times = frame.select(pl.col("timestamp", "local_timestamp").to_physical())
    bid, ask = (frame[name].to_numpy() for name in ("bid_price", "ask_price"))
    return TopTicks(
        times["timestamp"].to_numpy(),
        times["local_timestamp"].to_numpy(),
        bid,
        ask,
        base_sizes(frame["bid_amount"].to_numpy(), bid, terms),
        base_sizes(frame["ask_amount"].to_numpy(), ask, terms),
        start_flags(frame),
    )


def base_sizes(amounts: Float64Array, prices: Float64Array, terms: ContractTerms) -> Float64Array:
    """Amounts of the venue in base asset; NaN where the contract's units are unknown."""
    if not terms.has_known_units or terms.contract_size is None:
        return np.full_like(amounts, np.nan)
    worth = amounts * terms.contract_size
    return worth / prices if terms.is_inverse else worth


def start_flags(frame: pl.DataFrame) -> BoolArray:
    """The column `is_start`, false for every row where there is none."""
    if "is_start" in frame.columns:
        return frame["is_start"].to_numpy()
    return np.zeros(frame.height, dtype=np.bool_)


def in_time_order(
    timestamp: Int64Array, local_timestamp: Int64Array
) -> npt.NDArray[np.intp] | None:
    """Positions in order of exchange time, arrival and position; None where they are in it."""
    earlier, later = timestamp[:-1], timestamp[1:]
    is_misplaced = local_timestamp[1:] < local_timestamp[:-1]
    is_misplaced &= later == earlier
    is_misplaced |= later < earlier
    return np.lexsort((local_timestamp, timestamp)) if is_misplaced.any() else None


def top_in_order(ticks: TopTicks) -> TopTicks:
    """The states by exchange time, arrival and position."""
    order = in_time_order(ticks.timestamp, ticks.local_timestamp)
    return ticks if order is None else ticks.take(order)


def top_concatenated(parts: Sequence[TopTicks]) -> TopTicks:
    """The parts one after the other; no states for no parts.

    Example:
        >>> len(top_concatenated([]))
        0
    """
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(TopTicks)]
    return TopTicks(
        *(
            np.concatenate([_NOTHING[name], *(getattr(part, name) for part in parts)])
            for name in names
        )
    )


_NOTHING = {
    "timestamp": np.empty(0, dtype=np.int64),
    "local_timestamp": np.empty(0, dtype=np.int64),
    "bid": np.empty(0),
    "ask": np.empty(0),
    "bid_size": np.empty(0),
    "ask_size": np.empty(0),
    "is_start": np.empty(0, dtype=np.bool_),
}
