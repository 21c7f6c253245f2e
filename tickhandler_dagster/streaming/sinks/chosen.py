"""A sink that gets some timeframes alone.

What belongs here: the choice. What does not: sinks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.ports import BarBatch, BarSink


class ChosenTimeframes:
    """Hands on bars of some timeframes.

    Args:
        sink: Who gets them.
        timeframes: Which.
    """

    def __init__(self, sink: BarSink, timeframes: Collection[Timeframe]) -> None:
        self._sink = sink
        self._timeframes = frozenset(timeframes)

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Hand on what was chosen."""
        chosen = [batch for batch in batches if batch.timeframe in self._timeframes]
        if chosen:
            self._sink.publish(chosen)

    def flush(self) -> None:
        """Make durable what was handed on."""
        self._sink.flush()
