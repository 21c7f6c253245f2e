"""The first minute of a session, in which a feed need not be up yet.

What belongs here: for how long a feed that brought no row counts as starting. What does not: what
is made of that (`checks/live_feed.py`, the serving and the screen).
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.market.days import US_PER_SECOND

STARTING_US = 60 * US_PER_SECOND
"""A feed that has brought no row for so long is not starting any more: it is down."""


@dataclass(frozen=True, slots=True)
class SessionStart:
    """When a session began.

    Attributes:
        now_us: By the host's clock.
        elapsed_us: By a clock that never goes back.
    """

    now_us: int
    elapsed_us: int

    def is_starting(self, last_arrival_us: int | None, elapsed_us: int) -> bool:
        """The session is young, and no row has arrived since it began.

        Example:
            >>> start = SessionStart(now_us=1_000, elapsed_us=0)
            >>> start.is_starting(None, 59_000_000), start.is_starting(None, 60_000_000)
            (True, False)
            >>> start.is_starting(999, 5), start.is_starting(1_001, 5)
            (True, False)
        """
        is_young = elapsed_us - self.elapsed_us < STARTING_US
        return is_young and (last_arrival_us is None or last_arrival_us < self.now_us)
