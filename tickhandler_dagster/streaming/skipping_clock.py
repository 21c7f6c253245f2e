"""A clock whose time can be put ahead, for a replay that is over.

What belongs here: the clock. What does not: when to put it ahead (`cli/streaming_session.py`). The
last bars of a replay would else be complete only after the half minute that a live one waits.
"""

from __future__ import annotations

from tickhandler_dagster.streaming.ports import Clock


class SkippingClock:
    """Another clock, whose elapsed time can be put ahead.

    Args:
        clock: The other clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us = 0

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC; the other clock's."""
        return self._clock.now_us()

    def elapsed_us(self) -> int:
        """Microseconds since some moment, with what was skipped."""
        return self._clock.elapsed_us() + self._ahead_us

    def skip(self, by_us: int) -> None:
        """Let so much time pass at once."""
        self._ahead_us += by_us
