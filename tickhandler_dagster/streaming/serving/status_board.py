"""The engine's last word on how it is doing, and whether that is good enough.

What belongs here: keeping it, its age, the verdict of `/health`. What does not: making it (the
engine) and its texts for machines (`wire.py`, `metrics.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus

_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """When the engine is well.

    Attributes:
        max_silence_s: It has said something within this time.
        max_lag_s: Every venue has sent something within this time before that.
    """

    max_silence_s: float = 15.0
    max_lag_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict.

    Attributes:
        faults: What is wrong, in sentences; empty when all is well.
        warnings: What a person should know, though waiting may heal it.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


class StatusBoard:
    """A `StatusSink` that remembers the last word; safe to use from several threads.

    Args:
        rule: When the engine is well.
        elapsed_s: A clock that never goes back.
    """

    def __init__(
        self,
        rule: HealthRule | None = None,
        *,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rule = rule if rule is not None else HealthRule()
        self._elapsed_s = elapsed_s
        self._last: tuple[LiveStatus, float] | None = None
        self._lock = threading.Lock()

    def report(self, status: LiveStatus) -> None:
        """Take the latest word."""
        with self._lock:
            self._last = (status, self._elapsed_s())

    @property
    def latest(self) -> LiveStatus | None:
        """The last word; None before the first."""
        with self._lock:
            return self._last[0] if self._last else None

    @property
    def age_s(self) -> float | None:
        """Seconds since the last word; None before the first."""
        with self._lock:
            return self._elapsed_s() - self._last[1] if self._last else None

    def health(self) -> Health:
        """The verdict now. A feed that is cut off is a warning until its lag is too long.

        A venue's short outage heals by itself: a supervisor that restarts on the verdict would
        make a gap at every other venue too.
        """
        status, age_s = self.latest, self.age_s
        if status is None or age_s is None:
            return Health(("The engine has said nothing yet.",), ())
        faults = []
        if age_s > self._rule.max_silence_s:
            faults.append(
                f"The engine has said nothing for {age_s:.1f} s "
                f"(expected every {self._rule.max_silence_s:g} s or sooner)."
            )
        faults += [
            f"{feed.venue}: no row for {lag_s:.1f} s (expected one every "
            f"{self._rule.max_lag_s:g} s or sooner)."
            for feed in status.feeds
            if not feed.is_starting
            and (lag_s := _lag_s(feed, age_s)) is not None
            and lag_s > self._rule.max_lag_s
        ]
        warnings = [
            f"{feed.venue}: {'starting' if feed.is_starting else 'not connected'}."
            for feed in status.feeds
            if not feed.is_connected
        ]
        return Health(tuple(faults), tuple(warnings))


def _lag_s(feed: FeedStatus, age_s: float) -> float | None:
    """The lag now: it has grown since the engine said it."""
    return None if feed.lag_us is None else feed.lag_us / _US_PER_S + age_s
