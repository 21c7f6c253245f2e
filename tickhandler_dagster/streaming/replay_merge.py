"""Many streams of rows as one, in order of arrival, step by step.

What belongs here: the order, in bounded memory. What does not: when a step is due (`replay.py`).

The order of rows depends on the rows alone, not on the steps: so a replay that was killed can find
its place by counting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tickhandler_dagster.adapters.spool_lines import empty_rows
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.replay_sources import ReplayStream

RowFolder = tuple[VenueId, DataType]

_ARRIVAL = "local_timestamp"


class _Head:
    """A stream and the rows read of it that were not given yet."""

    def __init__(self, stream: ReplayStream, start_us: int) -> None:
        self.folder: RowFolder = (stream.venue, stream.data_type)
        self._frames = stream.read(start_us)
        self._start_us = start_us
        self._rest = empty_rows(stream.data_type)
        self._is_over = False

    def next_us(self) -> int | None:
        """Arrival of the next row; None where there is none."""
        while self._rest.is_empty() and not self._is_over:
            self._read()
        return None if self._rest.is_empty() else _arrival(self._rest, 0)

    def until(self, end_us: int) -> pl.DataFrame:
        """The next rows that arrived before a moment."""
        while not self._is_over and (self._rest.is_empty() or _arrival(self._rest, -1) < end_us):
            self._read()
        # rows of one stream arrived in order, up to clocks set back: nothing is passed over
        later = (self._rest.get_column(_ARRIVAL).to_physical() >= end_us).arg_true()
        cut = later[0] if later.len() else self._rest.height
        given, self._rest = self._rest[:cut], self._rest[cut:]
        return given

    def _read(self) -> None:
        frame = next(self._frames, None)
        if frame is None:
            self._is_over = True
            return
        wanted = frame.filter(pl.col(_ARRIVAL).to_physical() >= self._start_us)
        self._rest = pl.concat([self._rest, wanted]) if self._rest.height else wanted


class MergedReplay:
    """The rows of all streams; give moments that go up.

    Args:
        streams: What is merged; of rows that arrived together, the earlier stream's come first.
        start_us: Rows that arrived before are left out.
    """

    def __init__(self, streams: Sequence[ReplayStream], start_us: int = -(2**62)) -> None:
        self._heads = [_Head(stream, start_us) for stream in streams]

    def next_us(self) -> int | None:
        """Arrival of the next row; None at the end."""
        return min((at for head in self._heads if (at := head.next_us()) is not None), default=None)

    def until(self, end_us: int) -> Iterator[tuple[RowFolder, pl.DataFrame]]:
        """The next rows that arrived before a moment, by venue and data type.

        Shape: each in order of arrival, with the columns `SpoolReader.tail` gives.
        """
        found: dict[RowFolder, list[pl.DataFrame]] = {}
        for head in self._heads:
            rows = head.until(end_us)
            if not rows.is_empty():
                found.setdefault(head.folder, []).append(rows)
        for folder, frames in found.items():
            if len(frames) == 1:
                yield folder, frames[0]
            else:
                yield folder, pl.concat(frames).sort(_ARRIVAL, maintain_order=True)


def _arrival(frame: pl.DataFrame, row: int) -> int:
    return int(frame.get_column(_ARRIVAL).to_physical()[row])
