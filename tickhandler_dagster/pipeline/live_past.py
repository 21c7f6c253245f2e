"""What the comparisons of the days before found of an instrument.

What belongs here: reading stored differences of earlier days. What does not: which of them matter
(`market/live/parity_past.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.trade_memory import MEMORY_DAYS
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_files import LiveDifferencesFile
from tickhandler_dagster.market.live.parity_past import (
    OF_MEMORY,
    OF_ROWS,
    PAST_COLUMNS,
    LivePast,
    disturbed_bars,
)
from tickhandler_dagster.market.timeframes import Timeframe


class LivePasts:
    """The days before a cell, as far as its bars can look back, instrument by instrument.

    A day that was never compared says nothing.

    Args:
        lake: Where differences are.
        cell: Day and venue.
    """

    def __init__(self, lake: Lake, cell: VenueDay) -> None:
        days = [cell.date - dt.timedelta(days=back) for back in range(1, MEMORY_DAYS + 1)]
        scans = [lake.scan(LiveDifferencesFile(day, cell.venue)) for day in days]
        self._before = scans[0]
        self._otherwise = set(_instruments(scans))
        self._last: tuple[str, pl.DataFrame | None] = ("", None)

    def of(self, key: str, timeframe: Timeframe) -> LivePast:
        """What the instrument's bars look back at; that asked for last is kept."""
        is_otherwise = key in self._otherwise
        if self._before is None:
            return LivePast(is_remembered_otherwise=is_otherwise)
        if self._last[0] != key:
            is_own = (pl.col("instrument_key") == key) & _has(*OF_ROWS)
            self._last = (key, self._before.filter(is_own).select(PAST_COLUMNS).collect())
        rows = self._last[1]
        assert rows is not None  # noqa: S101  (read just now)
        own = rows.filter(pl.col("timeframe") == timeframe.value)
        return LivePast(disturbed_bars(own), is_remembered_otherwise=is_otherwise)


def _instruments(scans: list[pl.LazyFrame | None]) -> Iterator[str]:
    """Instruments with a difference that their memories have too."""
    for scan in scans:
        if scan is not None:
            keys = scan.filter(_has(*OF_MEMORY)).select("instrument_key").unique()
            yield from keys.collect(engine="streaming")["instrument_key"]


def _has(*causes: str) -> pl.Expr:
    return pl.col("cause").is_in([str(one) for one in causes])
