"""The thread a live session works in, and the signals that end the session.

What belongs here: start and end, and what ended it. What does not: the work
(`streaming_session.py`).
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType


class Worker:
    """A loop in a thread, and what ended it.

    Args:
        loop: Goes on until the event that it is given.
    """

    def __init__(self, loop: Callable[[threading.Event], None]) -> None:
        self._loop = loop
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-engine")
        self._work: Future[None] | None = None

    @property
    def is_alive(self) -> bool:
        """It was started and has not ended."""
        return self._work is not None and not self._work.done()

    @property
    def failure(self) -> BaseException | None:
        """What ended it; None where it was told to end."""
        return None if self._work is None or self.is_alive else self._work.exception()

    def start(self) -> None:
        """Begin."""
        self._work = self._thread.submit(self._loop, self._stop)

    def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        self._stop.set()
        self._thread.shutdown()


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first signal ends in order, the second at once."""

    def take(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
