"""Bars that late rows belong to, and the rows they are built again from.

What belongs here: which bars a late row can change, and reading their rows out of the spool. What
does not: building them (`rounds.py`).

Rows of bars that are complete are no longer in memory: five minutes of two hundred instruments
would be a gigabyte, for rows that hardly ever come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.bar_records import WIDTH_US
from tickhandler_dagster.streaming.book_starts import BookStarts
from tickhandler_dagster.streaming.closing import LateRows
from tickhandler_dagster.streaming.duplicates import REACH_US, SeenIds
from tickhandler_dagster.streaming.instruments import LiveInstrument, Relations
from tickhandler_dagster.streaming.intake import BOOK_TYPES, Spool, kept_columns
from tickhandler_dagster.streaming.tails import RowTail
from tickhandler_dagster.streaming.tick_blocks import SymbolRows
from tickhandler_dagster.streaming.windows import AHEAD_US, PRIMING_US


def amended_spans(
    late: Mapping[str, LateRows],
    instruments: Iterable[LiveInstrument],
    related: Relations,
    first_us: int,
) -> dict[str, tuple[int, int]]:
    """First and last bar that late rows can change, by instrument key.

    Besides its own bar a row can change those that look ahead to it; and a row of the reference
    instrument the bars of all others.
    """
    instruments = list(instruments)
    by_symbol = {one.symbol: one.key for one in instruments}
    spans = {
        by_symbol[symbol]: (
            max((rows.first_us - AHEAD_US) // WIDTH_US * WIDTH_US, first_us),
            rows.last_us // WIDTH_US * WIDTH_US,
        )
        for symbol, rows in late.items()
        if symbol in by_symbol
    }
    for leg, keys in _standing_on(instruments, related).items():
        if leg in spans:
            for key in keys:
                spans[key] = _joined(spans.get(key, spans[leg]), spans[leg])
    return spans


def _standing_on(instruments: Sequence[LiveInstrument], related: Relations) -> dict[str, list[str]]:
    """The instruments that stand on each of those that others stand on."""
    found: dict[str, list[str]] = {}
    for key, leg in related.near.items():
        found.setdefault(leg, []).append(key)
    if related.reference is not None:
        others = [one.key for one in instruments if one.key != related.reference]
        found[related.reference] = [*found.get(related.reference, []), *others]
    return found


def _joined(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])


class AmendedRows:
    """The rows around some bars, out of the spool, as the engine took them when they came.

    Args:
        spool: The spool.
        venue: Whose rows.
        data_types: Their types.
        firsts: By type and symbol the arrival of the day's first row.
    """

    def __init__(
        self,
        spool: Spool,
        venue: VenueId,
        data_types: Sequence[DataType],
        firsts: Mapping[DataType, Mapping[str, int]],
    ) -> None:
        self._spool, self._venue, self._types = spool, venue, data_types
        self._firsts = firsts
        self._tails = {name: RowTail(kept_columns(name)) for name in data_types}
        self._repeated = RowTail(kept_columns(DataType.TRADES))

    def read(self, symbols: Collection[str], first_us: int, until_us: int) -> None:
        """Read what arrived from a minute before a bar until a moment."""
        start = first_us - PRIMING_US - REACH_US
        for name in self._types:
            seen = SeenIds()
            starts = BookStarts()
            starts.restore(self._firsts.get(name, {}))
            for frame in self._spool.rows_between(self._venue, name, start, until_us, symbols):
                rows = frame
                if RAW_TABLES[name].has_ids:
                    rows, repeated = seen.split(rows)
                    if name is DataType.TRADES:
                        self._repeated.add(repeated)
                self._tails[name].add(starts.marked(rows) if name in BOOK_TYPES else rows)
        for tail in (*self._tails.values(), self._repeated):
            tail.seal()

    def of(self, instrument: LiveInstrument) -> tuple[Mapping[DataType, SymbolRows], pl.DataFrame]:
        """An instrument's rows by type, and its repeated trades."""
        rows = {name: tail.rows_of(instrument.symbol) for name, tail in self._tails.items()}
        return rows, self._repeated.rows_of(instrument.symbol).frame()
