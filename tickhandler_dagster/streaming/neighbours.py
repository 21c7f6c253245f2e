"""What windows of the same span take from each other.

What belongs here: the reference instrument's seconds and the near future's marks on their way to
other windows, and whether a window would be the same on others. What does not: which instruments
these are (`instruments.py`) and building (`windows.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tickhandler_dagster.market.bars.second_grid import SecondDay
from tickhandler_dagster.market.bars.ticker import NearContract


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """What a window takes from windows of the same span of other instruments.

    Attributes:
        reference: The reference instrument's grid of seconds; None for itself, or without one.
        near: Marks of the future that expires first; None where it is not held against one.
    """

    reference: SecondDay | None
    near: NearContract | None

    def is_same(self, other: Stand) -> bool:
        """The window would be the same on the other stand."""
        return _is_same(self.reference, other.reference, ("returns", "mid_arrivals")) and _is_same(
            self.near, other.near, ("expiry_us", "mark_prices", "last_arrival")
        )


@dataclass(slots=True)
class Neighbours:
    """What windows of the same span of other instruments gave, as far as some stand on it.

    Attributes:
        reference: The reference instrument's key and its grid of seconds.
        near: Marks by the key of the contract.
    """

    reference: tuple[str, SecondDay] | None = None
    near: dict[str, NearContract] = field(default_factory=dict)

    def stand_of(self, key: str, near_key: str | None) -> Stand:
        """What the window of an instrument takes; the reference takes nothing of itself."""
        known = self.reference
        return Stand(
            None if known is None or known[0] == key else known[1],
            None if near_key is None else self.near.get(near_key),
        )


def as_reference(seconds: SecondDay) -> SecondDay:
    """The grid of the reference as others are given it: what `Stand` does not compare is empty."""
    return dataclasses.replace(
        seconds,
        mids=np.empty(0),
        trade_returns=np.empty(0),
        signed_notional=np.empty(0),
        notional=np.empty(0),
        trade_arrivals=np.empty(0, dtype=np.int64),
        return_before=np.nan,
    )


def _is_same(one: object, other: object, names: Sequence[str]) -> bool:
    if one is other or one is None or other is None:
        return one is other
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in names
    )
