"""Whether a day has about as many rows and instruments as the days before it.

What belongs here: the comparison of numbers, its bounds with their reasons. What does not: which
manifests are read (`pipeline/count_audit.py`).
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.instrument_key import InstrumentType

TRAILING_DAYS = 7
WEEKS = 4
MIN_DAYS = 3
"""Earlier days under which nothing is judged."""

MIN_ROWS = 100
"""Rows a day has at least to be judged: of few rows, twice as many or half are nothing."""

MADS = 6.0
"""How many median absolute deviations of logs are allowed: about four standard deviations."""

FACTOR = 4.0
"""Rows of one instrument may be so many times more or fewer on any day: news does as much."""

TOTAL_FACTOR = 3.0
"""Rows of all instruments together: what moves one seldom moves all."""

LISTING_CHANGE = 0.2
LISTING_MIN = 3
"""Instruments that may come or go in a day: this share, and this many where there are few."""


def reference_days(date: dt.date) -> tuple[tuple[dt.date, ...], tuple[dt.date, ...]]:
    """The trailing week, and the same weekday of the trailing weeks.

    Example:
        >>> [day.isoformat() for day in reference_days(dt.date(2024, 8, 29))[1]]
        ['2024-08-22', '2024-08-15', '2024-08-08', '2024-08-01']
    """
    week = tuple(date - dt.timedelta(days=ago) for ago in range(1, TRAILING_DAYS + 1))
    weekdays = tuple(date - dt.timedelta(weeks=ago) for ago in range(1, WEEKS + 1))
    return week, weekdays


@dataclass(frozen=True, slots=True)
class UnusualCount:
    """A day with far more or fewer rows than others.

    Attributes:
        rows: Rows of the day.
        usual: Rows that the nearest of the references would have had.
        factor: How many times more or fewer is allowed.
        days: Earlier days it stands on.
    """

    rows: int
    usual: float
    factor: float
    days: int

    @property
    def text(self) -> str:
        """The numbers in words."""
        return (
            f"{self.rows:,} rows, {self.days} earlier days suggest {self.usual:,.0f} "
            f"(allowed {self.factor:.1f} times more or fewer)"
        )


def unusual_count(
    date: dt.date,
    today: Mapping[str, int],
    earlier: Mapping[dt.date, Mapping[str, int]],
    *,
    factor: float,
) -> UnusualCount | None:
    """Whether the rows of some instruments on a day are unusual, seen from earlier days.

    Every earlier day is compared by the instruments that it shares with the day, so that listings
    and expiries change nothing. The day is unusual where all references that have enough days say
    so: a Saturday is not the trailing week's median, and is like other Saturdays.

    Args:
        date: The day.
        today: Rows by instrument.
        earlier: The same of earlier days; days that were not ingested are absent.
        factor: How many times more or fewer is always allowed.

    Nulls: None where the day is as usual, or too few days and rows are there to tell.
    """
    found = []
    for days in reference_days(date):
        shares = [share for day in days if day in earlier if (share := _share(today, earlier[day]))]
        if len(shares) < MIN_DAYS:
            continue
        judged = _judged(shares, factor)
        if judged is None:
            return None
        found.append(judged)
    return min(found, key=lambda one: abs(math.log((one.rows + 1) / (one.usual + 1))), default=None)


def _share(today: Mapping[str, int], before: Mapping[str, int]) -> tuple[int, int] | None:
    common = today.keys() & before.keys()
    rows = sum(today[key] for key in common), sum(before[key] for key in common)
    return rows if max(rows) >= MIN_ROWS else None


def _judged(shares: Sequence[tuple[int, int]], factor: float) -> UnusualCount | None:
    ratios = [math.log((now + 1) / (then + 1)) for now, then in shares]
    median = statistics.median(ratios)
    deviation = statistics.median(abs(ratio - median) for ratio in ratios)
    allowed = max(math.log(factor), MADS * deviation)
    if abs(median) <= allowed:
        return None
    rows = max(now for now, _ in shares)
    usual = (rows + 1) / math.exp(median) - 1
    return UnusualCount(rows, usual, math.exp(allowed), len(shares))


@dataclass(frozen=True, slots=True)
class ListingChange:
    """A type of instruments of which the venue lists far more or fewer than the day before.

    Attributes:
        instrument_type: The type.
        listed: Instruments listed, or underlyings with options.
        before: The same of the day before.
        text: The numbers in words.
    """

    instrument_type: InstrumentType
    listed: int
    before: int
    text: str


def listing_changes(today: pl.DataFrame, before: pl.DataFrame) -> list[ListingChange]:
    """Types of which far more or fewer instruments are listed than the day before.

    Types without an expiry are counted. Options come and go by hundreds every day: of them only an
    underlying that has none any more counts. Futures are not judged: on a quarter's last day most
    of a venue's may go.

    Args:
        today: The universe, rows of `INSTRUMENTS_TABLE`.
        before: The universe of the day before.
    """
    changes = []
    for kind in (InstrumentType.SPOT_PAIR, InstrumentType.PERPETUAL):
        now, then = (_count(universe, kind) for universe in (today, before))
        if then and abs(now - then) > max(LISTING_MIN, LISTING_CHANGE * then):
            changes.append(
                ListingChange(kind, now, then, f"{now:,} {kind} listed, {then:,} the day before")
            )
    now_on, then_on = (_underlyings(universe) for universe in (today, before))
    gone = sorted(then_on - now_on)
    if gone:
        changes.append(
            ListingChange(
                InstrumentType.OPTION,
                len(now_on),
                len(then_on),
                f"no options on {', '.join(gone)} any more",
            )
        )
    return changes


def _count(universe: pl.DataFrame, kind: InstrumentType) -> int:
    return universe.filter(pl.col("instrument_type") == kind.value).height


def _underlyings(universe: pl.DataFrame) -> set[str]:
    options = universe.filter(pl.col("instrument_type") == InstrumentType.OPTION.value)
    return set(options["underlying"].drop_nulls())


def without_terms(universe: pl.DataFrame) -> list[str]:
    """Keys of instruments of which it is not known what a unit of their amounts is worth."""
    return universe.filter(pl.col("contract_size").is_null())["instrument_key"].to_list()
