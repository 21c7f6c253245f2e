"""What is wrong or odd in the best prices of a file: crossed, far apart, jumping and coming back.

What belongs here: rules over the best bid and ask. What does not: books as features
(`market/bars`).

All three are found in one pass. The median spread is that of rows and comes from a histogram of
spreads in steps of one per cent, whose memory is fixed: fifty times the median is meant to a per
cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.audit_limits import (
    JUMP_BLOCK,
    JUMP_FACTOR,
    JUMP_RETURN,
    WIDE_SPREAD_FACTOR,
)
from tickhandler_dagster.market.quality.broken_rows import (
    BoolArray,
    BrokenRows,
    Int64Array,
    clock_text,
)
from tickhandler_dagster.market.quality.rules import RuleName

Float64Array = npt.NDArray[np.float64]

BEST_PRICES: Mapping[DataType, tuple[str, str]] = MappingProxyType(
    {
        DataType.QUOTES: ("bid_price", "ask_price"),
        DataType.BOOK_TICKER: ("bid_price", "ask_price"),
        DataType.BOOK_SNAPSHOT_5: ("bid_price_1", "ask_price_1"),
        DataType.BOOK_SNAPSHOT_25: ("bid_price_1", "ask_price_1"),
    }
)

_STEPS = 64  # bins per doubling: each is 1.1 % wide
_LOWEST = -64  # spreads from 2^-64 to 2^64 in the venue's price unit
_BINS = 128 * _STEPS
_NEVER = np.iinfo(np.int64).max


class BookAudit:
    """Follows the best prices of a file.

    Args:
        columns: Names of the best bid and ask.
    """

    def __init__(self, columns: tuple[str, str]) -> None:
        self._bid, self._ask = columns
        self._crossed = BrokenRows()
        self._spreads = _Spreads()
        self._jumps = _Jumps()

    def add(self, frame: pl.DataFrame, exchange: Int64Array) -> None:
        """Add the rows of a piece of the file."""
        bid, ask = frame[self._bid].to_numpy(), frame[self._ask].to_numpy()
        spread = ask - bid
        self._crossed.add(spread <= 0, exchange, {"bid": bid, "ask": ask})
        is_normal = spread > 0
        stamps = exchange[is_normal]
        self._spreads.add(spread[is_normal], stamps)
        self._jumps.add((bid[is_normal] + ask[is_normal]) / 2, stamps)

    def finish(self) -> Iterator[tuple[RuleName, BrokenRows]]:
        """The rows that break each rule."""
        yield RuleName.CROSSED_BOOK, self._crossed
        yield RuleName.WIDE_SPREAD, self._spreads.finish()
        yield RuleName.REVERTING_JUMP, self._jumps.finish()


class _Spreads:
    """A histogram of spreads with the first and last time of every bin."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self._first = np.full(_BINS, _NEVER, dtype=np.int64)
        self._last = np.zeros(_BINS, dtype=np.int64)

    def add(self, spread: Float64Array, exchange: Int64Array) -> None:
        bins = np.clip(((np.log2(spread) - _LOWEST) * _STEPS).astype(np.int64), 0, _BINS - 1)
        self._counts += np.bincount(bins, minlength=_BINS)
        first = np.full(_BINS, _NEVER, dtype=np.int64)
        first[bins[::-1]] = exchange[::-1]  # of equal places the last one assigned stays
        self._first = np.where(self._first == _NEVER, first, self._first)
        self._last[bins] = exchange

    def finish(self) -> BrokenRows:
        total = int(self._counts.sum())
        if not total:
            return BrokenRows()
        median = int(np.searchsorted(np.cumsum(self._counts), (total + 1) // 2))
        # strictly beyond: the bin that fifty times the median falls into is given the benefit
        limit = median + int(np.ceil(np.log2(WIDE_SPREAD_FACTOR) * _STEPS))
        wide = np.flatnonzero(self._counts[limit + 1 :]) + limit + 1
        if not len(wide):
            return BrokenRows()
        return BrokenRows(
            rows=int(self._counts[wide].sum()),
            first_us=int(self._first[wide].min()),
            last_us=int(self._last[wide].max()),
            sample=[f"up to {_width(int(wide[-1])):.6g}, median {_width(median):.6g}"],
        )


def _width(place: int) -> float:
    """The middle of a bin, in the venue's price unit."""
    return float(2 ** ((place + 0.5) / _STEPS + _LOWEST))


class _Jumps:
    """Changes of the mid in blocks; each block is held against the median size of the one before.

    The blocks are counted from the file's first change, so that it does not matter in which pieces
    the file comes. The first block is its own measure.
    """

    def __init__(self) -> None:
        self._mid = np.empty(0, dtype=np.float64)
        self._changes = np.empty(0, dtype=np.float64)
        self._stamps: Int64Array = np.empty(0, dtype=np.int64)
        self._scale: float | None = None
        self._broken = BrokenRows()

    def add(self, mid: Float64Array, exchange: Int64Array) -> None:
        if not len(mid):
            return
        joined = np.concatenate((self._mid if len(self._mid) else mid[:1], mid))
        self._mid = mid[-1:]
        changes = np.diff(joined)
        is_change = changes != 0
        self._changes = np.concatenate((self._changes, changes[is_change]))
        self._stamps = np.concatenate((self._stamps, exchange[is_change]))
        done = 0
        # one change more than the block: a jump at its end comes back in the next one
        while len(self._changes) - done > JUMP_BLOCK:
            self._judge(slice(done, done + JUMP_BLOCK + 1))
            done += JUMP_BLOCK
        self._changes, self._stamps = self._changes[done:], self._stamps[done:]

    def finish(self) -> BrokenRows:
        if len(self._changes) > 1:
            self._judge(slice(0, len(self._changes)))
        return self._broken

    def _judge(self, part: slice) -> None:
        changes, stamps = self._changes[part], self._stamps[part]
        own = float(np.median(np.abs(changes[:JUMP_BLOCK])))
        scale = own if self._scale is None else self._scale
        jump, back = changes[:-1], changes[1:]
        is_jump: BoolArray = np.abs(jump) > JUMP_FACTOR * scale
        is_jump &= -back * np.sign(jump) >= JUMP_RETURN * np.abs(jump)
        self._broken.add(is_jump, stamps[:-1], {"by": jump, "then": back})
        self._scale = own


class SnapshotAudit:
    """Follows the snapshots of an incremental book: which came after the first."""

    def __init__(self) -> None:
        self._is_inside = False
        self._has_begun = False
        self._last_us: int | None = None
        self.blocks: list[tuple[int, int]] = []
        """Exchange times of the row before a later snapshot and of its first row."""

    def add(self, frame: pl.DataFrame, exchange: Int64Array) -> None:
        """Add the rows of a piece of the file."""
        is_snapshot = frame["is_snapshot"].to_numpy()
        before = np.concatenate(([self._is_inside], is_snapshot[:-1]))
        for place in np.flatnonzero(is_snapshot & ~before):
            last = self._last_us if place == 0 else int(exchange[place - 1])
            if self._has_begun and last is not None:
                self.blocks.append((last, int(exchange[place])))
            self._has_begun = True
        self._is_inside = bool(is_snapshot[-1])
        self._last_us = int(exchange[-1])

    def broken(self) -> BrokenRows:
        """The later snapshots, each counted as one row."""
        if not self.blocks:
            return BrokenRows()
        shown = [f"{clock_text(start)} to {clock_text(end)}" for start, end in self.blocks[:3]]
        return BrokenRows(len(self.blocks), self.blocks[0][1], self.blocks[-1][1], shown)
