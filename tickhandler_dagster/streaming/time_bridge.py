"""How far a venue's time has come over a restart, while its feed is silent.

What belongs here: going on from the time a checkpoint names, by the host's clock. What does not:
how time comes from rows (`market/live/watermark.py`).

A clock that never goes back does not survive its process, so the host's clock has to do. It may
have been set: only a short while is bridged, and only until the feed goes on.
"""

from __future__ import annotations

import logging

from tickhandler_dagster.market.live.clock_skew import ClockSkew
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.closing import AMEND_US

_log = logging.getLogger(__name__)


class TimeBridge:
    """Leads from the time of a checkpoint to the first row that comes after the restart."""

    def __init__(self) -> None:
        self._ahead_us: int | None = None
        self._is_open = False

    def begin(self, seen: tuple[int, int], now_us: int, elapsed_us: int) -> None:
        """Go on from a checkpoint: the venue's time and the host's then."""
        mark_us, then_us = seen
        if 0 <= now_us - then_us <= AMEND_US:  # bars closed too early can still be amended
            self._ahead_us = mark_us + now_us - then_us - elapsed_us

    def read(self, *, has_rows: bool, is_caught_up: bool) -> None:
        """Rows were read: those that came while no engine ran, and then the feed's next."""
        if has_rows and self._is_open:
            self._ahead_us = None  # rows say better how far time has come
        self._is_open = self._is_open or is_caught_up

    def joined(self, mark_us: int, elapsed_us: int, grace_us: int) -> int:
        """The later of a mark and the time bridged less the grace."""
        if self._ahead_us is None or not self._is_open:
            return mark_us
        return max(mark_us, self._ahead_us + elapsed_us - grace_us)


class ClockWarnings:
    """Says that the clocks of host and venue disagree, once until they agree again.

    Args:
        venue: The venue.
    """

    def __init__(self, venue: VenueId) -> None:
        self._venue = venue
        self._is_said = False

    def take(self, skew: ClockSkew | None) -> None:
        """Take what the delays say now."""
        warning = None if skew is None else skew.warning
        if warning is not None and not self._is_said:
            _log.warning("%s: %s. Bars do not depend on it, delays do.", self._venue, warning)
        self._is_said = warning is not None
