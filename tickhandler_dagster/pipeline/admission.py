"""When the next piece of work may begin: when the memory it needs is free, whoever else is at work.

What belongs here: how much a file, an instrument's day and a cell of features need, and waiting.
What does not: who holds how much (`adapters/memory_ledger.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.market.errors import InvalidSetting, TransientError

_PAUSE_S = 0.25
_LONGEST_S = 1_800.0
_MEGA = 1_000_000

NEED_AT_LEAST = 48 * _MEGA
NEED_AT_MOST = 320 * _MEGA
NEED_PER_BYTE = 10
"""Memory that a conversion needs, by the size of its compressed file.

Measured on recorded trades: 275 MB for 30 MB (3 million rows). A conversion reads blocks, so that
above the size of a few blocks it needs no more. The file itself is at hand when it is admitted,
which says more than the rows of the days before.
"""

DAY_AT_LEAST = 160 * _MEGA
DAY_PER_ROW = 160
SLICED_DAY = 320 * _MEGA
SLICED_DAY_PER_ROW = 16
"""Memory that the bars of an instrument's day need, by the rows of its raw files.

Measured with all channels, beside 130 MB of libraries: 150 MB for 0.1 million rows, 265 MB for 0.7,
360 MB for 4.0 and 400 MB for 13. Files are read in slices; above the size of a few slices grows
only what exact quantiles keep of every trade.
"""

FEATURES_AT_LEAST = 96 * _MEGA
FEATURES_PER_ROW = 1_000
"""Memory that a cell of mid-frequency features needs, by its bars of all instruments.

Measured: 770 bytes a row over 300 instruments of one minute, 1,170 over 50. Instruments are
compared with each other, so that all of a day's rows are at hand at once.
"""

_LOG = logging.getLogger(__name__)


def conversion_need(compressed_bytes: int) -> int:
    """Bytes of memory that converting a file of this size takes at most.

    Example:
        >>> conversion_need(10_000_000)
        148000000
        >>> conversion_need(10_000_000_000)
        320000000
    """
    return min(NEED_AT_LEAST + NEED_PER_BYTE * compressed_bytes, NEED_AT_MOST)


def bars_need(rows: int) -> int:
    """Bytes of memory that the bars of an instrument's day take at most, with so many raw rows.

    Example:
        >>> bars_need(500_000)
        240000000
        >>> bars_need(10_000_000)
        480000000
    """
    return min(DAY_AT_LEAST + DAY_PER_ROW * rows, SLICED_DAY + SLICED_DAY_PER_ROW * rows)


def features_need(rows: int) -> int:
    """Bytes of memory that features of a cell with so many rows take at most.

    Example:
        >>> features_need(300 * 1440)
        528000000
    """
    return FEATURES_AT_LEAST + FEATURES_PER_ROW * rows


class MemoryGate:
    """Holds work back until there is memory for it.

    Args:
        ledger: Who holds how much.
        pause_s: Between two questions.
        longest_s: After so long it is an error, that another try heals.
    """

    def __init__(
        self, ledger: MemoryLedger, *, pause_s: float = _PAUSE_S, longest_s: float = _LONGEST_S
    ) -> None:
        self._ledger = ledger
        self._pause_s = pause_s
        self._longest_s = longest_s
        self.waited_s = 0.0

    @asynccontextmanager
    async def admitted(self, need_bytes: int) -> AsyncIterator[None]:
        """Wait until so much is free; it is reserved while the block runs.

        Raises:
            TransientError: it did not become free in half an hour.
            InvalidSetting: there is not so much, whoever waits.
        """
        wait = _Wait(need_bytes, self._ledger.most_bytes, self._longest_s)
        while (name := await asyncio.to_thread(self._ledger.reserve, need_bytes)) is None:
            wait.go_on()
            await asyncio.sleep(self._pause_s)
        self.waited_s += wait.end()
        try:
            yield
        finally:
            self._ledger.release(name)

    @contextmanager
    def held(self, need_bytes: int) -> Iterator[None]:
        """The same for work without an event loop.

        Raises:
            TransientError: it did not become free in half an hour.
            InvalidSetting: there is not so much, whoever waits.
        """
        wait = _Wait(need_bytes, self._ledger.most_bytes, self._longest_s)
        while (name := self._ledger.reserve(need_bytes)) is None:
            wait.go_on()
            time.sleep(self._pause_s)
        self.waited_s += wait.end()
        try:
            yield
        finally:
            self._ledger.release(name)


class _Wait:
    """One piece of work's waiting: said once, and not for ever."""

    def __init__(self, need_bytes: int, most_bytes: int, longest_s: float) -> None:
        self._need = need_bytes
        self._most = most_bytes
        self._longest_s = longest_s
        self._began = time.monotonic()
        self._is_told = False

    def go_on(self) -> None:
        """There was not enough: say so the first time, raise where it is hopeless."""
        if self._need > self._most:
            raise InvalidSetting(
                "memory of this machine or container",
                "less than one piece of work needs",
                was=f"{self._most / _MEGA:.0f} MB",
                expected=f"at least {self._need / _MEGA:.0f} MB beside what is in use",
                remedy="Give it more memory, or run this where there is more",
            )
        waited = time.monotonic() - self._began
        if waited > self._longest_s:
            raise TransientError(
                "memory for a piece of work",
                "not free",
                was=f"{self._need / _MEGA:.0f} MB needed, {waited:.0f} s of waiting",
                remedy="Run less at once, or raise MEMORY_THRESHOLD_PERCENT",
            )
        if not self._is_told:
            self._is_told = True
            _LOG.info("waits for %.0f MB of memory", self._need / _MEGA)

    def end(self) -> float:
        """Seconds that it took; nothing where there was no need to wait."""
        if not self._is_told:
            return 0.0
        waited = time.monotonic() - self._began
        _LOG.info("waited %.1f s for memory", waited)
        return waited
