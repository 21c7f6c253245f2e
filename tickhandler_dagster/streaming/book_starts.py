"""Which row of a book is the first one of its file: a state that was, not a change of it.

What belongs here: marking them as the batch does, file by file, a file being a day of arrival. What
does not: what the kernel makes of the mark.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tickhandler_dagster.market.days import US_PER_DAY

_SYMBOL, _ARRIVAL, MARK = "symbol", "local_timestamp", "is_start"


class BookStarts:
    """The first rows of one data type, by symbol."""

    def __init__(self) -> None:
        self._days: dict[str, int] = {}
        self._firsts: dict[str, int] = {}

    @property
    def firsts(self) -> Mapping[str, int]:
        """Arrival of each symbol's first row of its newest day."""
        return self._firsts

    def restore(self, firsts: Mapping[str, int]) -> None:
        """Know which rows were the first ones, for rows that are about to be read again."""
        self._firsts.clear()
        self._firsts.update(firsts)

    def marked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the column `is_start`."""
        days = pl.col(_ARRIVAL).to_physical() // US_PER_DAY
        groups = (
            rows.with_row_index("_row")
            .group_by(_SYMBOL, days.alias("_day"), maintain_order=True)
            .agg(pl.col("_row").first(), pl.col(_ARRIVAL).to_physical().first())
        )
        found = [
            row
            for symbol, day, row, arrival in groups.iter_rows()
            if self._is_first(symbol, day, arrival)
        ]
        is_start = pl.int_range(pl.len()).is_in(found) if found else pl.lit(value=False)
        return rows.with_columns(is_start.alias(MARK))

    def _is_first(self, symbol: str, day: int, arrival: int) -> bool:
        known = self._days.get(symbol)
        if known is not None and known >= day:
            return False
        self._days[symbol] = day
        before = self._firsts.get(symbol)
        if before is not None and before // US_PER_DAY == day:
            return before == arrival  # read again: the first one may lie before what is read
        self._firsts[symbol] = arrival
        return True
