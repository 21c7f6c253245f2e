"""Which bars there are of many instruments: the grid of each, one below the other.

What belongs here: the rows, and what is known of a bar besides its ticks. What does not: its
statistics (`stacked.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span, bar_opens
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.bars.status import overlap_us
from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The bars of one instrument and timeframe: consecutive rows of the stack.

    Attributes:
        instrument: Its position among the instruments.
        facts: What is known of the window besides ticks.
        parts: What the kernels found.
        timeframe: Length of the bars.
        opens: First moment of each bar.
        start: Row of the first bar.
    """

    instrument: int
    facts: DayFacts
    parts: DayParts
    timeframe: Timeframe
    opens: Int64Array
    start: int

    @property
    def end(self) -> int:
        """First row after the block."""
        return self.start + len(self.opens)

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.start, self.end)

    @property
    def traded(self) -> BarStatistics | None:
        """Statistics of the bars with trades; None where nothing traded."""
        return self.parts.traded[self.timeframe]

    @property
    def traded_rows(self) -> Int64Array:
        """Row of each bar that has trades."""
        if self.traded is None:
            return np.empty(0, dtype=np.int64)
        opens: Int64Array = self.traded["ts_open"]
        return np.asarray(self.start + (opens - self.opens[0]) // self.timeframe.us)

    @property
    def cut(self) -> slice:
        """Its bars among all bars of the window, listed or not."""
        first = int(self.opens[0]) if len(self.opens) else self.facts.day.start
        start = (first - self.facts.day.start) // self.timeframe.us
        return slice(start, start + len(self.opens))

    @property
    def length_us(self) -> int:
        """Length of the window."""
        return self.facts.day.end - self.facts.day.start


def blocks_of(bars: Sequence[tuple[DayFacts, DayParts]]) -> list[Block]:
    """The blocks of all instruments, smallest timeframe first, then in the order given."""
    blocks: list[Block] = []
    row = 0
    asked = {timeframe for _, parts in bars for timeframe in parts.traded}
    for timeframe in sorted(asked, key=lambda one: one.us):
        for instrument, (facts, parts) in enumerate(bars):
            if timeframe in parts.traded:
                opens = _opens(facts, parts.traded[timeframe], timeframe)
                blocks.append(Block(instrument, facts, parts, timeframe, opens, row))
                row += len(opens)
    return blocks


def has_bars(facts: DayFacts, parts: DayParts, timeframe: Timeframe) -> bool:
    """Whether the day or window has any bar: none where nothing was listed and nothing traded."""
    return len(_opens(facts, parts.traded[timeframe], timeframe)) > 0


def _opens(facts: DayFacts, statistics: BarStatistics | None, timeframe: Timeframe) -> Int64Array:
    opens = statistics["ts_open"] if statistics is not None else np.empty(0, dtype=np.int64)
    return bar_opens(facts.listed.clipped_to(facts.day), opens, timeframe)


def grid_of(blocks: Sequence[Block], total: int) -> dict[str, npt.NDArray[Any]]:
    """Where each bar lies, of which block it is, and what of it was observed.

    Shape: (total,) each.
    Units: microseconds.
    """
    ts_open, width = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    gap_us, covered_us = np.zeros(total, dtype=np.int64), np.zeros(total, dtype=np.int64)
    is_final, place = np.zeros(total, dtype=np.bool_), np.zeros(total, dtype=np.int64)
    for number, block in enumerate(blocks):
        facts, opens, rows = block.facts, block.opens, block.rows
        closes = opens + block.timeframe.us
        place[rows], ts_open[rows], width[rows] = number, opens, block.timeframe.us
        unobserved = [*facts.gaps, *_unlisted(facts, block.traded)]
        gap_us[rows] = overlap_us(opens, closes, facts.gaps)
        if facts.is_ingested:
            covered_us[rows] = block.timeframe.us - overlap_us(opens, closes, unobserved)
            is_final[rows] = facts.closing.is_final(opens, closes)
    return {
        "block": place,
        "ts_open": ts_open,
        "ts_close": ts_open + width,
        "gap_us": gap_us,
        "covered_us": covered_us,
        "is_final": is_final,
    }


def _unlisted(facts: DayFacts, traded: BarStatistics | None) -> list[Span]:
    """What of the window lies outside the listing, as far as no trade says otherwise."""
    start, end = facts.listed.start, facts.listed.end
    if traded is not None:
        first, last = int(traded["open_time"][0]), int(traded["close_time"][-1])
        width = BASE_TIMEFRAME.us
        start = min(start, first // width * width)
        end = max(end, (last // width + 1) * width)
    return [Span(facts.day.start, start), Span(end, facts.day.end)]


def identity_of(blocks: Sequence[Block], block_of_row: npt.NDArray[Any]) -> Iterator[pl.Series]:
    """What is the same for all bars of a block, one row per bar."""
    known = [
        {
            "timeframe": block.timeframe.value,
            "instrument_key": block.facts.instrument_key,
            "venue": block.facts.venue.value,
            "clock": block.facts.clock,
            "book_source": block.facts.book_source,
            "quote_source": block.facts.quote_source,
            "is_ingested": block.facts.is_ingested,
            "has_memory": block.facts.has_memory,
        }
        for block in blocks
    ]
    for name in known[0]:
        dtype = pl.Boolean if name.startswith(("is_", "has_")) else pl.String
        yield pl.Series(name, [one[name] for one in known], dtype=dtype).gather(block_of_row)


def sources_of(blocks: Sequence[Block], total: int) -> pl.Series:
    """The hashes of the files each bar can hold rows of, in the order of the days."""
    choices: dict[tuple[str, ...], int] = {}
    chosen = np.empty(total, dtype=np.int64)
    for block in blocks:
        sources, closing = block.facts.sources, block.facts.closing
        places = [
            choices.setdefault(
                (
                    *(sources.previous if uses_previous else ()),
                    *sources.own,
                    *(sources.following if uses_following else ()),
                ),
                len(choices),
            )
            for uses_following in (False, True)
            for uses_previous in (False, True)
        ]
        closes = block.opens + block.timeframe.us
        place = closing.needs_previous(block.opens) + 2 * closing.needs_next(closes).astype(int)
        chosen[block.rows] = np.array(places)[place]
    lists = pl.Series("source_sha256", [list(one) for one in choices], dtype=pl.List(pl.String))
    return lists.gather(chosen)
