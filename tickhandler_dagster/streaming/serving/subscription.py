"""One subscriber's queue: bounded, filled by the engine's thread, emptied by an event loop.

What belongs here: handing over between the two, and what happens to a subscriber that is slow.
What does not: who subscribes (`broadcast.py`) and over which wire (`streams.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType

import polars as pl

from tickhandler_dagster.market.errors import TransientError
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.serving.bar_filter import BarFilter
from tickhandler_dagster.streaming.serving.live_bar import LiveBar, live_bars

DEFAULT_WAITING = 256


class OnOverflow(StrEnum):
    """What happens when a subscriber's queue is full."""

    DROP_OLDEST = "drop_oldest"
    DISCONNECT = "disconnect"


ON_OVERFLOW_MEANINGS: dict[OnOverflow, str] = {
    OnOverflow.DROP_OLDEST: "the oldest batch that waits is given up, and its bars are counted",
    OnOverflow.DISCONNECT: "the subscription ends with an error; nothing is missing before it",
}


class SubscriberTooSlow(TransientError):
    """A subscriber that asked not to lose bars did not take them in time."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A batch on its way to subscribers.

    Attributes:
        sequence: Counts up by one with each batch that was published.
        timeframe: Length of the bars.
        bars: Rows of `LIVE_CANDLE_TABLE`, or some of its columns.
        is_history: From memory: published before the subscription began.
    """

    sequence: int
    timeframe: Timeframe
    bars: pl.DataFrame
    is_history: bool = False


class Subscription:
    """Bars as they are published: iterate over it, and close it or leave its `async with`.

    Example:
        ```python
        async with broadcast.subscribe(BarFilter(timeframes=frozenset({Timeframe.M1}))) as bars:
            async for bar in bars:
                print(bar.instrument_key, bar.ts_open, bar.values["close"])
        ```

    Args:
        wanted: Which bars.
        history: Gives what comes first; called by the subscriber's loop, not the engine's thread.
        max_waiting: Batches that may wait to be taken; history does not count.
        on_overflow: What happens beyond that.
        on_close: Called once when it ends, whoever ends it.
    """

    def __init__(
        self,
        wanted: BarFilter,
        history: Callable[[], Iterable[Publication]] = tuple,
        *,
        max_waiting: int = DEFAULT_WAITING,
        on_overflow: OnOverflow = OnOverflow.DROP_OLDEST,
        on_close: Callable[[Subscription], None] = lambda _: None,
    ) -> None:
        self.wanted = wanted
        self._history: deque[Publication] | None = None
        self._read_history = history
        self._waiting: deque[Publication] = deque()
        self._max_waiting = max_waiting
        self._on_overflow = on_overflow
        self._on_close = on_close
        self._dropped = 0
        self._failure: SubscriberTooSlow | None = None
        self._is_closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._lock = threading.Lock()

    @property
    def dropped(self) -> int:
        """Bars it wanted and lost because it was slow."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """Batches that wait to be taken."""
        return len(self._waiting)

    def offer(self, publication: Publication) -> None:
        """Put a batch into the queue; from any thread, and never waits for the subscriber."""
        if publication.timeframe not in self.wanted.timeframes:
            return
        with self._lock:
            if self._is_closed:
                return
            if len(self._waiting) >= self._max_waiting:
                self._overflow()
            if self._failure is None:
                self._waiting.append(publication)
            waiter, self._waiter = self._waiter, None
        _wake(waiter)

    def close(self) -> None:
        """End it; whoever waits for a bar stops waiting."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._waiting.clear()
            waiter, self._waiter = self._waiter, None
        _wake(waiter)
        self._on_close(self)

    async def take(self) -> Publication | None:
        """The next batch, with the rows and columns that were asked for; None when it is closed.

        A batch without such rows is passed over. Giving up waiting loses nothing.

        Raises:
            SubscriberTooSlow: it was to be disconnected rather than lose bars.
        """
        while (publication := await self._next()) is not None:
            bars = self.wanted.pick(publication.bars)
            if bars.height:
                return replace(publication, bars=bars)
        return None

    async def __aiter__(self) -> AsyncIterator[LiveBar]:
        while (publication := await self.take()) is not None:
            for bar in live_bars(publication.bars, is_history=publication.is_history):
                yield bar

    async def __aenter__(self) -> Subscription:  # noqa: PYI034  (Self would hide the class from the reader of the example)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _next(self) -> Publication | None:
        if self._history is None:
            self._history = deque(self._read_history())
        while True:
            with self._lock:
                if self._failure is not None:
                    raise self._failure
                if self._is_closed:
                    return None
                queue = self._history or self._waiting
                if queue:
                    return queue.popleft()
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiter = (loop, future)
            await future

    def _overflow(self) -> None:
        if self._on_overflow is OnOverflow.DROP_OLDEST:
            self._dropped += self.wanted.rows(self._waiting.popleft().bars).height
            return
        self._failure = SubscriberTooSlow(
            "subscription",
            "bars came faster than they were taken",
            was=f"{len(self._waiting)} batches waiting",
            expected=f"at most {self._max_waiting}",
            remedy="Subscribe again from the last bar taken, to fewer instruments or columns, or "
            f"with on_overflow={OnOverflow.DROP_OLDEST}",
        )
        self._waiting.clear()


def _wake(waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None) -> None:
    if waiter is None:
        return
    loop, future = waiter
    # A loop that was closed without closing its subscription waits for nothing any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
