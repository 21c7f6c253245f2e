"""Which bars of a venue are due, and which have to be built again.

What belongs here: the edges between open, provisional and complete bars, and late rows. What does
not: how far time has come (`market/live/watermark.py`) and building (`rounds.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.pipeline.related_days import TICKER_REACH_US
from tickhandler_dagster.streaming.bar_records import WIDTH_US
from tickhandler_dagster.streaming.windows import AHEAD_US

AMEND_US = 300 * US_PER_SECOND
"""How long after a bar was complete late rows still change it."""

_MIDS_WAIT_US = 60 * US_PER_SECOND
"""A trade later than this after its bar's end no longer holds up the bar's completion."""


CLOCKS_US = 5 * US_PER_SECOND
"""How far the two clocks of a row may be apart when rows of an age are looked for."""


def ticker_from(open_us: int) -> int:
    """Arrival of the oldest ticker row that the next day to begin after a bar begins from."""
    return -(-open_us // US_PER_DAY) * US_PER_DAY - TICKER_REACH_US - CLOCKS_US


@dataclass(slots=True)
class LateRows:
    """Rows of an instrument that came after their bars were complete.

    Attributes:
        first_us: Exchange time of the first.
        last_us: Exchange time of the last.
        ready_us: Arrival from which on all that their bars need is there.
    """

    first_us: int
    last_us: int
    ready_us: int

    def join(self, other: LateRows) -> None:
        """Take more of them."""
        self.first_us = min(self.first_us, other.first_us)
        self.last_us = max(self.last_us, other.last_us)
        self.ready_us = max(self.ready_us, other.ready_us)


@dataclass(frozen=True, slots=True)
class Due:
    """What a round makes.

    Attributes:
        provisional: First moments of bars published for the first time, in order.
        complete: First moments of bars that are complete, in order.
        amended: Late rows by symbol.
        until_us: Arrival of the newest row that was read.
    """

    provisional: tuple[int, ...]
    complete: tuple[int, ...]
    amended: Mapping[str, LateRows]
    until_us: int

    def __bool__(self) -> bool:
        return bool(self.provisional or self.complete or self.amended)


@dataclass(slots=True)
class Edges:
    """How far the bars of a venue are.

    Attributes:
        first_us: The first bar of all.
        began_us: When rows began to be seen: what of the first bar lies before it was not.
        provisional_us: The first bar not yet published.
        complete_us: The first bar not yet complete.
        held: By bar not yet complete, the latest arrival of a trade that came after its grace.
        late: Rows that came after their bars were complete, by symbol.
        late_rows: Rows too late for any amendment.
    """

    first_us: int
    began_us: int
    provisional_us: int
    complete_us: int
    held: dict[int, int] = field(default_factory=dict)
    late: dict[str, LateRows] = field(default_factory=dict)
    late_rows: int = 0

    @classmethod
    def at(cls, first_row_us: int) -> Edges:
        """The edges when the first row of all has come."""
        first = _open_of(first_row_us)
        return cls(first, first_row_us, first, first)

    def begin_at(self, first_row_us: int) -> bool:
        """Begin earlier, as long as no bar is out; says whether none is."""
        if self.provisional_us > self.first_us:
            return False
        if first_row_us < self.began_us:
            self.began_us = first_row_us
            self.first_us = self.provisional_us = self.complete_us = _open_of(first_row_us)
        return True

    def due(self, watermark_us: int, until_us: int, *, moments: int = 2**31) -> Due:
        """What is due when every row up to the watermark is in.

        Args:
            watermark_us: The watermark.
            until_us: Arrival of the newest row that was read.
            moments: Bars of one instrument of each stage at most, the oldest.
        """
        provisional = range(self.provisional_us, watermark_us - WIDTH_US + 1, WIDTH_US)[:moments]
        edge = provisional[-1] + WIDTH_US if provisional else self.provisional_us
        complete: list[int] = []
        open_us = self.complete_us
        while (
            open_us < edge
            and len(complete) < moments
            and self._completes_us(open_us) <= watermark_us
        ):
            complete.append(open_us)
            open_us += WIDTH_US
        ready = {
            symbol: rows for symbol, rows in self.late.items() if rows.ready_us <= watermark_us
        }
        return Due(tuple(provisional), tuple(complete), ready, until_us)

    def take(self, due: Due) -> None:
        """Move on: all that was due has been made."""
        if due.provisional:
            self.provisional_us = due.provisional[-1] + WIDTH_US
        if due.complete:
            self.complete_us = due.complete[-1] + WIDTH_US
        self.held = {
            open_us: at for open_us, at in self.held.items() if open_us >= self.complete_us
        }
        for symbol in due.amended:
            self.late.pop(symbol, None)

    def notice(self, data_type: DataType, rows: pl.DataFrame) -> None:
        """Look for rows that came after their bar was taken to be whole."""
        if data_type is DataType.DERIVATIVE_TICKER:
            return  # it is cut by arrival: nothing of it is late
        clocks = rows.select(pl.col("timestamp", "local_timestamp").to_physical())
        timestamp, local = (clocks[name].to_numpy() for name in clocks.columns)
        opens = timestamp // WIDTH_US * WIDTH_US
        if data_type is DataType.TRADES:
            self._hold(opens, local)
        for row in np.flatnonzero((opens < self.complete_us) & (opens >= self.first_us)):
            if opens[row] < self.complete_us - AMEND_US:
                self.late_rows += 1
                continue
            late = LateRows(int(timestamp[row]), int(timestamp[row]), int(local[row]) + AHEAD_US)
            symbol = rows.item(int(row), "symbol")
            known = self.late.setdefault(symbol, late)
            known.join(late)

    def notice_gap(self, gap: FeedGap, symbols: Iterable[str]) -> None:
        """Take a hole that became known now; bars that were complete without it change."""
        first_us = max(gap.start_us or 0, self.first_us, self.complete_us - AMEND_US)
        last_us = min(self.complete_us if gap.end_us is None else gap.end_us, self.complete_us) - 1
        if first_us > last_us:
            return
        for symbol in symbols:
            late = LateRows(first_us, last_us, 0)
            self.late.setdefault(symbol, late).join(late)

    def _hold(
        self,
        opens: np.ndarray[tuple[int], np.dtype[np.int64]],
        local: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> None:
        after = local - opens - WIDTH_US
        counts = (after > 0) & (after <= _MIDS_WAIT_US) & (opens >= self.complete_us)
        for open_us in np.unique(opens[counts]).tolist():
            newest = int(local[counts & (opens == open_us)].max())
            self.held[open_us] = max(self.held.get(open_us, 0), newest)

    def _completes_us(self, open_us: int) -> int:
        end_us = open_us + WIDTH_US
        return max(end_us, self.held.get(open_us, 0)) + AHEAD_US


def _open_of(moment_us: int) -> int:
    """First moment of the bar that a moment is in."""
    return moment_us // WIDTH_US * WIDTH_US
