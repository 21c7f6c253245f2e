"""Ticks from the spool to where they are kept, each exactly once.

What belongs here: when a delivery is made, of which rows, and what is written down about it. What
does not: the spool (`adapters/spool*.py`) and the targets (`tick_target.py`, `bigquery_ticks.py`).

A sink is a reader of the spool with a place of its own. It never holds capture back: while its
target does not answer, rows stay in the spool and it tries again, without end.
"""

from __future__ import annotations

import dataclasses
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from tickhandler_dagster.adapters.spool import SpoolPosition
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import PermanentError, TransientError
from tickhandler_dagster.market.live.live_tick_table import live_ticks
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import Clock
from tickhandler_dagster.streaming.sinks.cursor import CursorFile, SinkCursor
from tickhandler_dagster.streaming.sinks.tick_target import DeliveryPolicy, TickDelivery, TickTarget

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_US_PER_S = 1_000_000


class TickSpool(Protocol):
    """What a sink needs of the spool's reader."""

    def tail(
        self, venue: VenueId, data_type: DataType, position: SpoolPosition
    ) -> tuple[pl.DataFrame, SpoolPosition]:
        """Rows after a position, in whole lines, and the position after them."""
        ...


@dataclass(frozen=True, slots=True)
class TickStream:
    """One folder of the spool."""

    venue: VenueId
    data_type: DataType


@dataclass(slots=True, kw_only=True)
class SinkStatus:
    """How a sink is doing since it was started.

    Attributes:
        rows: Rows delivered.
        dead: Rows kept as dead letters.
        deliveries: Deliveries made.
        tries_failed: Tries that met a passing error.
        waiting: Rows read and not yet delivered.
        trouble: What the last try met; empty where it delivered, or had nothing to deliver.
        failure: Why it stopped for good; None while it has not.
    """

    rows: int = 0
    dead: int = 0
    deliveries: int = 0
    tries_failed: int = 0
    waiting: int = 0
    trouble: str = ""
    failure: str | None = None


class TickSink:
    """Moves one folder of the spool into a target.

    Args:
        stream: Which folder.
        spool: Reads it.
        target: Takes the rows.
        cursor: Remembers how far it came; one file per stream and target.
        keys: Gives the venue's instrument keys by symbol; asked once per delivery.
        clock: Of this process.
        policy: When a delivery is made, where the target's own word on it is not wanted.
    """

    def __init__(
        self,
        stream: TickStream,
        spool: TickSpool,
        target: TickTarget,
        cursor: CursorFile,
        *,
        keys: Callable[[], Mapping[str, str]],
        clock: Clock,
        policy: DeliveryPolicy | None = None,
    ) -> None:
        self.stream = stream
        self.status = SinkStatus()
        self._spool = spool
        self._target = target
        self._file = cursor
        self._keys = keys
        self._clock = clock
        self._policy = policy or target.policy
        self._cursor = cursor.read()
        self._read_to = self._cursor.position
        self._to_skip = self._cursor.skip
        self._waiting: deque[tuple[pl.DataFrame, SpoolPosition]] = deque()
        self._since_us: int | None = None

    @property
    def position(self) -> SpoolPosition:
        """Every row before it is delivered: the spool may forget them."""
        return self._cursor.position

    def step(self, *, is_last: bool = False) -> int:
        """Read what is new, deliver what is due; the rows that left the spool.

        Args:
            is_last: Everything is due.

        Raises:
            TransientError: the target cannot now; the next step offers the same rows.
            PermanentError: the target never will.
        """
        self._fill()
        moved = 0
        while rows := self._due(is_last=is_last):
            moved += self._deliver(rows)
            self._fill()
        return moved

    def run(
        self,
        stop: threading.Event,
        *,
        pause_s: float = 1.0,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Step until told to stop, then deliver the rest; a failure for good ends it sooner.

        What stopped it is in `status.failure`; nothing is raised, since whoever captures goes on.

        Args:
            stop: Ends it.
            pause_s: Between two looks at the spool.
            after: Called when rows were delivered.
        """
        tried = 0
        is_last = False
        while not is_last and self.status.failure is None:
            is_last = stop.is_set()
            wait_s = pause_s
            try:
                if self.step(is_last=is_last):
                    after()
                tried, self.status.trouble = 0, ""
            except TransientError as error:  # at the end too: the spool keeps the rows
                self.status.tries_failed += 1
                self.status.trouble = str(error)
                tried += 1
                wait_s = pause_after(tried, error.retry_after_s)
            except PermanentError as error:
                self.status.failure = str(error)
            stop.wait(wait_s)
        self._target.close()

    def _fill(self) -> None:
        """Read on until enough waits; a delivery that was begun needs all of its rows."""
        while not self._is_full() or self.status.waiting < (self._cursor.pending or 0):
            rows, position = self._spool.tail(
                self.stream.venue, self.stream.data_type, self._read_to
            )
            if position == self._read_to:
                return
            self._read_to = position
            if self._to_skip >= rows.height:
                self._to_skip -= rows.height
                self._pass_by(position, rows.height)
                continue
            self._waiting.append((rows.slice(self._to_skip), position))
            self.status.waiting += rows.height - self._to_skip
            self._to_skip = 0
            if self._since_us is None:
                self._since_us = self._clock.elapsed_us()

    def _pass_by(self, position: SpoolPosition, rows: int) -> None:
        """A read of which nothing is left to deliver moves the place behind it."""
        if self._waiting:
            last, _ = self._waiting.pop()
            self._waiting.append((last, position))
        else:
            skip = self._cursor.skip - rows
            self._cursor = dataclasses.replace(self._cursor, position=position, skip=skip)

    def _due(self, *, is_last: bool) -> int:
        """How many of the waiting rows are delivered now."""
        waiting = self.status.waiting
        if self._cursor.pending is not None:
            return self._cursor.pending if waiting >= self._cursor.pending else 0
        if not waiting or not (is_last or self._is_full() or self._is_old()):
            return 0
        return min(waiting, self._policy.rows)

    def _is_full(self) -> bool:
        held = sum(rows.estimated_size() for rows, _ in self._waiting)
        return self.status.waiting >= self._policy.rows or held >= self._policy.bytes

    def _is_old(self) -> bool:
        age_us = self._clock.elapsed_us() - (self._since_us or 0)
        return self._since_us is not None and age_us >= self._policy.seconds * _US_PER_S

    def _deliver(self, count: int) -> int:
        rows = pl.concat([rows for rows, _ in self._waiting]).head(count)
        sequence = self._cursor.sequence
        if sequence is None:
            sequence = int(rows.get_column("local_timestamp").to_physical().item(0))
        ticks = live_ticks(
            rows,
            self.stream.venue,
            self.stream.data_type,
            keys=self._keys(),
            first_sequence=sequence,
        )
        if self._cursor.pending is None:
            ticks = ticks.head(self._target.fit(ticks, self.stream.data_type))
            self._save(dataclasses.replace(self._cursor, sequence=sequence, pending=ticks.height))
        delivery = TickDelivery(self.stream.venue, self.stream.data_type, ticks)
        done = self._target.deliver(delivery, self._cursor.target, self._save_target)
        self._advance(ticks.height, sequence + ticks.height, done.target)
        self.status.rows += done.rows
        self.status.dead += done.dead
        self.status.deliveries += 1
        return ticks.height

    def _advance(self, count: int, sequence: int, target: Mapping[str, object]) -> None:
        self.status.waiting -= count
        position, skip = self._cursor.position, self._cursor.skip
        while count:
            rows, end = self._waiting.popleft()
            if rows.height > count:
                self._waiting.appendleft((rows.slice(count), end))
                skip, count = skip + count, 0
            else:
                position, skip, count = end, 0, count - rows.height
        self._since_us = self._clock.elapsed_us() if self._waiting else None
        self._save(SinkCursor(position=position, skip=skip, sequence=sequence, target=dict(target)))

    def _save_target(self, state: Mapping[str, object]) -> None:
        self._save(dataclasses.replace(self._cursor, target=dict(state)))

    def _save(self, cursor: SinkCursor) -> None:
        self._file.write(cursor)
        self._cursor = cursor


def pause_after(tried: int, asked_s: float | None = None) -> float:
    """Seconds until the next try: twice as many each time up to a minute, spread by half.

    Example:
        >>> 1.0 <= pause_after(1) <= 1.5 and 60.0 <= pause_after(50) <= 90.0
        True
    """
    if asked_s is None:
        asked_s = min(_FIRST_PAUSE_S * 2.0 ** min(tried - 1, 10), _LONGEST_PAUSE_S)
    return asked_s * random.uniform(1.0, 1.5)  # noqa: S311  (jitter)
