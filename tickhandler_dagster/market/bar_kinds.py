"""The kinds of information-driven bars: what fills a bar in place of time.

What belongs here: names and the size aimed at. What does not: how thresholds are found
(`bars/thresholds.py`) and bars built (`bars/information.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.errors import InvalidInput


class BarKind(StrEnum):
    """What a bar is a fixed amount of; the value is the name in keys, paths and tables."""

    TICK = "tick"
    VOLUME = "volume"
    DOLLAR = "dollar"

    @property
    def measure(self) -> str:
        """The column of a candle whose daily total sets the threshold."""
        return _MEASURES[self]

    @property
    def has_size(self) -> bool:
        """Filled by sizes: there is no such bar while the contract's units are unknown."""
        return self is not BarKind.TICK


_MEASURES: Mapping[BarKind, str] = MappingProxyType(
    {
        BarKind.TICK: "trade_count",
        BarKind.VOLUME: "volume",
        BarKind.DOLLAR: "notional",
    }
)

BARS_PER_DAY = 1_440
"""Bars a day that trades like the day before has: as many as 1 m candles.

Equal numbers of bars make statistics of the two comparable, and windows in bars mean about the same
span of time. Fewer, say the 50 buckets a day of VPIN, leave too few bars for an hour's regression;
ten times as many would be single trades on all but the busiest instruments.
"""


def parse_bar_kind(text: str) -> BarKind:
    """The kind of that name.

    Raises:
        InvalidInput: no such kind; the message lists them all.

    Example:
        >>> parse_bar_kind("dollar").measure
        'notional'
    """
    if text not in set(BarKind):
        raise InvalidInput(
            f"'{text}'",
            "not a kind of bar",
            expected=f"one of {', '.join(BarKind)}",
            remedy="Use a name from the list",
        )
    return BarKind(text)
