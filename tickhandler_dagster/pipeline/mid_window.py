"""Mids by arrival around the trades of a slice, read on as the slices go on.

What belongs here: keeping the few states that trades can still ask for. What does not: the join
(`market/bars/arrival_join.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from tickhandler_dagster.adapters.tick_arrivals import ArrivalReader
from tickhandler_dagster.market.bars.quotes import TopTicks, top_concatenated


class MidWindow:
    """The normal states of the best quotes in windows of arrival that mostly move on.

    Slices are cut by exchange time, so a window may begin before the one before it ended, and where
    the recorder's clock jumps even before the one before it began: then the files are read again
    from there. Keeping hours of states against that would cost more than reading them twice.

    Args:
        open_at: A reader of row groups in order of arrival, from a moment on.
        convert: From rows of the file to states.
    """

    def __init__(
        self,
        open_at: Callable[[int], ArrivalReader],
        convert: Callable[[pl.DataFrame], TopTicks],
    ) -> None:
        self._open_at = open_at
        self._convert = convert
        self._reader: ArrivalReader | None = None
        self._held: list[TopTicks] = []
        self._dropped_until = 0

    def states(self, first_us: int, last_us: int) -> TopTicks:
        """The states that arrived from `first_us` to `last_us` inclusive."""
        reader = self._moved_to(first_us)
        for frame in reader.until(last_us + 1):
            states = self._convert(frame)
            normal = states.take(states.is_normal)
            if len(normal):
                self._held.append(normal)
        held = top_concatenated(self._held)
        first, end = np.searchsorted(held.local_timestamp, [first_us, last_us + 1])
        return held.take(slice(int(first), int(end)))

    def _moved_to(self, first_us: int) -> ArrivalReader:
        if self._reader is None or first_us <= self._dropped_until:
            self._reader = self._open_at(first_us)
            # the reader starts here: what came before was never given, as if it had been dropped
            self._held, self._dropped_until = [], first_us - 1
        while self._held and self._held[0].local_timestamp[-1] < first_us:
            dropped = int(self._held.pop(0).local_timestamp[-1])
            self._dropped_until = max(self._dropped_until, dropped)
        return self._reader
