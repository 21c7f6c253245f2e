"""What a live session tells Dagster, once a minute: its tables, its feeds, and their checks.

What belongs here: a status as events of an instance, from a thread of its own. What does not: the
assets that the events are of (`assets/live_tables.py`), judging a status (`checks/live_feed.py`)
and what follows from silence (`live_signals.py`).

A report must never hurt the stream: the engine hands a status over and goes on. The queue is
bounded and gives up the oldest, an instance that fails or hangs costs reports and nothing else.
One event takes about 15 ms and 1.5 KB of SQLite, so that it is one per table and minute, not one
per bar.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

import dagster as dg

from tickhandler_dagster import __version__
from tickhandler_dagster.assets.live_tables import (
    FEED,
    live_candles_key,
    ticks_key,
)
from tickhandler_dagster.checks.live_feed import (
    ENDED,
    LagLimits,
    ended_outcomes,
    fed_outcome,
    feeds,
    in_time_outcome,
)
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.streaming.ports import LiveStatus
from tickhandler_dagster.streaming.sidecar_plan import LIVE_TYPES

INTERVAL_US = 60 * US_PER_SECOND
QUEUE = 4
CLOSE_S = 5.0
"""How long the end of a session waits for its last report."""

SESSION, RUNS = "session", "runs"
"""Metadata of the feed that says whether silence is meant."""

_US_PER_MS = 1_000
_LOG = logging.getLogger(__name__)

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@dataclass(frozen=True, slots=True)
class SessionTables:
    """What a session fills.

    Attributes:
        has_ticks: It stores ticks.
        has_candles: It publishes bars.
    """

    has_ticks: bool
    has_candles: bool


@dataclass(slots=True)
class ReportCounts:
    """What became of reports so far.

    Attributes:
        sent: Reports in the instance.
        dropped: Reports given up because the instance was slow.
        failed: Reports that the instance did not take.
        last_error: Why the last of these failed.
    """

    sent: int = 0
    dropped: int = 0
    failed: int = 0
    last_error: str = ""


class _Word(Enum):
    """What a report is made for."""

    GOES_ON = auto()
    BROKE_OFF = auto()
    ENDED = auto()


@dataclass(slots=True)
class _Waiting:
    statuses: deque[tuple[LiveStatus, _Word]] = field(default_factory=deque)
    is_closed: bool = False


class DagsterReporter:
    """Tells an instance how a session is doing; a `StatusSink`.

    Args:
        instance: Who is told.
        tables: What the session fills.
        limits: What is still in time.
        interval_us: Time between two reports at least.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        tables: SessionTables,
        *,
        limits: LagLimits | None = None,
        interval_us: int = INTERVAL_US,
    ) -> None:
        self._instance = instance
        self._tables = tables
        self._limits = limits or LagLimits()
        self._interval_us = interval_us
        self._next_us: int | None = None
        self._last: LiveStatus | None = None
        self._before: LiveStatus | None = None
        self._waiting = _Waiting()
        self._wake = threading.Condition()
        self.counts = ReportCounts()
        self._thread = threading.Thread(target=self._work, name="dagster-reports", daemon=True)
        self._thread.start()

    def report(self, status: LiveStatus) -> None:
        """Take the latest word; a report is made of it where one is due."""
        at_us = round(status.at.timestamp() * US_PER_SECOND)
        self._last = status
        # A host whose clock was set back reports on, and does not wait for the time to come again.
        if self._next_us is None or not self._next_us - self._interval_us <= at_us < self._next_us:
            self._next_us = at_us + self._interval_us
            self._put(status, _Word.GOES_ON)

    def close(self, *, is_orderly: bool = False) -> None:
        """Tell the end, wait for it a little, and stop; what hangs is left behind.

        Args:
            is_orderly: It was asked for: no check is left failed. What broke a session off leaves
                them as they were.
        """
        if self._last is not None and not self._waiting.is_closed:
            self._put(self._last, _Word.ENDED if is_orderly else _Word.BROKE_OFF)
        with self._wake:
            self._waiting.is_closed = True
            self._wake.notify()
        self._thread.join(CLOSE_S)

    def _put(self, status: LiveStatus, word: _Word) -> None:
        with self._wake:
            if len(self._waiting.statuses) == QUEUE:
                self._waiting.statuses.popleft()
                self.counts.dropped += 1
            self._waiting.statuses.append((status, word))
            self._wake.notify()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            status, word = taken
            try:
                for event in self._events(status, word):
                    self._instance.report_runless_asset_event(event)
            # Whatever a storage raises, from a full disk to a lost server, is about reports alone.
            except Exception as error:  # noqa: BLE001  (see above)
                self.counts.failed += 1
                self.counts.last_error = f"{type(error).__name__}: {error}".splitlines()[0]
                _LOG.warning("A report to Dagster failed: %s", self.counts.last_error)
            else:
                self.counts.sent += 1
                self._before = status

    def _take(self) -> tuple[LiveStatus, _Word] | None:
        with self._wake:
            while not self._waiting.statuses:
                if self._waiting.is_closed:
                    return None
                self._wake.wait()
            return self._waiting.statuses.popleft()

    def _events(self, status: LiveStatus, word: _Word) -> Iterator[Event]:
        # The feed comes last: where it is new, the tables are.
        if self._tables.has_ticks:
            yield from _tick_events(status)
        if self._tables.has_candles:
            yield from _candle_events(status)
        session = RUNS if word is _Word.GOES_ON else ENDED
        metadata = {SESSION: dg.MetadataValue.text(session), **self._feed_metadata(status)}
        yield dg.AssetMaterialization(FEED, metadata=metadata)
        yield from map(_evaluation, self._outcomes(status, word))

    def _outcomes(self, status: LiveStatus, word: _Word) -> list[CheckOutcome]:
        if word is _Word.GOES_ON:
            before = 0 if self._before is None else _overflows(self._before)
            return [fed_outcome(status, before), in_time_outcome(status, self._limits)]
        return ended_outcomes(status) if word is _Word.ENDED else []

    def _feed_metadata(self, status: LiveStatus) -> dict[str, dg.MetadataValue]:
        delay = status.publish_delay_us
        return {
            "feeds": feeds(status),
            "gaps": dg.MetadataValue.int(sum(feed.gaps for feed in status.feeds)),
            "rows given up": dg.MetadataValue.int(_overflows(status)),
            "spool bytes": dg.MetadataValue.int(status.spool_bytes),
            "memory bytes": dg.MetadataValue.int(status.memory_bytes),
            "reports given up": dg.MetadataValue.int(self.counts.dropped + self.counts.failed),
            "version": dg.MetadataValue.text(__version__),
        } | ({} if delay is None else {"publish delay ms": _ms(delay)})


def _tick_events(status: LiveStatus) -> Iterator[Event]:
    at_us = round(status.at.timestamp() * US_PER_SECOND)
    for data_type in LIVE_TYPES:
        feeds = [feed for feed in status.feeds if feed.rows.get(data_type.value)]
        if feeds:
            newest = max(feed.last_arrival_us or 0 for feed in feeds)
            yield dg.AssetMaterialization(
                ticks_key(data_type),
                metadata={
                    "rows since the start": dg.MetadataValue.int(
                        sum(feed.rows[data_type.value] for feed in feeds)
                    ),
                    "newest arrival": dg.MetadataValue.timestamp(newest / US_PER_SECOND),
                    "lag ms": _ms(at_us - newest),
                },
            )


def _candle_events(status: LiveStatus) -> Iterator[Event]:
    at_us = round(status.at.timestamp() * US_PER_SECOND)
    for timeframe, close_us in status.newest_close_us.items():
        yield dg.AssetMaterialization(
            live_candles_key(timeframe),
            metadata={
                "bars since the start": dg.MetadataValue.int(status.bars.get(timeframe, 0)),
                "newest ts_close": dg.MetadataValue.timestamp(close_us / US_PER_SECOND),
                "lag ms": _ms(at_us - close_us),
                "amended since the start": dg.MetadataValue.int(status.amended),
                "rows too late since the start": dg.MetadataValue.int(status.late_rows),
            },
        )


def _evaluation(outcome: CheckOutcome) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=FEED,
        check_name=outcome.name.value,
        passed=outcome.has_passed,
        severity=outcome.severity,
        metadata=outcome.metadata,
    )


def _overflows(status: LiveStatus) -> int:
    return sum(feed.overflows for feed in status.feeds)


def _ms(us: int) -> dg.MetadataValue:
    return dg.MetadataValue.float(us / _US_PER_MS)
