"""What the engine remembers of a larger bar: revisions, late rows, the states it starts from.

What belongs here: the value and its form as JSON. What does not: when bars are due
(`larger_rounds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.timeframes import Timeframe

Place: TypeAlias = tuple[Timeframe, int]
"""A larger bar of all instruments: its timeframe and first moment."""


@dataclass(slots=True)
class LargerRecord:
    """A larger bar of all instruments of a venue.

    Attributes:
        revisions: The newest revision published, by key.
        late: Rows that came after their 15 s bar was published, by key.
        carries: The state at the bar's start, by key; absent where a day or the feed begins.
        wanted: Instruments that have to be built from ticks.
        awaited: Instruments that were asked for.
        is_asked: The bar was asked for once.
    """

    revisions: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    carries: dict[str, Carry] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    is_asked: bool = False
    _texts: dict[str, tuple[Carry, str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON holds it; what is awaited is wanted again after a restart."""
        return {
            "revisions": self.revisions,
            "late": self.late,
            "carries": {key: self._text(key, carry) for key, carry in self.carries.items()},
            "wanted": sorted(self.wanted | self.awaited),
            "is_asked": self.is_asked,
        }

    def start_from(self, key: str, carry: Carry) -> None:
        """Take an instrument's state at the bar's start; another one changes what was asked for."""
        before = self.carries.get(key)
        self.carries[key] = carry
        if self.is_asked and before is not None and before.to_json() != carry.to_json():
            self.wanted.add(key)

    def _text(self, key: str, carry: Carry) -> str:
        """The state as text, which is made once."""
        known = self._texts.get(key)
        if known is None or known[0] is not carry:
            known = self._texts[key] = (carry, carry.to_json())
        return known[1]

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> LargerRecord:
        """The record that JSON holds."""
        return cls(
            revisions=dict(found["revisions"]),
            late=dict(found["late"]),
            carries={key: Carry.from_json(text) for key, text in found["carries"].items()},
            wanted=set(found["wanted"]),
            is_asked=found["is_asked"],
        )
