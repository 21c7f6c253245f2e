"""A live bar as a value with a type, for subscribers in this process.

What belongs here: the value and making it from rows. What does not: which bars a subscriber wants
(`bar_filter.py`) and texts of the wire (`wire.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import polars as pl

from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.timeframes import Timeframe

IDENTITY = ("instrument_key", "timeframe", "ts_open", "ts_close", "revision", "stage")
"""Columns that every subscriber gets: without them a bar cannot be told from another."""


@dataclass(frozen=True, slots=True)
class LiveBar:
    """One publication of one bar.

    Attributes:
        instrument_key: Whose.
        timeframe: Its length.
        ts_open: First moment of the bar, UTC.
        ts_close: First moment after it, UTC.
        revision: The highest one of a bar counts.
        stage: What this publication is.
        values: Every other column that was asked for and is there, by name; None is "undefined".
        is_history: It was published before the subscription began; it has the columns that are
            remembered, which may be fewer.
    """

    instrument_key: str
    timeframe: Timeframe
    ts_open: dt.datetime
    ts_close: dt.datetime
    revision: int
    stage: LiveStage
    values: Mapping[str, Any]
    is_history: bool = False

    @property
    def key(self) -> tuple[str, Timeframe, dt.datetime, int]:
        """What makes two deliveries the same one."""
        return self.instrument_key, self.timeframe, self.ts_open, self.revision


def live_bars(frame: pl.DataFrame, *, is_history: bool = False) -> Iterator[LiveBar]:
    """Rows as bars, in their order.

    Example:
        >>> moment = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
        >>> end = moment + dt.timedelta(seconds=15)
        >>> row = ("BINANCE:SPOT_PAIR:BTC-USDT", "15s", moment, end, 1, "provisional", 60_000.5)
        >>> frame = pl.DataFrame([row], schema=[*IDENTITY, "close"], orient="row")
        >>> [(bar.timeframe.us, bar.stage.name, bar.values["close"]) for bar in live_bars(frame)]
        [(15000000, 'PROVISIONAL', 60000.5)]
    """
    for row in frame.iter_rows(named=True):
        yield LiveBar(
            instrument_key=row.pop("instrument_key"),
            timeframe=Timeframe(row.pop("timeframe")),
            ts_open=row.pop("ts_open"),
            ts_close=row.pop("ts_close"),
            revision=row.pop("revision"),
            stage=LiveStage(row.pop("stage")),
            values=MappingProxyType(row),
            is_history=is_history,
        )
