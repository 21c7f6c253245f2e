"""Blocks of spooled lines as typed rows, by the grammar and the row rules of the batch.

What belongs here: which lines of a block are rows, and why the others are not. What does not: files
(`spool_reader.py`), the grammar itself (`market/tick_csv.py`).

A vendor's file with one bad line is condemned whole, as it can be fetched again. A live line
cannot: it is put aside with its reason, and the lines around it count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.quality.row_rules import REASON, split_rows
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv
from tickhandler_dagster.market.venues import VenueId

_SHOWN_BYTES = 2_000
_SEARCHED = 64
"""Bad lines looked for in a block: beyond, the block is no table and is put aside whole."""

_ROW = "_row"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A line that is no row.

    Attributes:
        venue: Whose feed.
        data_type: The folder it was in.
        segment: The segment's file name.
        byte: Where the line begins in it.
        reason: Why it is no row.
        line: Its text, cut where it is long.
    """

    venue: VenueId
    data_type: DataType
    segment: str
    byte: int
    reason: str
    line: str


DeadLetterBox = Callable[[list[DeadLetter]], None]
"""Takes lines that are no rows; the same ones come again to a consumer that reads them again."""


def empty_rows(data_type: DataType) -> pl.DataFrame:
    """No rows, with the columns rows of the type have: `symbol` and the stored ones."""
    stored = RAW_TABLES[data_type].stored
    return pl.DataFrame(schema={"symbol": pl.String(), **stored.polars_schema})


class LineParser:
    """Reads blocks of one venue's data type.

    Args:
        venue: What every line's first cell says.
        data_type: Whose columns.
    """

    def __init__(self, venue: VenueId, data_type: DataType) -> None:
        self._venue = venue
        self._data_type = data_type
        self._table = RAW_TABLES[data_type]
        self._grammar = TickCsv(
            table=self._table, venue=venue, symbol=None, subject=f"spool {venue} {data_type}"
        )
        stored = self._table.stored
        self._required = [
            "symbol",
            *(column.name for column in stored.columns if not column.is_nullable),
        ]
        self.header = ",".join(self._table.header).encode() + b"\n"

    def empty(self) -> pl.DataFrame:
        """No rows."""
        return empty_rows(self._data_type)

    def rows(self, block: bytes, segment: str, byte: int) -> tuple[pl.DataFrame, list[DeadLetter]]:
        """The rows of a block of whole lines, in order, and the lines that are none.

        Args:
            block: Whole lines.
            segment: Where they are from.
            byte: Where the block begins there.
        """
        if not block:
            return empty_rows(self._data_type), []
        frame, starts, dead = self._parsed(block, segment, byte)
        return self._kept(frame, block, starts, dead, (segment, byte))

    def dead(self, segment: str, byte: int, reason: str, line: bytes) -> DeadLetter:
        """A line put aside."""
        return DeadLetter(
            venue=self._venue,
            data_type=self._data_type,
            segment=segment,
            byte=byte,
            reason=reason,
            line=line[:_SHOWN_BYTES].rstrip(b"\n").decode(errors="replace"),
        )

    def _parsed(
        self, block: bytes, segment: str, byte: int
    ) -> tuple[pl.DataFrame, list[tuple[int, int]], list[DeadLetter]]:
        """Rows, the parts of the block they are from, and lines put aside."""
        frames: list[pl.DataFrame] = []
        parts: list[tuple[int, int]] = []
        dead: list[DeadLetter] = []
        pending = [(0, len(block))]
        while pending:
            start, end = pending.pop()
            part = block[start:end]
            try:
                frames.append(self._grammar.parse(part))
                parts.append((start, end))
            except CorruptData as error:
                middle = part.find(b"\n", len(part) // 2, -1) + 1 or part.rfind(b"\n", 0, -1) + 1
                if middle and len(dead) < _SEARCHED:
                    pending += [(start + middle, end), (start, start + middle)]
                else:
                    dead.append(self.dead(segment, byte + start, _reason(error), part))
        return pl.concat(frames) if frames else empty_rows(self._data_type), parts, dead

    def _kept(
        self,
        frame: pl.DataFrame,
        block: bytes,
        parts: list[tuple[int, int]],
        dead: list[DeadLetter],
        place: tuple[str, int],
    ) -> tuple[pl.DataFrame, list[DeadLetter]]:
        """The rows that break no rule of single rows."""
        has_nulls = any(frame.get_column(name).null_count() for name in self._required)
        whole = frame.drop_nulls(self._required) if has_nulls else frame
        good, broken = split_rows(whole, self._table)
        if good.height == frame.height:
            return frame, dead
        numbered = frame.with_row_index(_ROW)
        reasons = dict.fromkeys(
            numbered.filter(pl.any_horizontal(pl.col(self._required).is_null()))[_ROW],
            str(RuleName.NO_NULLS_IN_KEY_COLUMNS),
        )
        if broken.height:
            _, rows = split_rows(numbered.drop_nulls(self._required), self._table)
            reasons |= dict(rows.select(_ROW, REASON).iter_rows())
        starts = _line_starts(block, parts)
        segment, byte = place
        letters = [
            self.dead(segment, byte + starts[row], reason, _line_at(block, starts[row]))
            for row, reason in sorted(reasons.items())
        ]
        return good, [*dead, *letters]


def _reason(error: CorruptData) -> str:
    return error.fact if error.was is None else f"{error.fact} ({error.was})"


def _line_starts(block: bytes, parts: list[tuple[int, int]]) -> list[int]:
    """Where each parsed line begins; only asked for where a line is put aside."""
    starts: list[int] = []
    for start, end in parts:
        place = start
        while place < end:
            starts.append(place)
            place = block.index(b"\n", place) + 1
    return starts


def _line_at(block: bytes, start: int) -> bytes:
    return block[start : block.index(b"\n", start)]
