"""Complete larger bars, built beside the engine so that its rounds never wait for one.

What belongs here: which process a request goes to. What does not: the processes
(`completion_process.py`) and building (`completion_build.py`).

A venue's minute takes seconds to build when much is traded, and its day hours: both would hold up
the rounds of the engine, and the day would hold up the minutes. So short and long bars have a
process each. Threads would share the interpreter with the rounds that they must not hold up.
"""

from __future__ import annotations

from pathlib import Path

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.completion_process import (
    WAITING,
    CompletionProcess,
    FailedRequest,
)
from tickhandler_dagster.streaming.completion_request import CompletedBars, CompletionRequest

LONGEST_SHORT = Timeframe.M5
"""Up to this length bars are built by the process for short ones."""


class Completion:
    """Builds complete larger bars from the spool.

    Args:
        spool: The spool's folder.
        waiting: Requests that may wait for each process.
    """

    def __init__(self, spool: Path, *, waiting: int = WAITING) -> None:
        self.short = CompletionProcess(spool, waiting=waiting)
        self.long = CompletionProcess(spool, waiting=waiting)
        self._done: list[CompletedBars] = []
        self._failed: list[FailedRequest] = []

    @property
    def pending(self) -> int:
        """Requests that are not answered yet."""
        return self.short.pending + self.long.pending

    def submit(self, request: CompletionRequest) -> bool:
        """Ask for bars; False where too many requests wait, and then nothing was asked."""
        is_short = request.timeframe.us <= LONGEST_SHORT.us
        return (self.short if is_short else self.long).submit(request)

    def results(self, venue: VenueId | None = None) -> list[CompletedBars]:
        """What has been built since the last time, of one venue or of all; never waits.

        What is built of other venues waits until it is asked for.
        """
        self._done += [*self.short.results(), *self.long.results()]
        taken = [one for one in self._done if venue in (None, one.venue)]
        self._done = [one for one in self._done if venue not in (None, one.venue)]
        return taken

    def take_failed(self, venue: VenueId | None = None) -> list[FailedRequest]:
        """The requests that were given up since the last time, of one venue or of all."""
        self._failed += [*self.short.take_failed(), *self.long.take_failed()]
        taken = [one for one in self._failed if venue in (None, one.request.venue)]
        self._failed = [one for one in self._failed if venue not in (None, one.request.venue)]
        return taken

    def close(self) -> None:
        """End the processes; requests that wait are forgotten."""
        self.short.close()
        self.long.close()
