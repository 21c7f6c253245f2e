"""How often each of many things was counted, as a value that adds up in any grouping.

What belongs here: the counts and their sum. What does not: what is counted (`trade_tally.py`,
`micro_price_fit.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Whole numbers by whole number; what is not there counts zero.

    Attributes:
        keys: What was counted, rising.
        numbers: How often, or any other whole number that adds up; none of them zero.
    """

    keys: Int64Array
    numbers: Int64Array

    @classmethod
    def none(cls) -> Counts:
        """Nothing was counted."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing)

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Counts:
        """The counts that a mapping holds."""
        keys = np.array(sorted(counts), dtype=np.int64)
        return cls(keys, np.array([counts[key] for key in keys.tolist()], dtype=np.int64))

    @classmethod
    def of_dense(cls, numbers: Int64Array) -> Counts:
        """The numbers by their places."""
        keys = np.flatnonzero(numbers)
        return cls(keys, numbers[keys])

    @classmethod
    def total(cls, parts: Sequence[Counts]) -> Counts:
        """The sum.

        Example:
            >>> two = Counts.total([Counts.of({3: 1, 5: 2}), Counts.of({5: 7, 9: 1})])
            >>> two.items()
            ((3, 1), (5, 9), (9, 1))
        """
        counted = [part for part in parts if len(part.keys)]
        if len(counted) <= 1:
            return counted[0] if counted else cls.none()
        keys = np.concatenate([part.keys for part in counted])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
        sums = np.add.reduceat(np.concatenate([part.numbers for part in counted])[order], starts)
        is_left = sums != 0
        return cls(keys[starts][is_left], sums[is_left])

    def dense(self, size: int) -> Int64Array:
        """The numbers of the keys below `size`, zeros among them."""
        numbers = np.zeros(size, dtype=np.int64)
        numbers[self.keys] = self.numbers
        return numbers

    def items(self) -> tuple[tuple[int, int], ...]:
        """Pairs of key and number, rising."""
        return tuple(zip(self.keys.tolist(), self.numbers.tolist(), strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Counts):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.numbers, other.numbers)

    __hash__ = None  # type: ignore[assignment]  # arrays have none either
