"""Trade numbers that count up by one: which of them a file has, and where some are missing.

What belongs here: runs of numbers and the holes between them. What does not: whether a venue's
numbers count trades (`market/venues.py`).

Numbers come almost in order. Kept are the runs without a hole, so memory grows with the holes and
not with the trades, and a number that comes late closes its hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tickhandler_dagster.market.quality.audit_limits import MAX_LOST_PER_TRADE
from tickhandler_dagster.market.quality.broken_rows import Int64Array

_MAX_RUNS = 1_000_000
"""More runs than this are no numbers that count up by one; 32 MB."""


@dataclass(frozen=True, slots=True)
class NumberHole:
    """Missing numbers between two trades.

    Attributes:
        after: Number of the trade before the hole.
        before: Number of the trade after it.
        start_us: Exchange time of the trade before.
        end_us: Exchange time of the trade after.
    """

    after: int
    before: int
    start_us: int
    end_us: int

    @property
    def lost(self) -> int:
        """How many numbers are missing."""
        return self.before - self.after - 1


@dataclass(frozen=True, slots=True)
class TradeNumbers:
    """The numbers of a file.

    Attributes:
        first: The lowest.
        last: The highest.
        holes: Where some are missing, in order.
    """

    first: int
    last: int
    holes: tuple[NumberHole, ...]

    @property
    def lost(self) -> int:
        """How many are missing between the lowest and the highest."""
        return sum(hole.lost for hole in self.holes)


class NumberAudit:
    """Follows the trade numbers of a file."""

    def __init__(self) -> None:
        self._runs: Int64Array = np.empty((0, 4), dtype=np.int64)
        self._rows = 0
        self._is_numbered = True

    def add(self, ids: pl.Series, exchange: Int64Array) -> None:
        """Add the trades of a piece of the file."""
        if not self._is_numbered:
            return
        numbers = ids.cast(pl.Int64, strict=False)
        if numbers.null_count():
            self._is_numbered = False
            return
        values = numbers.to_numpy()
        self._rows += len(values)
        self._runs = _joined(np.concatenate((self._runs, _runs(values, exchange))))
        self._is_numbered = len(self._runs) <= _MAX_RUNS

    def finish(self) -> TradeNumbers | None:
        """The file's numbers; None where it has none, or they do not count trades."""
        if not self._is_numbered or not len(self._runs):
            return None
        before, after = self._runs[:-1], self._runs[1:]
        holes = tuple(
            NumberHole(*map(int, numbers))
            for numbers in zip(before[:, 1], after[:, 0], before[:, 3], after[:, 2], strict=True)
        )
        found = TradeNumbers(int(self._runs[0, 0]), int(self._runs[-1, 1]), holes)
        return found if found.lost <= MAX_LOST_PER_TRADE * self._rows else None


def _runs(values: Int64Array, exchange: Int64Array) -> Int64Array:
    """Runs of a piece: lowest, highest, and the exchange times of both; rows are runs."""
    is_sorted = bool((np.diff(values) > 0).all())
    order = slice(None) if is_sorted else np.lexsort((exchange, values))
    values, exchange = values[order], exchange[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values) > 1)))
    ends = np.append(starts[1:], len(values)) - 1
    return np.column_stack((values[starts], values[ends], exchange[starts], exchange[ends]))


def _joined(runs: Int64Array) -> Int64Array:
    """The same numbers as disjoint runs in order."""
    runs = runs[np.lexsort((runs[:, 2], runs[:, 0]))]
    reach = np.maximum.accumulate(runs[:, 1])
    starts = np.flatnonzero(np.concatenate(([True], runs[1:, 0] > reach[:-1] + 1)))
    ends = np.append(starts[1:], len(runs))
    last = [
        start + int(np.argmax(runs[start:end, 1]))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return np.column_stack((runs[starts, 0], runs[last, 1], runs[starts, 2], runs[last, 3]))
