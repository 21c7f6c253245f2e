"""The host's clock.

What belongs here: the one place where the live engine asks for the time. What does not: what it
does with it.
"""

from __future__ import annotations

import time


class HostClock:
    """The host's wall clock, and its clock that never goes back."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def elapsed_us(self) -> int:
        """Microseconds since some moment of this process."""
        return time.monotonic_ns() // 1_000
