"""Facts of the rows of a raw file that its manifest row states: counts and extremes of both clocks.

What belongs here: facts that add up over parts of a file, in any cut. Digests and sizes come from
the files themselves.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.days import day_span_us


@dataclass(frozen=True, slots=True, kw_only=True)
class TickFacts:
    """What `ManifestRow` says of the rows in the lake, field by field; parts add up with `+`."""

    rows: int = 0
    first_timestamp: dt.datetime | None = None
    last_timestamp: dt.datetime | None = None
    first_local_timestamp: dt.datetime | None = None
    last_local_timestamp: dt.datetime | None = None
    rows_before_day: int = 0
    rows_after_day: int = 0
    last_local_before_day: dt.datetime | None = None
    first_local_after_day: dt.datetime | None = None
    rows_without_exchange_time: int = 0

    def __add__(self, other: TickFacts) -> TickFacts:
        return TickFacts(
            rows=self.rows + other.rows,
            first_timestamp=_lower(self.first_timestamp, other.first_timestamp),
            last_timestamp=_higher(self.last_timestamp, other.last_timestamp),
            first_local_timestamp=_lower(self.first_local_timestamp, other.first_local_timestamp),
            last_local_timestamp=_higher(self.last_local_timestamp, other.last_local_timestamp),
            rows_before_day=self.rows_before_day + other.rows_before_day,
            rows_after_day=self.rows_after_day + other.rows_after_day,
            last_local_before_day=_higher(self.last_local_before_day, other.last_local_before_day),
            first_local_after_day=_lower(self.first_local_after_day, other.first_local_after_day),
            rows_without_exchange_time=self.rows_without_exchange_time
            + other.rows_without_exchange_time,
        )


def facts_of(frame: pl.DataFrame, day: dt.date) -> TickFacts:
    """The facts of some rows of the file of `day`.

    Args:
        frame: Has the columns `timestamp` and `local_timestamp`, without nulls.
        day: The file's day.
    """
    start, end = day_span_us(day)
    exchange, local = pl.col("timestamp"), pl.col("local_timestamp")
    before, after = exchange.to_physical() < start, exchange.to_physical() >= end
    record = frame.select(
        rows=pl.len(),
        first_timestamp=exchange.min(),
        last_timestamp=exchange.max(),
        first_local_timestamp=local.min(),
        last_local_timestamp=local.max(),
        rows_before_day=before.sum(),
        rows_after_day=after.sum(),
        last_local_before_day=local.filter(before).max(),
        first_local_after_day=local.filter(after).min(),
        rows_without_exchange_time=(exchange == local).sum(),
    ).row(0, named=True)
    return TickFacts(**record)


def _lower(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _higher(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return max((value for value in (one, other) if value is not None), default=None)
