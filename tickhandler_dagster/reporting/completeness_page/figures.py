"""What a page shows without scripts: totals, the table of streams, the trend as points.

What belongs here: numbers as texts with units. What does not: markup (`page.html.j2`) and what the
scripts read (`payload.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.completeness_report import CompletenessReport
from tickhandler_dagster.reporting.completeness_page.payload import BADNESS

TREND_WIDTH = 1000
TREND_HEIGHT = 180

_THOUSAND = 1000
_BILLION = 10**9
_MAX_TICKS = 8
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A line of the table of streams.

    Attributes:
        venue: Tardis exchange id.
        data_type: Tardis data type.
        share: Mean share of complete instruments over the days; None where nothing is listed.
        days: Days without a completeness table.
        counts: (State, instrument-days) in the order of `BADNESS`.
    """

    venue: str
    data_type: str
    share: float | None
    days: int
    counts: tuple[tuple[DataState, int], ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """A line of weekly shares in a picture `TREND_WIDTH` by `TREND_HEIGHT`.

    Attributes:
        points: (x, y, text) of each week.
        ticks: (x, text) along the bottom.
        floor: The share at the bottom, so that small losses are seen.
    """

    points: tuple[tuple[float, float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    floor: float

    @property
    def path(self) -> str:
        """The points as the attribute of a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


def stream_rows(report: CompletenessReport) -> list[StreamRow]:
    """One row per venue and data type, in the order of the grid."""
    shares = report.shares().group_by("venue", "data_type").agg(pl.col("share").mean())
    by_stream = {(venue, kind): share for venue, kind, share in shares.iter_rows()}
    sums = report.counts.group_by("venue", "data_type", "state", "is_whole_cell").agg(
        pl.col("instruments").sum()
    )
    counts = {row[:4]: row[4] for row in sums.iter_rows()}
    return [
        StreamRow(
            venue=str(venue),
            data_type=str(kind),
            share=by_stream.get((str(venue), str(kind))),
            days=sum(counts.get((str(venue), str(kind), str(state), True), 0) for state in BADNESS),
            counts=tuple(
                (state, counts.get((str(venue), str(kind), str(state), False), 0))
                for state in BADNESS
            ),
        )
        for venue, kind in report.span.streams
    ]


def trend(report: CompletenessReport) -> Trend:
    """The weekly shares as a line."""
    weekly = report.weekly()
    weeks: list[dt.date] = weekly["week"].to_list()
    shares: list[float] = weekly["share"].to_list()
    lowest = min(shares, default=1.0)
    floor = max(0.0, int(lowest * 10 - 1e-9) / 10)
    first, last = (weeks[0], weeks[-1]) if weeks else (report.span.start, report.span.end)
    width = max((last - first).days, 1)

    def place(week: dt.date) -> float:
        return round((week - first).days / width * TREND_WIDTH, 1)

    points = tuple(
        (
            place(week),
            round((1 - share) / (1 - floor) * TREND_HEIGHT, 1) if floor < 1 else 0.0,
            f"week of {week}: {percent(share)} complete over {count(cells)} cells",
        )
        for week, share, cells in weekly.iter_rows()
    )
    step = max(1, -(-len(weeks) // _MAX_TICKS))
    return Trend(points, tuple((place(week), str(week)) for week in weeks[::step]), floor)


def count(number: int | None) -> str:
    """A number of things.

    Example:
        >>> count(1234567), count(None)
        ('1,234,567', 'n/a')
    """
    return "n/a" if number is None else f"{number:,}"


def large(number: int) -> str:
    """A number of things that may be too long to be read; exact below a billion.

    Example:
        >>> large(15_300_000_000), large(153_000)
        ('15.3 billion', '153,000')
    """
    return count(number) if number < _BILLION else f"{number / _BILLION:,.1f} billion"


def percent(share: float | None) -> str:
    """A share in percent; whole hundreds only where nothing at all is missing.

    Example:
        >>> percent(0.99999), percent(1.0), percent(0.5), percent(None)
        ('99.99 %', '100 %', '50.00 %', 'n/a')
    """
    if share is None:
        return "n/a"
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"


def size(number: int) -> str:
    """Bytes in the largest decimal unit that keeps a whole digit.

    Example:
        >>> size(999), size(12_345_678)
        ('999 B', '12.3 MB')
    """
    units: Sequence[str] = ("B", "kB", "MB", "GB", "TB", "PB")
    value, place = float(number), 0
    while value >= _THOUSAND and place < len(units) - 1:
        value, place = value / _THOUSAND, place + 1
    return f"{number} B" if place == 0 else f"{value:.1f} {units[place]}"


def duration(microseconds: int | None) -> str:
    """A time in its two largest units.

    Example:
        >>> duration(600_000_000), duration(93_600_000_000), duration(1_500_000), duration(0)
        ('10 min 0 s', '1 d 2 h', '1.5 s', '0 s')
    """
    if microseconds is None:
        return "n/a"
    seconds = microseconds / 1e6
    names = [name for name, _ in _UNITS] + ["s"]
    for place, (name, length) in enumerate(_UNITS):
        if seconds >= length:
            below = _UNITS[place + 1][1] if place + 1 < len(_UNITS) else 1
            rest = int(seconds % length // below)
            return f"{int(seconds // length):,} {name} {rest} {names[place + 1]}"
    return f"{seconds:g} s"
