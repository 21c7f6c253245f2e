"""What is remembered of the trades of the days before: how many, how much, how large.

What belongs here: the memory as a value and what is read from it. What does not: what is computed
of a day with it (`large_trades.py`) and where it is kept (`pipeline`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.days import US_PER_DAY

MEMORY_DAYS = 7
"""How many days before a day its memory reaches."""

LARGE_PROBABILITY = 0.99
"""Trades above this quantile of notional are large."""

_MANTISSA_BITS = 52
_KEPT_BITS = 7
_SHIFT = _MANTISSA_BITS - _KEPT_BITS

Buckets = tuple[tuple[int, int], ...]
"""(bucket, number of trades), by bucket."""


@dataclass(frozen=True, slots=True)
class TradeDay:
    """What is remembered of one day.

    Attributes:
        start_us: First moment of the day, microseconds since the epoch.
        trades: Number of trades.
        volume: Base asset traded; None where the contract's units are unknown.
        notional: Quote asset traded; None likewise.
        buckets: Histogram of the notional of single trades (`bucket_counts`).
        last_arrival_us: Latest arrival of its trades; None where there were none.
    """

    start_us: int
    trades: int
    volume: float | None
    notional: float | None
    buckets: Buckets
    last_arrival_us: int | None


@dataclass(frozen=True, slots=True)
class TradeMemory:
    """The days before a day, of which trades are known, oldest first; at most `MEMORY_DAYS`.

    Attributes:
        days: What is remembered of each; a day without trades has its place, a day that was not
            ingested has none.
    """

    days: tuple[TradeDay, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The memory that `dataclasses.asdict` and JSON made a mapping of."""
        return cls(
            tuple(
                TradeDay(
                    **(day | {"buckets": tuple((key, count) for key, count in day["buckets"])})
                )
                for day in data["days"]
            )
        )

    def before(self, start_us: int) -> Self:
        """The part that lies in the `MEMORY_DAYS` days before this moment."""
        first = start_us - MEMORY_DAYS * US_PER_DAY
        return replace(
            self, days=tuple(day for day in self.days if first <= day.start_us < start_us)
        )

    def with_day(self, day: TradeDay) -> Self:
        """The memory of the day after `day`."""
        earlier = self.before(day.start_us).days
        return replace(self, days=(*earlier, day)).before(day.start_us + US_PER_DAY)

    def mean_daily_volume(self) -> float | None:
        """Mean base asset traded on a day; None where no day's volume is known."""
        volumes = [day.volume for day in self.days if day.volume is not None]
        return math.fsum(volumes) / len(volumes) if volumes else None

    def notional_total(self) -> float | None:
        """Quote asset traded on all days; None where no day's is known."""
        notionals = [day.notional for day in self.days if day.notional is not None]
        return math.fsum(notionals) if notionals else None

    def large_trade_threshold(self) -> float | None:
        """The lower edge of the bucket that holds the 99 % quantile of trade notional.

        The edge and not the middle: most venues' notionals repeat, and a threshold above the
        quantile would leave out the very trades that are the quantile. It is at most 0.8 % below
        the trade of rank `(n - 1)·0.99`.

        Nulls: None where no trade is remembered.
        """
        counts: Counter[int] = Counter()
        for day in self.days:
            counts.update(dict(day.buckets))
        rank = math.floor((counts.total() - 1) * LARGE_PROBABILITY)
        for bucket, count in sorted(counts.items()):
            rank -= count
            if rank < 0:
                return lower_edge(bucket)
        return None

    def last_arrival(self) -> int | None:
        """Latest arrival of a remembered trade; None where none is remembered."""
        arrivals = [day.last_arrival_us for day in self.days if day.last_arrival_us is not None]
        return max(arrivals, default=None)


def bucket_counts(values: Float64Array) -> dict[int, int]:
    """How many of the values, none of them negative, lie in each bucket that has any.

    A bucket is a float's exponent and the first seven bits of its fraction: 128 equal steps from a
    power of two to the next, each less than 0.8 % wide. Taken from the bits it is the same on every
    machine, which a logarithm is not.

    Example:
        >>> [(lower_edge(key), n) for key, n in bucket_counts(np.array([8.0, 8.03, 9.0])).items()]
        [(8.0, 2), (9.0, 1)]
    """
    if not len(values):
        return {}
    keys = np.ascontiguousarray(values, dtype=np.float64).view(np.int64) >> _SHIFT
    least = int(keys.min())
    counts = np.bincount(keys - least)
    found = np.flatnonzero(counts)
    return dict(zip((found + least).tolist(), counts[found].tolist(), strict=True))


def lower_edge(bucket: int) -> float:
    """The smallest value in the bucket."""
    return float(np.array(bucket << _SHIFT, dtype=np.int64).view(np.float64))
