"""Live bars and live ticks as lines of JSON, for a pipe.

What belongs here: one line per bar or tick. What does not: where the text goes. A line that was
written is gone: after a kill the last ones come again, which a reader knows by bar and revision, or
by a tick's number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.streaming.ports import BarBatch
from tickhandler_dagster.streaming.sinks.tick_target import (
    Delivered,
    DeliveryPolicy,
    SaveState,
    TickDelivery,
)

AT_ONCE = DeliveryPolicy(seconds=1.0, rows=20_000, bytes=32_000_000)
"""Whoever reads a pipe waits for it."""


class TextOutput(Protocol):
    """Where lines go; each `write` is of whole lines."""

    def write(self, text: str, /) -> object:
        """Take the lines."""

    def flush(self) -> object:
        """Hand them on."""


class NdjsonBarSink:
    """A `BarSink` of lines.

    Args:
        output: Where they go.
    """

    def __init__(self, output: TextOutput) -> None:
        self._output = output

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Write them; columns without a value are left out of a line."""
        for batch in batches:
            self._output.write(_lines(batch.bars))

    def flush(self) -> None:
        """Hand on what was written."""
        self._output.flush()


class NdjsonTickTarget:
    """A `TickTarget` of lines.

    Args:
        output: Where they go.
    """

    def __init__(self, output: TextOutput) -> None:
        self._output = output

    @property
    def policy(self) -> DeliveryPolicy:
        """When lines are written."""
        return AT_ONCE

    def fit(self, rows: pl.DataFrame, data_type: DataType) -> int:
        """How many of the first rows make one delivery: all of them."""
        del data_type
        return rows.height

    def deliver(
        self, delivery: TickDelivery, state: Mapping[str, Any], save: SaveState
    ) -> Delivered:
        """Write its lines, each with its data type."""
        del save
        kind = pl.lit(delivery.data_type.value).alias("data_type")
        self._output.write(_lines(delivery.rows.select(kind, pl.all())))
        self._output.flush()
        return Delivered(delivery.rows.height, 0, state)

    def close(self) -> None:
        """Nothing is held open."""


def _lines(frame: pl.DataFrame) -> str:
    if frame.is_empty():
        return ""
    stated = [name for name in frame.columns if frame[name].null_count() < frame.height]
    return frame.select(stated).write_ndjson()
