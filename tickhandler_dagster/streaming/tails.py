"""The newest rows of every instrument: what open bars and the minute before them need, no more.

What belongs here: keeping rows of one data type of a venue, handing out an instrument's, forgetting
old ones. What does not: where rows come from (`intake.py`) and what is built of them
(`windows.py`).

Rows come in micro-batches of all instruments. Splitting each of them by instrument would make
thousands of small frames a second; so they are sealed into a block once per round, sorted by symbol
in one go, and an instrument's rows are a slice of each block.
"""

from __future__ import annotations

from collections import deque

import polars as pl

from tickhandler_dagster.streaming.latest_rows import LatestRows
from tickhandler_dagster.streaming.tick_blocks import SymbolRows, TickBlock

SYMBOL = "symbol"


class RowTail:
    """The newest rows of one data type of one venue.

    Args:
        empty: No rows, with the columns they have.
        latest: Takes the rows that are forgotten; None where nobody does.
    """

    def __init__(self, empty: pl.DataFrame, latest: LatestRows | None = None) -> None:
        self._empty = empty.drop(SYMBOL).clear()
        self._latest = latest
        self._open: list[pl.DataFrame] = []
        self._blocks: deque[TickBlock] = deque()

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in order of arrival, with their symbols."""
        if rows.height:
            self._open.append(rows)

    def seal(self) -> None:
        """Sort what came since the last time; `rows_of` sees it only then."""
        if not self._open:
            return
        rows = pl.concat(self._open).sort(SYMBOL, maintain_order=True)
        self._open = []
        runs = rows.get_column(SYMBOL).rle().struct.unnest()
        lengths = runs.get_column("len").to_list()
        places, start = {}, 0
        for symbol, length in zip(runs.get_column("value").to_list(), lengths, strict=True):
            places[symbol] = (start, length)
            start += length
        self._blocks.append(TickBlock(rows.drop(SYMBOL), places))

    def rows_of(self, symbol: str) -> SymbolRows:
        """The instrument's rows that are kept."""
        pieces = [
            (block, slice(start, start + length))
            for block in self._blocks
            for start, length in [block.places.get(symbol, (0, 0))]
            if length
        ]
        return SymbolRows(self._empty, pieces)

    def forget_before(self, moment_us: int) -> None:
        """Drop blocks in which both clocks of every row lie before the moment."""
        while self._blocks and self._blocks[0].newest_us < moment_us:
            block = self._blocks.popleft()
            if self._latest is not None:
                self._latest.take(block.rows, block.places)
        for block in self._blocks:
            block.release()

    @property
    def height(self) -> int:
        """Rows kept."""
        return sum(block.rows.height for block in self._blocks) + sum(
            rows.height for rows in self._open
        )
