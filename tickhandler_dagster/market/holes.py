"""The holes of one instrument's day as numbers and words: known gaps merged, each moment once.

What belongs here: arithmetic on gaps. What does not: finding them (`quality/`) and the state they
lead to (`completeness.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tickhandler_dagster.market.catalog import midnight
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.quality.gaps import Gap, GapKind

_US = dt.timedelta(microseconds=1)
_UNITS = (("h", 3_600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class Holes:
    """Holes of a day.

    Attributes:
        spans: Half-open spans inside the day, in order, apart from each other.
        lost_trades: Trades that numbers prove lost; None where numbers prove nothing.
    """

    spans: tuple[tuple[dt.datetime, dt.datetime], ...] = ()
    lost_trades: int | None = None

    @cached_property
    def us(self) -> int:
        """Time that the holes cover.

        Units: microseconds.
        """
        return sum((end - start) // _US for start, end in self.spans)

    @cached_property
    def longest(self) -> tuple[dt.datetime, dt.datetime] | None:
        """The longest hole, the earliest of several; None where there is none."""
        return max(
            self.spans, key=lambda span: (span[1] - span[0], -span[0].timestamp()), default=None
        )

    @property
    def sentence(self) -> str:
        """Number, time and place of the holes in words; empty where there is none.

        Example:
            >>> day = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
            >>> Holes(((day, day + dt.timedelta(minutes=10)),), lost_trades=412).sentence
            '1 hole of 10 min, 00:00:00 to 00:10:00, 412 trades lost'
        """
        if self.longest is None:
            return ""
        start, end = self.longest
        form = "microseconds" if end - start < dt.timedelta(seconds=1) else "seconds"
        first, last = (_clock(moment, start, form) for moment in (start, end))
        place = f"{first} to {last}"
        if len(self.spans) == 1:
            text = f"1 hole of {duration(self.us)}, {place}"
        else:
            text = f"{len(self.spans):,} holes, {duration(self.us)} in all; the longest {place}"
        if not self.lost_trades:
            return text
        return f"{text}, {self.lost_trades:,} trade{'s' * (self.lost_trades > 1)} lost"


def holes_of(date: dt.date, gaps: Sequence[Gap], *, lost_in_file: int | None = None) -> Holes:
    """The holes that gaps of one instrument and data type make together.

    Gaps that overlap or touch are one hole: an incident, the silence it caused and the trade
    numbers that are missing afterwards tell of the same one.

    Args:
        date: The day; what lies outside is cut off.
        gaps: In any order.
        lost_in_file: Trades that the numbers inside the file prove lost; None where they prove
            nothing.
    """
    first = midnight(date)
    last = first + dt.timedelta(days=1)
    spans: list[tuple[dt.datetime, dt.datetime]] = []
    for start, end in sorted(
        (min(max(gap.gap_start, first), last), min(max(gap.gap_end, first), last)) for gap in gaps
    ):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return Holes(tuple(spans), _lost(gaps, lost_in_file))


def _lost(gaps: Iterable[Gap], lost_in_file: int | None) -> int | None:
    """The larger of two counts: gaps know the edges of the file too, the file may list no gap."""
    counts = [
        gap.lost_trades
        for gap in gaps
        if gap.kind is GapKind.LOST_IDS and gap.lost_trades is not None
    ]
    known = [sum(counts)] if counts else []
    return max([*known, *([] if lost_in_file is None else [lost_in_file])], default=None)


def duration(microseconds: int) -> str:
    """A time span in hours, minutes and seconds; below a second in milliseconds.

    Example:
        >>> duration(603_000_000), duration(86_400_000_000), duration(250_000), duration(0)
        ('10 min 3 s', '24 h', '250 ms', '0 ms')
    """
    if microseconds < US_PER_SECOND:
        return f"{microseconds / 1000:g} ms"
    left, parts = microseconds // US_PER_SECOND, []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts)


def _clock(moment: dt.datetime, since: dt.datetime, form: str) -> str:
    """The time of day; the end of the day is 24:00:00."""
    if moment.date() > since.date():
        return "24:00:00"
    return moment.time().isoformat(timespec=form)
