"""Live bars as files of the lake.

What belongs here: holding what is published until it is flushed, and putting hours together in the
background. What does not: the files (`pipeline/live_candles.py`).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.errors import StorageUnavailable, TickhandlerError
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.live_candles import (
    LiveHour,
    compact_hour,
    live_hours,
    write_live_candles,
)
from tickhandler_dagster.streaming.ports import BarBatch

MOST_WAITING_ROWS = 200_000
"""Half a gigabyte of bars: beyond, a lake that takes nothing is the engine's to hear of."""

_SETTLED = dt.timedelta(minutes=10)
"""After an hour's last close: amendments come for five minutes, and a part more does no harm."""

_log = logging.getLogger(__name__)


class ParquetBarSink:
    """Bars into the lake, in files of a round that become files of an hour.

    Args:
        lake: Where to.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._waiting: list[pl.DataFrame] = []
        self._in_parts: set[LiveHour] = set()
        self._seen: set[tuple[dt.date, Timeframe, VenueId]] = set()
        self._newest: dt.datetime | None = None
        self._background = ThreadPoolExecutor(1, thread_name_prefix="live-hours")
        self._merge: Future[None] | None = None

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Hold them until `flush`.

        Raises:
            StorageUnavailable: too many are held already, as nothing can be written.
        """
        if sum(frame.height for frame in self._waiting) > MOST_WAITING_ROWS:
            raise StorageUnavailable(
                "live bars",
                "the lake takes nothing, and enough wait in memory",
                was=f"more than {MOST_WAITING_ROWS} rows",
                remedy="See the errors before this one; the same bars are offered again",
            )
        self._waiting.extend(batch.bars for batch in batches if batch.bars.height)

    def flush(self) -> None:
        """Write what is held; it is in the lake when this returns.

        Raises:
            StorageFull: the device has no space left; everything is still held.
            StorageUnavailable: the bucket does not answer; the same.
        """
        if self._waiting:
            bars = pl.concat(self._waiting)
            hours = write_live_candles(self._lake, bars)
            self._waiting.clear()
            self._in_parts.update(hours)
            self._adopt(hours)
            newest: dt.datetime = bars.get_column("ts_close").max()  # type: ignore[assignment]
            self._newest = max(newest, self._newest or newest)
        self._merge_settled()

    def close(self) -> None:
        """Write what is held and wait for the hour that is being put together."""
        self.flush()
        self._background.shutdown(wait=True)

    def _adopt(self, hours: Sequence[LiveHour]) -> None:
        """Hours of the day and the day before that a process before this one left in parts."""
        for hour in hours:
            cell = (hour.start.date(), hour.timeframe, hour.venue)
            if cell not in self._seen:
                self._seen.add(cell)
                for day in (cell[0] - dt.timedelta(days=1), cell[0]):
                    self._in_parts.update(live_hours(self._lake, day, *cell[1:]))

    def _merge_settled(self) -> None:
        if self._newest is None or (self._merge is not None and not self._merge.done()):
            return
        limit = self._newest - _SETTLED
        due = sorted(
            (hour for hour in self._in_parts if hour.last_close <= limit),
            key=lambda hour: (hour.start, hour.timeframe.us, hour.venue),
        )
        if due:
            self._in_parts.difference_update(due)
            self._merge = self._background.submit(self._put_together, due)

    def _put_together(self, hours: Sequence[LiveHour]) -> None:
        """An hour that cannot be put together stays in parts: slower to read, and as right."""
        for hour in hours:
            try:
                compact_hour(self._lake, hour)
            except TickhandlerError as error:
                _log.warning("live bars of %s stay in parts: %s", hour.start, error)
