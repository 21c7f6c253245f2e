"""What goes wrong with klines on demand: a minute that was changed, one that is not there, a 429.

What belongs here: faults and their plan. What does not: faults of files (`faults.py`).
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tickhandler_dagster.sandbox.klines import Row

_HIGH, _VOLUME = 2, 5


class KlineFault(StrEnum):
    """A way in which a venue's klines go wrong."""

    REVISED_MINUTE = "revised_minute"
    """The minute's highest price and volume are others."""
    MISSING_MINUTE = "missing_minute"
    """The minute has no row."""
    RATE_LIMITED = "rate_limited"
    """429 with a Retry-After of no time."""


@dataclass(frozen=True, slots=True)
class KlineFaultRule:
    """Which answers meet a fault.

    Attributes:
        fault: Which fault.
        symbol: Pattern of the symbol; `*` and `?` as in a shell.
        at: Any moment of the minute, for a fault of a minute.
        times: How many answers meet it before it heals; None is all.
    """

    fault: KlineFault
    symbol: str = "*"
    at: dt.datetime | None = None
    times: int | None = None


class KlineFaultPlan:
    """The rules in force. Called from several threads.

    Args:
        rules: Rules in any order.
    """

    def __init__(self, rules: Iterable[KlineFaultRule] = ()) -> None:
        self._rules = list(rules)
        self._met: dict[int, int] = {}
        self._lock = threading.Lock()

    def add(self, rule: KlineFaultRule) -> None:
        """Put a rule into force."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Heal everything."""
        with self._lock:
            self._rules.clear()
            self._met.clear()

    def refuses(self, symbol: str) -> bool:
        """The request meets a 429, counted."""
        return any(rule.fault is KlineFault.RATE_LIMITED for rule in self._taken(symbol, None))

    def applied(self, symbol: str, rows: list[Row]) -> list[Row]:
        """The rows as they are sent."""
        sent = []
        for row in rows:
            faults = {rule.fault for rule in self._taken(symbol, row[0])}
            if KlineFault.MISSING_MINUTE not in faults:
                sent.append(_revised(row) if KlineFault.REVISED_MINUTE in faults else row)
        return sent

    def _taken(self, symbol: str, minute_ms: int | None) -> list[KlineFaultRule]:
        with self._lock:
            taken = []
            for place, rule in enumerate(self._rules):
                is_its = fnmatch.fnmatchcase(symbol, rule.symbol) and _minute(rule.at) == minute_ms
                if is_its and (rule.times is None or self._met.get(place, 0) < rule.times):
                    self._met[place] = self._met.get(place, 0) + 1
                    taken.append(rule)
            return taken


def _minute(at: dt.datetime | None) -> int | None:
    return None if at is None else int(at.timestamp()) // 60 * 60_000


def _revised(row: Row) -> Row:
    """A tenth higher in the highest price, one unit more in volume."""
    changed = list(row)
    changed[_HIGH] = f"{float(row[_HIGH]) * 1.1:.8f}"
    changed[_VOLUME] = f"{float(row[_VOLUME]) + 1:.8f}"
    return changed
