"""The last state of a book between two windows, as a value that JSON can hold.

What belongs here: the value, and its way from and to arrays. What does not: what a state means
(`quotes.py`, `levels.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickhandler_dagster.market.bars.levels import LevelTicks
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.ticks import Float64Array

Side = tuple[float | None, ...]
"""One number per level, best first; None where the level or the contract's unit is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookCarry:
    """A state of the best quotes (one level) or of a book.

    Attributes:
        timestamp_us: Exchange time, microseconds since the epoch.
        arrival_us: Arrival, microseconds since the epoch.
        bids: Bid prices.
        asks: Ask prices.
        bid_sizes: Base asset per bid level.
        ask_sizes: Base asset per ask level.
        is_start: The state opens a file of the vendor.
    """

    timestamp_us: int
    arrival_us: int
    bids: Side
    asks: Side
    bid_sizes: Side
    ask_sizes: Side
    is_start: bool

    @classmethod
    def of_levels(cls, state: LevelTicks) -> BookCarry:
        """The last of the states, which are in order of time; at least one."""
        return cls(
            timestamp_us=int(state.timestamp[-1]),
            arrival_us=int(state.local_timestamp[-1]),
            bids=_side(state.bids[-1]),
            asks=_side(state.asks[-1]),
            bid_sizes=_side(state.bid_sizes[-1]),
            ask_sizes=_side(state.ask_sizes[-1]),
            is_start=bool(state.is_start[-1]),
        )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> BookCarry:
        """The state from what JSON made of it.

        Example:
            >>> sides = {"bids": [1.0], "asks": [2.0], "bid_sizes": [3.0], "ask_sizes": [None]}
            >>> times = {"timestamp_us": 5, "arrival_us": 6, "is_start": False}
            >>> BookCarry.from_json(times | sides).ask_sizes
            (None,)
        """
        return cls(
            timestamp_us=found["timestamp_us"],
            arrival_us=found["arrival_us"],
            bids=tuple(found["bids"]),
            asks=tuple(found["asks"]),
            bid_sizes=tuple(found["bid_sizes"]),
            ask_sizes=tuple(found["ask_sizes"]),
            is_start=found["is_start"],
        )

    @property
    def levels(self) -> LevelTicks:
        """The state as a book of one moment."""
        return LevelTicks(
            np.array([self.timestamp_us], dtype=np.int64),
            np.array([self.arrival_us], dtype=np.int64),
            _row(self.bids),
            _row(self.asks),
            _row(self.bid_sizes),
            _row(self.ask_sizes),
            np.array([self.is_start], dtype=np.bool_),
        )

    @property
    def top(self) -> TopTicks:
        """The best level of it."""
        return self.levels.top


def _side(values: Float64Array) -> Side:
    return tuple(None if value != value else value for value in values.tolist())  # noqa: PLR0124  (NaN)


def _row(side: Side) -> Float64Array:
    return np.array([[np.nan if value is None else value for value in side]])
