"""Imbalance of the order flow over buckets of equal volume, and its memory over the days.

What belongs here: the buckets. What does not: how large a bucket is: that follows from the volumes
of the days before, which whoever keeps the days knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tickhandler_dagster.market.bars.blocks import whole_bar_blocks
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int8Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

BUCKETS = 50
"""Buckets of a mean day, and complete buckets that the mean goes over."""

_UNITS = 2**36
"""Units of a bucket. Volumes are counted in whole units, because whole numbers add up to the same
sum in any grouping and so under any slicing; a trade is off by at most 2⁻³⁷ of a bucket."""


@dataclass(frozen=True, slots=True)
class VpinMemory:
    """What a day leaves behind: everything in units of a bucket, `2⁻³⁶` of its volume.

    Because the units are fractions, a new bucket volume leaves them as they are: a complete bucket
    keeps its imbalance, and one that was half full of the old volume is half full of the new.

    Attributes:
        filled: Volume in the bucket that is not complete.
        signed: Bought minus sold volume in it.
        imbalances: `abs(bought - sold)` of the last complete buckets, at most 50, oldest first.
        last_arrival_us: Latest arrival of the trades in all of them.
    """

    filled: int = 0
    signed: int = 0
    imbalances: tuple[int, ...] = ()
    last_arrival_us: int = NO_ARRIVAL

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The memory that was stored with these fields."""
        return cls(**{**values, "imbalances": tuple(values["imbalances"])})


class FlowToxicity:
    """The mean imbalance of the last 50 complete buckets at the end of each bar.

    A trade that reaches over a bucket's end is split there. Volume whose taker side is unknown
    fills buckets and is on neither side, so that it lowers the imbalance.

    Args:
        grid: The bars.
        bucket_volume: Base asset per bucket, a fiftieth of the mean daily volume of the days
            before; None where it is unknown, and then the day's values are null and the memory
            passes through untouched.
        memory: What the day before, or the window before, left behind.
    """

    def __init__(
        self, grid: DayGrid, bucket_volume: float | None, memory: VpinMemory | None = None
    ) -> None:
        self._grid = grid
        self._volume = bucket_volume if bucket_volume and bucket_volume > 0 else None
        self._memory = memory or VpinMemory()
        self._filled, self._signed = self._memory.filled, self._memory.signed
        self._recent = np.array(self._memory.imbalances, dtype=np.int64)
        self._states = np.full(grid.bars, np.nan)
        self._is_traded = np.zeros(grid.bars, dtype=np.bool_)
        self._arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)

    def add(self, ticks: TradeTicks, sizes: Sizes | None) -> None:
        """Take the trades of a slice.

        Args:
            ticks: Trades in total order.
            sizes: Their true sizes; None where the contract's units are unknown.
        """
        if self._volume is None or sizes is None:
            return
        for block in whole_bar_blocks(ticks.timestamp, self._grid.timeframe.us):
            self._add_block(ticks.take(block), _in_units(sizes.base[block] / self._volume))

    def finish(self) -> FamilyDay:
        """The state at the end of each bar.

        Shape: one element per bar.
        Nulls: before 50 buckets are complete.
        """
        if self._volume is None:
            unknown = np.full(self._grid.bars, np.nan)
            return FamilyDay({_NAME: unknown}, self._arrival)
        earlier = np.array(self._memory.imbalances, dtype=np.int64)
        before = _means(earlier, np.array([len(earlier)]))
        states = np.concatenate((before, self._states))
        places = np.arange(1, len(states)) * self._is_traded
        held = np.maximum.accumulate(places)
        return FamilyDay({_NAME: states[held]}, self._arrivals())

    def memory(self) -> VpinMemory:
        """What the day or window leaves behind."""
        return VpinMemory(
            self._filled,
            self._signed,
            tuple(self._recent.tolist()),
            int(self._arrivals()[-1]),
        )

    def _arrivals(self) -> Int64Array:
        """Latest arrival up to each bar's end: the state stands on all trades before it."""
        return np.maximum(np.maximum.accumulate(self._arrival), self._memory.last_arrival_us)

    def _add_block(self, ticks: TradeTicks, volumes: Int64Array) -> None:
        starts, opens = bar_starts(ticks.timestamp, self._grid.timeframe.us)
        bars = (opens - self._grid.start_us) // self._grid.timeframe.us
        flow = _Flow(volumes, ticks.side, self._filled, self._signed)
        complete = flow.level[np.append(starts[1:], len(ticks)) - 1] // _UNITS
        kept = np.minimum(np.diff(complete, prepend=0), BUCKETS)
        stream = np.concatenate((self._recent, flow.imbalances(_last_buckets(complete, kept))))
        self._states[bars] = _means(stream, np.cumsum(kept) + (len(stream) - kept.sum()))
        self._is_traded[bars] = True
        self._arrival[bars] = np.maximum.reduceat(ticks.local_timestamp, starts)
        self._recent = stream[-BUCKETS:]
        self._filled, self._signed = flow.rest(int(complete[-1]))


class _Flow:
    """Running volume and signed volume, both counted from the start of the bucket in progress."""

    def __init__(self, volumes: Int64Array, side: Int8Array, filled: int, signed: int) -> None:
        self._side = side
        self.level = filled + np.cumsum(volumes)
        self._signed = signed + np.cumsum(side * volumes)

    def imbalances(self, buckets: Int64Array) -> Int64Array:
        """Of each complete bucket, counted from 1, how far bought and sold volume are apart."""
        return np.asarray(np.abs(self._signed_at(buckets) - self._signed_at(buckets - 1)))

    def rest(self, complete: int) -> tuple[int, int]:
        """Volume and signed volume after so many complete buckets."""
        signed = int(self._signed_at(np.array([complete]))[0])
        return int(self.level[-1]) - complete * _UNITS, int(self._signed[-1]) - signed

    def _signed_at(self, buckets: Int64Array) -> Int64Array:
        """Signed volume up to the end of each bucket; the trade that reaches over it is split."""
        ends = buckets * _UNITS
        trade = np.searchsorted(self.level, ends)
        beyond = self.level[trade] - ends
        return np.where(buckets > 0, self._signed[trade] - self._side[trade] * beyond, 0)


def _in_units(buckets: Float64Array) -> Int64Array:
    """Volumes in buckets as whole units.

    Of a trade larger than all buckets that matter only the last ones are kept, which keeps the sums
    in range when a market that was nearly dead for a week wakes up.
    """
    if bool((buckets > BUCKETS + 2).any()):
        buckets = np.where(buckets > BUCKETS + 2, BUCKETS + 1 + buckets % 1, buckets)
    return np.rint(buckets * _UNITS).astype(np.int64)


def _last_buckets(complete: Int64Array, kept: Int64Array) -> Int64Array:
    """The numbers of the last `kept` buckets of each bar that ends with `complete` of them.

    Example:
        >>> _last_buckets(np.array([1, 5]), np.array([1, 2])).tolist()
        [1, 4, 5]
    """
    places = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
    return np.repeat(complete - kept, kept) + places + 1


def _means(stream: Int64Array, ends: Int64Array) -> Float64Array:
    """Mean of the last 50 imbalances up to each position, as a share of a bucket."""
    sums = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(stream)))
    total = sums[ends] - sums[np.maximum(ends - BUCKETS, 0)]
    return np.where(ends >= BUCKETS, total / (BUCKETS * _UNITS), np.nan)


_NAME = "flow_toxicity_vpin_n50"
