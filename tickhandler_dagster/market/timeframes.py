"""The seven timeframes: each divides a UTC day, counted from the Unix epoch.

What does not belong here: bars (`bars/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.errors import InvalidInput


class Timeframe(StrEnum):
    """Length of a bar; the value is the name in keys, paths and tables."""

    S15 = "15s"
    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    H24 = "24h"

    @property
    def us(self) -> int:
        """Length in microseconds."""
        return _SECONDS[self] * US_PER_SECOND

    @property
    def bars_per_day(self) -> int:
        """Number of bars in a UTC day."""
        return US_PER_DAY // self.us


_SECONDS: Mapping[Timeframe, int] = MappingProxyType(
    {
        Timeframe.S15: 15,
        Timeframe.M1: 60,
        Timeframe.M5: 300,
        Timeframe.M15: 900,
        Timeframe.H1: 3_600,
        Timeframe.H4: 14_400,
        Timeframe.H24: 86_400,
    }
)

BASE_TIMEFRAME = Timeframe.S15


def parse_timeframe(text: str) -> Timeframe:
    """The timeframe of that name.

    Raises:
        InvalidInput: no such timeframe; the message lists them all.

    Example:
        >>> parse_timeframe("1h").bars_per_day
        24
    """
    if text not in set(Timeframe):
        raise InvalidInput(
            f"'{text}'",
            "not a timeframe",
            expected=f"one of {', '.join(Timeframe)}",
            remedy="Use a name from the list",
        )
    return Timeframe(text)
