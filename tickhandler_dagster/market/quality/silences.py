"""Which pauses are silences: longer than the instrument's own rate explains.

What belongs here: the rate of an hour and the threshold that follows. What does not: pauses
(`arrivals.py`) and what covers a silence (`tick_gaps.py`).

The threshold of an hour is the largest of three times: the floor; twice what a log-normal tail
through the ninety and ninety-nine per cent points of the waiting times foretells for the longest of
so many; twice the waiting time beyond which only a tenth of the time passes. The tail is log-normal
and not exponential because real waiting times have heavy tails: an exponential one through the same
points calls a quarter of all days of such instruments silent. The longest waiting time of the
window is left out of all of it, so that a hole does not set the measure that it is held against,
and quantiles bear a few more holes. Waiting times are those between seconds with rows: rows of one
burst count once.

Left undone: a model of the bursts (a self-exciting process), which would find shorter holes and
needs a fit per instrument and day that fails where there is little data.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.quality.arrivals import SECONDS, Arrivals, Pause
from tickhandler_dagster.market.quality.audit_limits import (
    MIN_GAPS,
    MIN_SILENCE_S,
    SILENCE_FACTOR,
    TAIL_RISK,
    TIME_SHARE,
    WINDOW_HOURS,
)
from tickhandler_dagster.market.quality.broken_rows import BoolArray, Int64Array

_HOUR_S = 3600
_HIGH, _HIGHER = 0.90, 0.99
_Z_HIGH, _Z_HIGHER = (NormalDist().inv_cdf(share) for share in (_HIGH, _HIGHER))


@dataclass(frozen=True, slots=True)
class Silence:
    """A pause that the rate does not explain.

    Attributes:
        pause: From when to when.
        limit_s: What the rate explains, in seconds.
    """

    pause: Pause
    limit_s: float


class RowSpan(NamedTuple):
    """When rows of an instrument can come: listed, exported, of the day.

    Attributes:
        start_us: First moment.
        end_us: First moment after it.
        is_start_known: It is not only the day on which the listing began: the vendor gives dates,
            and on such a day no row before the first is no silence.
        is_end_known: It is not only the day on which the listing ended.
    """

    start_us: int
    end_us: int
    is_start_known: bool = True
    is_end_known: bool = True


def silences(arrivals: Arrivals, span: RowSpan, *, day_start_us: int) -> list[Silence]:
    """The pauses inside the span that are longer than the rate explains, in order of time.

    Args:
        arrivals: When rows came.
        span: When rows can come.
        day_start_us: Start of the day.

    Units: microseconds since the epoch.
    """
    rates = _Rates(arrivals.is_active)
    found = []
    for pause in pauses_inside(arrivals, span):
        if pause.us < MIN_SILENCE_S * US_PER_SECOND:
            continue
        limit = rates.limit(pause, day_start_us)
        if limit is not None and pause.us > limit * US_PER_SECOND:
            found.append(Silence(pause, limit))
    return found


def pauses_inside(arrivals: Arrivals, span: RowSpan) -> Iterator[Pause]:
    """The pauses between rows, and those from and to the edges of the span, clipped to it."""
    first, last = arrivals.first, arrivals.last
    if first is None or last is None:
        return
    start, end = span.start_us, span.end_us
    lead = Pause(start, first.start_us, start, first.exchange_start_us)
    tail = Pause(last.end_us, end, last.exchange_end_us, end)
    leads = [lead] if span.is_start_known else []
    tails = [tail] if span.is_end_known else []
    for pause in (*leads, *arrivals.pauses, *tails):
        edges = (pause.start_us, pause.exchange_start_us, pause.end_us, pause.exchange_end_us)
        if pause.us > 0 and start <= min(edges) and max(edges) <= end:
            yield pause  # as most are: a day of options has hundreds of thousands
            continue
        inside = dataclasses.replace(
            pause,
            start_us=max(pause.start_us, start),
            end_us=min(pause.end_us, end),
            exchange_start_us=max(pause.exchange_start_us, start),
            exchange_end_us=min(pause.exchange_end_us, end),
        )
        if inside.us > 0:
            yield inside


def longest_pause(arrivals: Arrivals, span: RowSpan) -> Pause | None:
    """The longest time inside the span without a row; None without rows."""
    longest = [] if arrivals.longest is None else [arrivals.longest]
    pauses = [*pauses_inside(arrivals, span), *longest]
    return max(pauses, key=lambda pause: (pause.us, -pause.start_us), default=None)


def venue_arrivals(activities: list[Arrivals], day_start_us: int) -> Arrivals:
    """When a row of any of them came, to the second."""
    is_active: BoolArray = np.zeros(SECONDS, dtype=np.bool_)
    for arrivals in activities:
        is_active |= arrivals.is_active
    seconds = np.flatnonzero(is_active)
    if not len(seconds):
        return Arrivals(is_active)

    def pause(start_s: int, end_s: int) -> Pause:
        start, end = (day_start_us + second * US_PER_SECOND for second in (start_s, end_s))
        return Pause(start, end, start, end)

    waits = np.diff(seconds)
    pauses = tuple(
        pause(int(seconds[place]) + 1, int(seconds[place + 1]))
        for place in np.flatnonzero(waits > MIN_SILENCE_S)
    )
    first, last = int(seconds[0]), int(seconds[-1]) + 1
    return Arrivals(is_active, pauses, pause(first, first), pause(last, last))


class _Rates:
    """What the waiting times of each hour explain; computed for the hours that are asked."""

    def __init__(self, is_active: BoolArray) -> None:
        seconds = np.flatnonzero(is_active)
        self._starts = seconds[:-1]
        self._waits = np.diff(seconds)
        self._limits: dict[int, float | None] = {}

    def limit(self, pause: Pause, day_start_us: int) -> float | None:
        """The longest pause that the rates at both of its ends explain; None without a rate.

        Units: seconds.
        """
        limits = [
            self._of_hour((edge - day_start_us) // US_PER_SECOND // _HOUR_S)
            for edge in (pause.start_us, pause.end_us - 1)
        ]
        known = [limit for limit in limits if limit is not None]
        return max(known, default=None)

    def _of_hour(self, hour: int) -> float | None:
        if hour not in self._limits:
            start = (hour - WINDOW_HOURS) * _HOUR_S
            end = (hour + 1 + WINDOW_HOURS) * _HOUR_S
            ends = self._starts + self._waits
            waits = self._waits[(ends > start) & (self._starts < end)]
            if len(waits) < MIN_GAPS:
                waits = self._waits
            self._limits[hour] = None if len(waits) < MIN_GAPS else explained_s(waits)
        return self._limits[hour]


def explained_s(waits: Int64Array) -> float:
    """The longest waiting time that the others explain.

    Args:
        waits: Waiting times, at least two, in any order; the longest is left out.

    Units: seconds.
    """
    ordered = np.sort(waits)[:-1]
    high, higher = np.quantile(ordered, (_HIGH, _HIGHER))
    scale = math.log(higher / high) / (_Z_HIGHER - _Z_HIGH)
    farthest = NormalDist().inv_cdf(1 - TAIL_RISK / len(ordered))
    foretold = float(higher) * math.exp(scale * (farthest - _Z_HIGHER))
    passed = np.cumsum(ordered)
    usual = float(ordered[np.searchsorted(passed, TIME_SHARE * passed[-1])])
    return max(float(MIN_SILENCE_S), SILENCE_FACTOR * foretold, SILENCE_FACTOR * usual)
