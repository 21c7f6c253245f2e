"""Moments and spans as callers give them: UTC, half-open, never naive.

What belongs here: reading a moment or a span, and the days it lies in. What does not: which rows a
span takes (`bars.py`, `ticks.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TypeAlias

from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import merged_spans
from tickhandler_dagster.market.days import US_PER_DAY, day_span_us
from tickhandler_dagster.market.errors import InvalidInput

Moment: TypeAlias = dt.datetime | dt.date | str
"""An aware datetime, a UTC day, or either as ISO 8601 text."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def moment_us(value: Moment, name: str = "moment") -> int:
    """Microseconds since the epoch; a day is its first moment in UTC.

    Args:
        value: The moment.
        name: What the caller calls it.

    Raises:
        InvalidInput: a time without an offset from UTC, or a text that is no time.

    Example:
        >>> moment_us(dt.date(1970, 1, 2)) == moment_us("1970-01-02T01:00:00+01:00") == US_PER_DAY
        True
    """
    if isinstance(value, str):
        return moment_us(_parsed(value, name), name)
    if not isinstance(value, dt.datetime):
        return (value.toordinal() - _EPOCH.toordinal()) * US_PER_DAY
    if value.tzinfo is None:
        raise InvalidInput(
            name,
            "a time that does not say of which zone",
            was=value.isoformat(),
            expected="a time in UTC or with an offset",
            remedy="Write datetime(..., tzinfo=timezone.utc), or give a date, which is a UTC day",
        )
    return (value - _EPOCH) // _MICROSECOND


def moment_of(us: int) -> dt.datetime:
    """The moment of so many microseconds since the epoch.

    Example:
        >>> moment_of(US_PER_DAY).isoformat()
        '1970-01-02T00:00:00+00:00'
    """
    return _EPOCH + us * _MICROSECOND


def after_included(end: Moment) -> dt.datetime:
    """The first moment after an end that is included.

    Example:
        >>> after_included(dt.date(2024, 8, 8)).isoformat()
        '2024-08-09T00:00:00+00:00'
        >>> after_included("2024-08-08T01:00Z").microsecond
        1
    """
    is_day = "T" not in end if isinstance(end, str) else not isinstance(end, dt.datetime)
    return moment_of(moment_us(end, "end_date") + (US_PER_DAY if is_day else 1))


def utc_span(start: Moment, end: Moment) -> Span:
    """The half-open span `[start, end)`.

    Raises:
        InvalidInput: a naive time, or an end before the start.

    Example:
        >>> utc_span("2024-08-08", "2024-08-09").end - utc_span("2024-08-08", "2024-08-08").start
        86400000000
    """
    span = Span(moment_us(start, "start"), moment_us(end, "end"))
    if span.end < span.start:
        raise InvalidInput(
            "end",
            "before the start",
            was=moment_of(span.end).isoformat(),
            expected=f"{moment_of(span.start).isoformat()} or later",
            remedy="Spans are [start, end): exchange the two",
        )
    return span


def spans_around(times: Iterable[Moment], before: dt.timedelta, after: dt.timedelta) -> list[Span]:
    """The time within `[t - before, t + after)` of any of the times, each moment once.

    Example:
        >>> near = spans_around(["1970-01-02"], dt.timedelta(seconds=2), dt.timedelta(seconds=1))
        >>> near[0].end - near[0].start
        3000000
    """
    back, on = before // _MICROSECOND, after // _MICROSECOND
    moments = [moment_us(time, "around") for time in times]
    return merged_spans([Span(moment - back, moment + on) for moment in moments])


def days_of(span: Span) -> list[dt.date]:
    """The UTC days that the span has moments of.

    Example:
        >>> [str(day) for day in days_of(utc_span("2024-08-08T23:00Z", "2024-08-10"))]
        ['2024-08-08', '2024-08-09']
    """
    if span.end <= span.start:
        return []
    first, last = span.start // US_PER_DAY, (span.end - 1) // US_PER_DAY
    return [_EPOCH.date() + dt.timedelta(days=number) for number in range(first, last + 1)]


def parts_of(span: Span, length: dt.timedelta) -> list[Span]:
    """The span cut into parts of so long, the last one maybe shorter.

    Example:
        >>> cut = parts_of(utc_span("2024-08-08", "2024-08-09"), dt.timedelta(hours=5))
        >>> [(part.end - part.start) // 3_600_000_000 for part in cut]
        [5, 5, 5, 5, 4]
    """
    step = length // _MICROSECOND
    return [Span(first, min(first + step, span.end)) for first in range(span.start, span.end, step)]


def by_day(span: Span) -> list[Span]:
    """The span cut at UTC midnights.

    Example:
        >>> len(by_day(utc_span("2024-08-08T23:00Z", "2024-08-10")))
        2
    """
    days = [day_span_us(day) for day in days_of(span)]
    return [Span(max(first, span.start), min(after, span.end)) for first, after in days]


def _parsed(text: str, name: str) -> dt.datetime | dt.date:
    try:
        if "T" in text or " " in text:
            return dt.datetime.fromisoformat(text)
        return dt.date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            name,
            "not a time",
            was=f"'{text}'",
            expected="2024-08-08 or 2024-08-08T12:00:00Z",
            remedy="Write it in ISO 8601",
        ) from None
