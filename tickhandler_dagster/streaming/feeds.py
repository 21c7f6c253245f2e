"""What fills the spool: the port that the live feed and replays are put on.

What belongs here: the protocol and the clock of this host. What does not: a feed (`replay.py`,
`sidecar_feed.py`).
"""

from __future__ import annotations

import time
from typing import Protocol

from tickhandler_dagster.market.errors import TickhandlerError


class Feed(Protocol):
    """Appends what arrives to a spool until it is stopped; reading the spool is not its affair."""

    def start(self) -> None:
        """Begin; returns at once.

        Raises:
            TickhandlerError: it cannot begin, and why.
        """

    def stop(self) -> None:
        """End cleanly: what arrived is in the spool, and the spool says that the feed ended."""

    @property
    def is_alive(self) -> bool:
        """It brings rows, or tries to."""

    @property
    def failure(self) -> TickhandlerError | None:
        """What ended it; None while it goes on, and after an end as asked for."""


class HostClock:
    """The clock of this host."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def elapsed_us(self) -> int:
        """Microseconds since some moment; never goes back."""
        return time.monotonic_ns() // 1_000
