"""The sink that hands bars to subscribers: as many as like, none of which the engine waits for.

What belongs here: numbering, remembering and fanning out. What does not: one subscriber's queue
(`subscription.py`), sockets (`server.py`).
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.serving.bar_filter import BarFilter
from tickhandler_dagster.streaming.serving.bar_memory import (
    SEQUENCE,
    BarMemory,
    Remembered,
)
from tickhandler_dagster.streaming.serving.delays import DelayHistograms
from tickhandler_dagster.streaming.serving.subscription import (
    DEFAULT_WAITING,
    OnOverflow,
    Publication,
    Subscription,
)

EVERYTHING = BarFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFrom:
    """What a subscriber gets of the past; the default is nothing.

    Attributes:
        since: Bars that open at this time or later.
        newest: At most so many of the newest bars of each instrument and timeframe.
        after: Bars published after the batch of this number.
    """

    since: dt.datetime | None = None
    newest: int | None = None
    after: int | None = None

    @property
    def is_now(self) -> bool:
        """Nothing of the past."""
        return self.since is None and self.newest is None and self.after is None


class Broadcast:
    """Bars for subscribers in this process and behind `server.py`.

    It is a `BarSink` for one engine: batches are published by one thread. `publish` costs that
    thread a lock, a view of the frame's columns and an append for each subscriber: filtering,
    copying and writing happen in the subscriber's loop.

    Args:
        memory: How much is remembered; the default is 240 bars of each series.

    Example:
        >>> import asyncio
        >>> from tickhandler_dagster.streaming.serving.live_bar import IDENTITY
        >>> moment = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
        >>> end = moment + dt.timedelta(seconds=15)
        >>> row = ("BINANCE:SPOT_PAIR:BTC-USDT", "15s", moment, end, 1, "complete", 60_000.5)
        >>> frame = pl.DataFrame([row], schema=[*IDENTITY, "close"], orient="row")
        >>> async def first_close(broadcast):
        ...     async with broadcast.subscribe(start=StartFrom(newest=10)) as bars:
        ...         async for bar in bars:
        ...             return bar.instrument_key, bar.values["close"]
        >>> broadcast = Broadcast()
        >>> broadcast.publish([BarBatch(Timeframe.S15, frame)])
        >>> asyncio.run(first_close(broadcast))
        ('BINANCE:SPOT_PAIR:BTC-USDT', 60000.5)
    """

    def __init__(self, memory: BarMemory | None = None) -> None:
        self.boot = secrets.token_hex(4)
        self.delays = DelayHistograms()
        self._memory = memory if memory is not None else BarMemory()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._sequence = 0
        self._dropped_of_gone = 0
        self._lock = threading.Lock()

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Number, remember and hand over; never waits for a subscriber."""
        publications = []
        with self._lock:
            for batch in batches:
                if not batch.bars.height:
                    continue
                self._sequence += 1
                self._memory.add(self._sequence, batch)
                publications.append(Publication(self._sequence, batch.timeframe, batch.bars))
            subscriptions = self._subscriptions
        for publication in publications:
            for subscription in subscriptions:
                subscription.offer(publication)
            self.delays.observe(publication.timeframe, publication.bars)

    def flush(self) -> None:
        """Nothing is durable here: a subscriber that was away reads what the sinks have stored."""

    def subscribe(
        self,
        wanted: BarFilter = EVERYTHING,
        *,
        start: StartFrom | None = None,
        max_waiting: int = DEFAULT_WAITING,
        on_overflow: OnOverflow = OnOverflow.DROP_OLDEST,
    ) -> Subscription:
        """A subscription from now on, with what is remembered of `start` before it.

        Between the last bar of the history and the first new one nothing is missing and nothing
        comes twice.

        Args:
            wanted: Which bars.
            start: How much of the past.
            max_waiting: Batches that may wait to be taken.
            on_overflow: What happens to a subscriber that is slower than that.
        """
        start = start if start is not None else StartFrom()
        with self._lock:
            # In one lock: what is published after the memory was looked at goes to the queue.
            remembered = {} if start.is_now else self._remembered(wanted)
            subscription = Subscription(
                wanted,
                partial(_history, remembered, wanted, start, self._sequence),
                max_waiting=max_waiting,
                on_overflow=on_overflow,
                on_close=self._forget,
            )
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def newest(self, wanted: BarFilter, start: StartFrom) -> list[Publication]:
        """What is remembered: one batch for each timeframe, the shortest first."""
        with self._lock:
            remembered, upto = self._remembered(wanted), self._sequence
        return [
            replace(item, bars=wanted.pick(item.bars))
            for item in _history(remembered, wanted, start, upto)
        ]

    def instruments(self) -> list[str]:
        """Keys of the instruments that are remembered, sorted."""
        with self._lock:
            remembered = self._remembered(EVERYTHING)
        keys = {
            key
            for item in remembered.values()
            for frame in item.frames
            for key in frame["instrument_key"].unique()
        }
        return sorted(keys)

    @property
    def sequence(self) -> int:
        """Number of the newest batch; 0 before the first."""
        return self._sequence

    @property
    def subscribers(self) -> int:
        """Subscriptions that are open."""
        return len(self._subscriptions)

    @property
    def dropped(self) -> int:
        """Bars that subscribers wanted and lost, since the start."""
        with self._lock:
            open_ones = sum(subscription.dropped for subscription in self._subscriptions)
            return self._dropped_of_gone + open_ones

    def _remembered(self, wanted: BarFilter) -> dict[Timeframe, Remembered]:
        # In the enumeration's order, shortest first.
        return {
            timeframe: self._memory.remembered(timeframe)
            for timeframe in Timeframe
            if timeframe in wanted.timeframes
        }

    def _forget(self, gone: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not gone)
            self._dropped_of_gone += gone.dropped


def _history(
    remembered: Mapping[Timeframe, Remembered], wanted: BarFilter, start: StartFrom, upto: int
) -> list[Publication]:
    """What of the memory is wanted, in batches that a subscriber may lose in the middle.

    Only the last one bears the number of the newest batch: whoever resumes after any other gets
    the history again, instead of losing the timeframes that had not come yet.
    """
    found = []
    for timeframe, item in remembered.items():
        bars = item.newest(wanted)
        if bars.height:
            bars = _from_start(bars, start).drop(SEQUENCE)
        if bars.height:
            found.append(Publication(start.after or 0, timeframe, bars, is_history=True))
    return [*found[:-1], *(replace(last, sequence=upto) for last in found[-1:])]


def _from_start(bars: pl.DataFrame, start: StartFrom) -> pl.DataFrame:
    if start.after is not None:
        bars = bars.filter(pl.col(SEQUENCE) > start.after)
    if start.since is not None:
        bars = bars.filter(pl.col("ts_open") >= start.since)
    if start.newest is not None:
        bars = bars.group_by("instrument_key", maintain_order=True).tail(start.newest)
    return bars
