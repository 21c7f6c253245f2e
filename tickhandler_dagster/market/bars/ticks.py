"""Trades as arrays: the form in which the bar kernel takes them.

What belongs here: the arrays and their construction from stored columns. What does not: their order
(`order.py`) and their units (`units.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Int64Array: TypeAlias = npt.NDArray[np.int64]
Float64Array: TypeAlias = npt.NDArray[np.float64]
Int8Array: TypeAlias = npt.NDArray[np.int8]

TICK_COLUMNS = ("timestamp", "local_timestamp", "id", "side", "price", "amount")

_NO_ID = -1
_BUY, _SELL = "buy", "sell"


@dataclass(frozen=True, slots=True, eq=False)
class TradeTicks:
    """Trades of one instrument, one array element each; the position is the order of arrival.

    Attributes:
        timestamp: Exchange time, microseconds since the epoch.
        local_timestamp: Arrival at the recorder, microseconds since the epoch.
        trade_id: The venue's dense trade number, -1 where a row has none; None where the venue has
            no such numbers.
        side: +1 where the taker bought, -1 where the taker sold, 0 where the venue does not say.
        price: Price of the fill.
        amount: Size of the fill in the venue's unit.
    """

    timestamp: Int64Array
    local_timestamp: Int64Array
    trade_id: Int64Array | None
    side: Int8Array
    price: Float64Array
    amount: Float64Array

    def __len__(self) -> int:
        return len(self.timestamp)

    def take(self, index: npt.NDArray[np.intp] | slice) -> TradeTicks:
        """The trades at these positions, in that order."""
        return TradeTicks(
            self.timestamp[index],
            self.local_timestamp[index],
            None if self.trade_id is None else self.trade_id[index],
            self.side[index],
            self.price[index],
            self.amount[index],
        )


def trade_ticks(frame: pl.DataFrame, *, has_dense_ids: bool) -> TradeTicks:
    """The rows of a stored trades table (`TICK_COLUMNS`) as arrays.

    Whether an id counts is decided row by row, never for the file as a whole: a decision over many
    rows would depend on how the day is cut into slices, and so would the order inside a bar.

    Args:
        frame: Rows in order of arrival; `id` may be absent where `has_dense_ids` is false.
        has_dense_ids: The venue numbers its trades one by one (`Venue.has_dense_trade_ids`).
    """
    columns = frame.select(
        pl.col("timestamp", "local_timestamp").to_physical(),
        side=(pl.col("side") == _BUY).cast(pl.Int8) - (pl.col("side") == _SELL).cast(pl.Int8),
        price="price",
        amount="amount",
    )
    ids = frame["id"].cast(pl.Int64, strict=False).fill_null(_NO_ID) if has_dense_ids else None
    return TradeTicks(
        columns["timestamp"].to_numpy(),
        columns["local_timestamp"].to_numpy(),
        None if ids is None else ids.to_numpy(),
        columns["side"].to_numpy(),
        columns["price"].to_numpy(),
        columns["amount"].to_numpy(),
    )


def concatenated(parts: Sequence[TradeTicks]) -> TradeTicks:
    """The parts one after the other; all of them with ids or all without."""
    if len(parts) == 1:
        return parts[0]  # nearly every slice comes from one file: copying it cost 4 % of the bars
    ids = [part.trade_id for part in parts if part.trade_id is not None]
    return TradeTicks(
        np.concatenate([part.timestamp for part in parts]),
        np.concatenate([part.local_timestamp for part in parts]),
        np.concatenate(ids) if ids else None,
        np.concatenate([part.side for part in parts]),
        np.concatenate([part.price for part in parts]),
        np.concatenate([part.amount for part in parts]),
    )
