"""When the next file may begin: never while memory is short and other files are still in work.

What does not belong here: how much one file needs (the adapters bound it).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil

_PAUSE_S = 0.25


def used_memory_percent() -> float:
    """The machine's used memory."""
    return float(psutil.virtual_memory().percent)


class MemoryGate:
    """Holds files back while memory is fuller than a threshold.

    A file is let through in any case when no other is in work: waiting for memory that somebody
    else holds would be waiting for ever.

    Args:
        threshold_percent: Used memory above which files wait.
        used_percent: Reads the used memory.
        pause_s: Between two readings.
    """

    def __init__(
        self,
        threshold_percent: float,
        *,
        used_percent: Callable[[], float] = used_memory_percent,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._threshold = threshold_percent
        self._used_percent = used_percent
        self._pause_s = pause_s
        self._in_work = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait until the file may begin; it is in work while the block runs."""
        while self._in_work and self._used_percent() > self._threshold:  # noqa: ASYNC110  (no event)
            await asyncio.sleep(self._pause_s)
        self._in_work += 1
        try:
            yield
        finally:
            self._in_work -= 1
