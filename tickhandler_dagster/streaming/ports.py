"""What the engine needs from the outside, and what it gives: the ports that adapters are put on.

What belongs here: protocols and the values that cross them. What does not: an implementation.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId


class Clock(Protocol):
    """The time, as one process sees it."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC; may be set back by whoever sets the host's clock."""

    def elapsed_us(self) -> int:
        """Microseconds since some moment; never goes back."""


@dataclass(frozen=True, slots=True)
class BarBatch:
    """Bars of one timeframe that are published together.

    Attributes:
        timeframe: Their length.
        bars: Rows of `LIVE_CANDLE_TABLE`, by instrument and `ts_open`.
    """

    timeframe: Timeframe
    bars: pl.DataFrame


class BarSink(Protocol):
    """Where bars go.

    The same (instrument, timeframe, ts_open, revision) may come again after a restart, with the
    same values: taking it twice has to be the same as taking it once.
    """

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Take them all.

        Raises:
            TransientError: it cannot now; the engine offers the same batches again.
        """

    def flush(self) -> None:
        """Make durable what was taken; the engine writes its checkpoint after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """How one venue's feed is doing.

    Attributes:
        venue: The venue.
        is_connected: Rows may come.
        last_arrival_us: Arrival of the newest row that was read; None before the first.
        lag_us: Now less that arrival.
        skew_us: Estimate of the host's clock less the venue's, from the smallest delays; None while
            nothing is known.
        watermark_us: Exchange time up to which bars are closed; None before the first row.
        rows: Rows read since the start, by data type.
        gaps: Interruptions since the start.
        overflows: Rows a bounded queue gave up since the start.
        is_starting: The session is young and no row has come yet (`streaming/starting.py`).
    """

    venue: VenueId
    is_connected: bool
    last_arrival_us: int | None
    lag_us: int | None
    skew_us: int | None
    watermark_us: int | None
    rows: Mapping[str, int] = field(default_factory=dict)
    gaps: int = 0
    overflows: int = 0
    is_starting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """How the engine is doing; what health checks, metrics and Dagster are told.

    Attributes:
        at: When this was said, UTC.
        feeds: Each venue's feed.
        bars: Bars published since the start, by timeframe.
        newest_close_us: End of the newest bar published, by timeframe.
        amended: Bars published again because rows came late.
        late_rows: Rows that came too late for any amendment.
        publish_delay_us: Last round: publication less the end of the bar's grace.
        spool_bytes: Size of the spool on disk.
        memory_bytes: Resident memory of the process.
    """

    at: dt.datetime
    feeds: Sequence[FeedStatus]
    bars: Mapping[Timeframe, int]
    newest_close_us: Mapping[Timeframe, int]
    amended: int
    late_rows: int
    publish_delay_us: int | None
    spool_bytes: int
    memory_bytes: int


class StatusSink(Protocol):
    """Who is told how the engine is doing; must not block, and its errors are its own."""

    def report(self, status: LiveStatus) -> None:
        """Take the latest word."""
