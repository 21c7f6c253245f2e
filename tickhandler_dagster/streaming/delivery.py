"""Bars on their way to the sinks: each sink takes every batch, in order, however late.

What belongs here: what was not taken yet. What does not: when bars are made (`engine.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tickhandler_dagster.market.errors import TransientError
from tickhandler_dagster.streaming.ports import BarBatch, BarSink


class Delivery:
    """Hands batches to sinks.

    What a sink does not take now is offered again. While anything waits no new bars are made: the
    spool holds the rows, so what waits is never more than the bars of one round.

    Args:
        sinks: Where bars go.
    """

    def __init__(self, sinks: Sequence[BarSink]) -> None:
        self._sinks = [(sink, deque[tuple[BarBatch, ...]]()) for sink in sinks]
        self._is_flushed = True
        self.failures = 0
        """Times a sink could not take what it was offered."""
        self.trouble = ""
        """What is in the way of what waits; empty once all of it is durable."""

    def put(self, batches: Sequence[BarBatch]) -> None:
        """Offer batches to every sink, after what still waits there."""
        self._is_flushed = False
        for _, waiting in self._sinks:
            waiting.append(tuple(batches))
        self._try()

    def settle(self) -> bool:
        """Offer what waits again, then make it durable; says whether all of it is."""
        if self._is_flushed:
            return True
        self._try()
        if any(waiting for _, waiting in self._sinks):
            return False
        try:
            for sink, _ in self._sinks:
                sink.flush()
        except TransientError as error:
            self._note(error)
            return False
        self._is_flushed, self.trouble = True, ""
        return True

    def _try(self) -> None:
        for sink, waiting in self._sinks:
            while waiting:
                try:
                    sink.publish(waiting[0])
                except TransientError as error:
                    self._note(error)
                    break
                waiting.popleft()

    def _note(self, error: TransientError) -> None:
        self.failures += 1
        self.trouble = str(error)
