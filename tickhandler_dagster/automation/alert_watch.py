"""What is new since the last look: Dagster's events and the clock, as signals.

What belongs here: the place up to which was read, and one bounded step from it. What does not: what
an event means (`check_signals.py`, `run_signals.py`, `freshness_signals.py`) and where the place is
kept (`alert_store.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from tickhandler_dagster.automation.check_signals import check_signal
from tickhandler_dagster.automation.event_pages import (
    Item,
    Materialized,
    end_of_log,
    read_page,
)
from tickhandler_dagster.automation.freshness_signals import Expected, arrival_signal, late_signals
from tickhandler_dagster.automation.live_signals import silence_signals
from tickhandler_dagster.automation.run_signals import (
    job_of,
    materialization_signal,
    run_signals,
    success_signals,
)
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal


@dataclass(frozen=True, slots=True)
class Watch:
    """How far was looked.

    Attributes:
        cursor: Storage id up to which the event log was read.
        looked_us: When deadlines were last looked at, microseconds since the epoch; None for never.
        quota_since_us: Since when the vendor's quota is used up; None where it is not.
        failed_jobs: Jobs without cells whose last run failed.
    """

    cursor: int
    looked_us: int | None = None
    quota_since_us: int | None = None
    failed_jobs: frozenset[str] = frozenset()

    @classmethod
    def from_now(cls, instance: dg.DagsterInstance) -> Watch:
        """Where an installation begins: its history is not told."""
        return cls(cursor=end_of_log(instance))

    @property
    def record(self) -> dict[str, Any]:
        """The value as JSON has it."""
        return {
            "cursor": self.cursor,
            "looked_us": self.looked_us,
            "quota_since_us": self.quota_since_us,
            "failed_jobs": sorted(self.failed_jobs),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Watch:
        """The inverse of `record`."""
        return cls(**{**record, "failed_jobs": frozenset(record["failed_jobs"])})

    def after(self, signal: Signal) -> Watch:
        """The watch once a signal was given."""
        if signal.kind is IncidentKind.EXHAUSTED_QUOTA:
            return replace(self, quota_since_us=signal.at_us if signal.is_bad else None)
        job = job_of(signal)
        if job is None:
            return self
        jobs = self.failed_jobs | {job} if signal.is_bad else self.failed_jobs - {job}
        return replace(self, failed_jobs=jobs)


@dataclass(frozen=True, slots=True)
class Step:
    """One look.

    Attributes:
        signals: What was seen, in the order in which it happened.
        watch: Where the next look begins.
        events: How many events were read.
        is_last: Nothing was left to read.
    """

    signals: tuple[Signal, ...]
    watch: Watch
    events: int
    is_last: bool


def look(instance: dg.DagsterInstance, watch: Watch, *, now_us: int) -> Step:
    """The next page of events."""
    page = read_page(instance, watch.cursor, now_us=now_us)
    signals: list[Signal] = []
    for item in page.items:
        for signal in _meaning(instance, item, watch):
            signals.append(signal)
            watch = watch.after(signal)
    watch = replace(watch, cursor=page.cursor)
    return Step(tuple(signals), watch, len(page.items), page.is_last)


def look_at_clock(
    instance: dg.DagsterInstance, watch: Watch, *, expected: Expected, now_us: int
) -> Step:
    """Deadlines, where some passed since the last look, and whether a live session fell silent."""
    silence = tuple(silence_signals(instance, now_us))
    if not expected.has_to_look(watch.looked_us, now_us):
        return Step(silence, watch, 0, is_last=True)
    signals = (*silence, *late_signals(instance, expected, now_us))
    return Step(signals, replace(watch, looked_us=now_us), 0, is_last=True)


def _meaning(instance: dg.DagsterInstance, item: Item, watch: Watch) -> Iterator[Signal]:
    if isinstance(item, Materialized):
        yield materialization_signal(item)
        yield from _there(arrival_signal(item))
    elif item.event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
        yield from _there(check_signal(item))
    elif item.event.event_type is not DagsterEventType.RUN_SUCCESS:
        yield from run_signals(instance, item)
    elif watch.failed_jobs or watch.quota_since_us is not None:
        yield from success_signals(instance, item, quota_since_us=watch.quota_since_us)


def _there(signal: Signal | None) -> Iterable[Signal]:
    return () if signal is None else (signal,)
