"""Reports of a live session to the instance of `DAGSTER_HOME`, or none.

What belongs here: whether there are any, and opening the instance. What does not: the reports
(`automation/live_reports.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tickhandler_dagster.cli.streaming_request import StreamingRequest
from tickhandler_dagster.settings import Settings
from tickhandler_dagster.streaming.ports import StatusSink


@dataclass(slots=True)
class Reports:
    """Who is told, and how that went.

    Attributes:
        sinks: Who is told; nobody without Dagster.
        close: Tells the end, and that it was an orderly one; nothing more once the end is told.
        tally: Gives reports sent and given up; None without Dagster.
    """

    sinks: Sequence[StatusSink]
    close: Callable[[bool], None]
    tally: Callable[[], tuple[int, int] | None]

    @property
    def counts(self) -> tuple[int, int] | None:
        """Reports sent and given up; None without Dagster."""
        return self.tally()


@contextlib.contextmanager
def open_reports(
    settings: Settings, request: StreamingRequest, *, has_ticks: bool, has_bars: bool
) -> Iterator[Reports]:
    """Reports where there is an instance; a replay reports only where it plays as if now.

    What was recorded in 2024 lags by years, and would wake somebody.
    """
    home = settings.dagster_home
    is_now = request.replay is None or request.to_now
    if not (request.has_dagster and is_now) or home is None or not home.is_dir():
        yield Reports((), lambda _is_orderly: None, lambda: None)
        return
    import dagster as dg  # noqa: PLC0415  (a session without reports does without)

    from tickhandler_dagster.automation.live_reports import (  # noqa: PLC0415  (the same)
        DagsterReporter,
        SessionTables,
    )

    with dg.DagsterInstance.from_config(str(home.absolute())) as instance:
        reporter = DagsterReporter(instance, SessionTables(has_ticks, has_bars))

        def counts() -> tuple[int, int]:
            told = reporter.counts
            return told.sent, told.dropped + told.failed

        def close(is_orderly: bool) -> None:  # noqa: FBT001  (the one thing it is told)
            reporter.close(is_orderly=is_orderly)

        try:
            yield Reports([reporter], close, counts)
        finally:
            reporter.close()
