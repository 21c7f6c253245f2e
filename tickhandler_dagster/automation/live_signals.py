"""A live session that fell silent as a signal.

What belongs here: silence alone. A session that lags or has lost its feed says so itself, and its
failed check is a signal like every other (`check_signals.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.assets.live_tables import FAIL_AFTER, FEED
from tickhandler_dagster.automation.live_reports import SESSION
from tickhandler_dagster.automation.wording import asset_path
from tickhandler_dagster.checks.live_feed import ENDED
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency

_US = 1_000_000
SILENT_AFTER_US = round(FAIL_AFTER.total_seconds() * _US)
GIVEN_UP_AFTER_US = 7 * 86_400 * _US
"""After a week of silence a session counts as ended, such as a trial that was switched off."""


def silence_signals(instance: dg.DagsterInstance, now_us: int) -> Iterator[Signal]:
    """Whether the last session reports or was ended; nothing where there never was one."""
    newest = instance.fetch_materializations(FEED, limit=1).records
    if not newest:
        return
    record = newest[0]
    at_us = round(record.timestamp * _US)
    event = record.asset_materialization
    said = None if event is None else event.metadata.get(SESSION)
    is_ended = said is not None and said.value == ENDED
    silent_us = now_us - at_us
    is_ended = is_ended or silent_us > GIVEN_UP_AFTER_US
    is_silent = silent_us > SILENT_AFTER_US and not is_ended
    yield Signal(
        kind=IncidentKind.SILENT_SESSION,
        subject=FEED.to_user_string(),
        is_bad=is_silent,
        urgency=Urgency.ERROR,
        group=FEED.to_user_string(),
        at_us=at_us + SILENT_AFTER_US if is_silent else now_us,
        summary=_summary(is_silent=is_silent, is_ended=is_ended),
        link=asset_path(FEED),
    )


def _summary(*, is_silent: bool, is_ended: bool) -> str:
    if is_silent:
        minutes = SILENT_AFTER_US // (60 * _US)
        return f"The live session has not reported for {minutes} minutes, and nobody ended it."
    return "The live session was ended." if is_ended else "The live session reports again."
