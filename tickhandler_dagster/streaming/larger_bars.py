"""Provisional larger bars: what the 15 s bars of all instruments merge to when one ends.

What belongs here: holding the stored statistics of the bars that can still be asked for, and
merging them. What does not: the rules (the registry's), the form of the table (`bars/frame.py`),
and the complete bar, which is built from ticks (`completion.py`).

Each timeframe is merged from the bars of the one below it, and these are kept as long as an
amendment can reach them. A running merge would need less, but an amended bar cannot be taken out
of it: its parents would have to be read again from the spool. Kept are about seventy arrays of
instruments x statistics, some 20 MB for 200 instruments, whatever the day.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.frame import candle_frames_of_many
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.streaming.statistics_rows import (
    COLUMNS,
    KNOWN,
    merged_rows,
    parts_of,
    previous_of,
    row_of,
)

FactsOf: TypeAlias = Callable[[str, Span], DayFacts]
"""What is known of an instrument in a span besides its ticks."""

AMENDED_FOR_US = 300 * US_PER_SECOND
"""How long after its end a bar may still be amended."""

_LADDER = tuple(sorted(Timeframe, key=lambda timeframe: timeframe.us))
_BELOW = {larger: smaller for smaller, larger in itertools.pairwise(_LADDER)}
_ABOVE = dict(itertools.pairwise(_LADDER))
_Bar: TypeAlias = tuple[DayFacts, DayParts]
_Place: TypeAlias = tuple[Timeframe, int]


class LargerBars:
    """Merges 15 s bars into the larger ones.

    Args:
        facts_of: Gives what is known of an instrument in a larger bar besides its ticks, as the
            complete bar is given it. The trade before the bar is filled in here.
    """

    def __init__(self, facts_of: FactsOf) -> None:
        self._facts_of = facts_of
        self._rows: dict[str, int] = {}
        self._held: dict[_Place, Float64Array] = {}

    def add(self, bars: Sequence[_Bar]) -> dict[Timeframe, pl.DataFrame]:
        """Take 15 s bars; gives the larger bars that end with them, of the same instruments.

        A bar that was there already is replaced, and the larger bars that hold it with it: those
        that still run give the new values when they end. Of those that have ended nothing is given
        again: their next word is the complete bar, which is built from ticks. A bar that comes when
        no amendment can reach it any more changes nothing: what it was merged with is let go.

        Args:
            bars: Windows of one 15 s bar and what they are put together from.

        Several bars of an instrument may come together, as after a restart; bars of one moment
        share the price of their columns, so those of all instruments should.

        Shape: frames of `CANDLE_TABLE` by timeframe, smallest first, by `ts_open` and then in the
            order given. A 15 s bar that was never given counts as a gap.
        Nulls: what does not merge, and what looks past the bar's end.
        """
        due: list[_Bar] = []
        for open_us, group in _by_open(bars):
            if _end_above(BASE_TIMEFRAME, open_us) <= self._reach_us():
                continue
            keys = [facts.instrument_key for facts, _ in group]
            is_new = np.isnan(self._taken(BASE_TIMEFRAME, open_us, keys)[:, KNOWN])
            self._put((BASE_TIMEFRAME, open_us), keys, [row_of(*one) for one in group])
            new = [key for key, one in zip(keys, is_new, strict=True) if one]
            for place in self._ended_with(open_us, keys):
                due += self._bars(place, new)
            self._forget()
        return candle_frames_of_many(due)

    def _bars(self, place: _Place, keys: Sequence[str]) -> list[_Bar]:
        """What the larger bar that opens then is put together from, of these instruments."""
        if not keys:
            return []
        timeframe, open_us = place
        span = Span(open_us, open_us + timeframe.us)
        return [
            (self._facts(key, span, row), parts_of(row, timeframe, open_us))
            for key, row in zip(keys, self._merged(timeframe, open_us, keys), strict=True)
        ]

    def to_bytes(self) -> bytes:
        """Everything that is held; equal states, equal bytes."""
        head = json.dumps({"columns": COLUMNS, "instruments": list(self._rows)})
        arrays: dict[str, Any] = {"head": np.frombuffer(head.encode(), dtype=np.uint8)}
        for (timeframe, at), rows in sorted(self._held.items()):
            arrays[f"{timeframe}@{at}"] = rows
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    def restore(self, state: bytes) -> None:
        """Take over what `to_bytes` gave.

        Raises:
            CorruptData: it is of another version, with other statistics.
        """
        with np.load(io.BytesIO(state), allow_pickle=False) as found:
            head = json.loads(found["head"].tobytes())
            if tuple(head["columns"]) != COLUMNS:
                raise CorruptData(
                    "checkpoint of larger bars",
                    "made by a version with other statistics",
                    was=f"{len(head['columns'])} columns",
                    expected=f"{len(COLUMNS)} columns of this version",
                    remedy="Remove the checkpoint; the larger bars that run begin anew",
                )
            self._rows = {key: row for row, key in enumerate(head["instruments"])}
            self._held = {
                (Timeframe(name.partition("@")[0]), int(name.partition("@")[2])): found[name]
                for name in found.files
                if name != "head"
            }

    def _ended_with(self, open_us: int, keys: Sequence[str]) -> list[_Place]:
        """Merge anew what holds the bar and has ended; the larger bars that end with it."""
        end_us = open_us + BASE_TIMEFRAME.us
        ended = []
        for timeframe in _LADDER[1:]:
            start_us = open_us - open_us % timeframe.us
            place = (timeframe, start_us)
            ends_now = start_us + timeframe.us == end_us
            if timeframe in _ABOVE and (ends_now or place in self._held):
                self._put(place, keys, self._merged(timeframe, start_us, keys))
            if ends_now:
                ended.append(place)
        return ended

    def _merged(self, timeframe: Timeframe, open_us: int, keys: Sequence[str]) -> Float64Array:
        """The statistics of a larger bar. Shape: (instruments, statistics)."""
        below = _BELOW[timeframe]
        opens = range(open_us, open_us + timeframe.us, below.us)
        children = np.stack([self._taken(below, at, keys) for at in opens])
        return merged_rows(children, opens, timeframe)

    def _taken(self, timeframe: Timeframe, open_us: int, keys: Sequence[str]) -> Float64Array:
        """Statistics of some instruments' bars; NaN where a bar is not known."""
        taken = np.full((len(keys), len(COLUMNS)), np.nan)
        held = self._held.get((timeframe, open_us))
        if held is not None:
            rows = np.array([self._rows.get(key, len(held)) for key in keys], dtype=np.int64)
            is_held = rows < len(held)
            taken[is_held] = held[rows[is_held]]
        is_unknown = np.isnan(taken[:, KNOWN])
        if is_unknown.any() and self._holds_below(timeframe, open_us):
            unknown = [key for key, one in zip(keys, is_unknown, strict=True) if one]
            taken[is_unknown] = self._merged(timeframe, open_us, unknown)
        return taken

    def _holds_below(self, timeframe: Timeframe, open_us: int) -> bool:
        """Smaller bars of it are held, whose instruments were not there when it ended."""
        end_us = open_us + timeframe.us
        return any(one.us < timeframe.us and open_us <= at < end_us for one, at in self._held)

    def _put(
        self, place: _Place, keys: Sequence[str], rows: Sequence[Float64Array] | Float64Array
    ) -> None:
        for key in keys:
            self._rows.setdefault(key, len(self._rows))
        held = self._held.get(place, np.empty((0, len(COLUMNS))))
        lacking = len(self._rows) - len(held)
        if lacking:
            held = np.concatenate([held, np.full((lacking, len(COLUMNS)), np.nan)])
            self._held[place] = held
        held[[self._rows[key] for key in keys]] = rows

    def _reach_us(self) -> int:
        """The moment before which no amendment reaches: larger bars that ended by it are done."""
        newest = max((at for _, at in self._held), default=0)
        return newest + BASE_TIMEFRAME.us - AMENDED_FOR_US

    def _forget(self) -> None:
        """Let go what no larger bar that runs or can be amended holds any more."""
        reach_us = self._reach_us()
        for timeframe, at in list(self._held):
            if _end_above(timeframe, at) <= reach_us:
                del self._held[timeframe, at]

    def _facts(self, key: str, span: Span, row: Float64Array) -> DayFacts:
        facts = self._facts_of(key, span)
        lost = _lost(facts, row)
        return dataclasses.replace(
            facts,
            day=span,
            previous=previous_of(row),
            gaps=(*facts.gaps, *lost),
            book_gaps={channel: (*spans, *lost) for channel, spans in facts.book_gaps.items()},
        )


def _lost(facts: DayFacts, row: Float64Array) -> list[Span]:
    """A span as long as the 15 s bars of the listing that were never given; where is not known."""
    listed, width = facts.listed.clipped_to(facts.day), BASE_TIMEFRAME.us
    expected = -(-listed.end // width) - listed.start // width if listed.end > listed.start else 0
    known = 0 if np.isnan(row[KNOWN]) else int(row[KNOWN])
    if known >= expected:
        return []
    end_us = min(listed.start + (expected - known) * width, listed.end)
    return [Span(listed.start, end_us)]


def _end_above(timeframe: Timeframe, open_us: int) -> int:
    """Where the next larger bar ends that holds a bar."""
    width_us = _ABOVE[timeframe].us
    return open_us - open_us % width_us + width_us


def _by_open(bars: Sequence[_Bar]) -> list[tuple[int, list[_Bar]]]:
    """The bars by their first moment, oldest first."""
    found: dict[int, list[_Bar]] = {}
    for facts, parts in bars:
        found.setdefault(facts.day.start, []).append((facts, parts))
    return sorted(found.items())
