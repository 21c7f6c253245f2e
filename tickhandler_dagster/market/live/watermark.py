"""How far a venue's time has surely come: the moment up to which bars are closed.

What belongs here: the rule, from times that are passed in. What does not: reading a clock and rows
(`streaming/`), and what closing a bar is.

A watermark follows the newest time seen and goes on with the time that has passed since: a quiet
market closes its bars too, and a host whose clock is wrong closes them right all the same, because
only differences of a clock that never goes back are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.days import US_PER_SECOND

GUARD_US = 5 * US_PER_SECOND
"""A row whose two clocks are further apart than this moves no watermark."""


@dataclass(slots=True)
class Watermark:
    """The newest time seen of one clock, and when it was seen.

    Attributes:
        memory_us: How long the time that was furthest ahead counts at least, twice as long at most;
            None for ever. A venue's clock that was set back, or goes slower than ours, would for
            ever be taken to be ahead, and each bar be closed early.
        newest_us: The newest time, microseconds since the epoch; None before the first.
        ahead_us: The most by which a time was ahead of the time passed when it was seen.
    """

    memory_us: int | None = None
    newest_us: int | None = None
    ahead_us: int = 0
    _since_us: int = 0
    _lately_us: int = 0

    def observe(self, newest_us: int, elapsed_us: int) -> None:
        """Take a time that was seen when `elapsed_us` had passed.

        Example:
            >>> watermark = Watermark()
            >>> watermark.observe(1_000, elapsed_us=10)
            >>> watermark.observe(900, elapsed_us=20)
            >>> watermark.at(elapsed_us=30)
            1020
        """
        ahead_us = newest_us - elapsed_us
        if self.newest_us is None:
            self.newest_us, self.ahead_us = newest_us, ahead_us
            self._since_us, self._lately_us = elapsed_us, ahead_us
            return
        self.newest_us = max(self.newest_us, newest_us)
        if self.memory_us is not None and elapsed_us - self._since_us >= self.memory_us:
            self.ahead_us, self._since_us, self._lately_us = self._lately_us, elapsed_us, ahead_us
        self._lately_us = max(self._lately_us, ahead_us)
        self.ahead_us = max(self.ahead_us, ahead_us)

    def at(self, elapsed_us: int) -> int | None:
        """The venue's time when `elapsed_us` has passed; None before the first row."""
        return None if self.newest_us is None else self.ahead_us + elapsed_us


def newest_guarded(timestamp: Int64Array, local_timestamp: Int64Array) -> int | None:
    """The newest exchange time among rows whose clocks agree well enough.

    One stamp far in the future would close every bar early, for ever.

    Nulls: None where there is no such row.

    Example:
        >>> newest_guarded(np.array([5, 10**9]), np.array([7, 8]))
        5
    """
    agree = np.abs(timestamp - local_timestamp) < GUARD_US
    return int(timestamp[agree].max()) if agree.any() else None
