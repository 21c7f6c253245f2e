"""Counting the rows that break a rule, with the first, the last and a few of them.

What belongs here: the running count. What does not: which rows those are.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND, day_span_us
from tickhandler_dagster.market.quality.findings import SAMPLE_SIZE, Finding
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.venues import VenueId

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Values = Mapping[str, pl.Series | npt.NDArray[np.float64]]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment(us: int) -> dt.datetime:
    """The UTC time of microseconds since the epoch."""
    return _EPOCH + dt.timedelta(microseconds=us)


def clock_text(us: int) -> str:
    """The time of day to the second, for sentences."""
    return f"{moment(us):%H:%M:%S}"


def duration_text(us: int) -> str:
    """A length of time in words with its unit.

    Example:
        >>> duration_text(754_000_000)
        '754.0 s'
    """
    return f"{us / US_PER_SECOND:.1f} s"


@dataclass(frozen=True, slots=True)
class FileSubject:
    """The stored file that is looked at.

    Attributes:
        date: Day of the vendor's file.
        venue: Its venue.
        data_type: Its type.
        instrument_key: Whose it is.
        tick_size: Price step of the day; None where unknown.
        has_dense_ids: Its trade numbers count up by one.
    """

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    tick_size: float | None = None
    has_dense_ids: bool = False

    @property
    def day(self) -> tuple[int, int]:
        """The day's microseconds, half-open."""
        return day_span_us(self.date)

    def finding(self, rule: RuleName, broken: BrokenRows, *, of_rows: int) -> Finding | None:
        """The rows as a finding; None where there are none."""
        if not broken.rows:
            return None
        return Finding(
            date=self.date,
            venue=self.venue,
            source=self.data_type.value,
            instrument_key=self.instrument_key,
            rule=rule,
            rows=broken.rows,
            of_rows=of_rows,
            sample="; ".join(broken.sample),
            first_at=None if broken.first_us is None else moment(broken.first_us),
            last_at=None if broken.last_us is None else moment(broken.last_us),
        )


@dataclass(slots=True)
class BrokenRows:
    """Rows that break a rule, in the order in which they are met.

    Attributes:
        rows: How many.
        first_us: Exchange time of the first.
        last_us: Exchange time of the last.
        sample: A few of them in words.
    """

    rows: int = 0
    first_us: int | None = None
    last_us: int | None = None
    sample: list[str] = dataclasses.field(default_factory=list)

    def add(self, is_broken: BoolArray, exchange: Int64Array, values: Values) -> None:
        """Add a piece of the file.

        Args:
            is_broken: Per row.
            exchange: Exchange times of all rows of the piece.
            values: Columns of the piece whose values stand in the sample, by name.
        """
        places = np.flatnonzero(is_broken)
        if not len(places):
            return
        for place in places[: SAMPLE_SIZE - len(self.sample)].tolist():
            shown = ", ".join(f"{name} {column[place]}" for name, column in values.items())
            self.sample.append(f"{clock_text(int(exchange[place]))} {shown}".rstrip())
        self.rows += len(places)
        if self.first_us is None:
            self.first_us = int(exchange[places[0]])
        self.last_us = int(exchange[places[-1]])
