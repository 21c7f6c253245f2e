"""A vendor file as typed frames that passed every rule which condemns a whole file.

What belongs here: the join of the byte stream, the CSV grammar and the file rules, for both
conversions. What does not: rules of single rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.adapters.tick_files import TickFile
from tickhandler_dagster.adapters.tick_writer import TickIdentity
from tickhandler_dagster.market.quality.file_rules import FileRules
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv


def verified_frames(
    file: TickFile, *, identity: TickIdentity, symbol: str | None
) -> Iterator[pl.DataFrame]:
    """The file's rows in file order, frame after frame; none where the file is empty.

    The last frame comes before the end of the compressed stream is known to be sound: use nothing
    of them before the iterator is exhausted.

    Args:
        file: The opened file.
        identity: Whose file.
        symbol: The one symbol the file holds; None for a grouped file, whose frames have the column
            `symbol` first.

    Raises:
        CorruptData: a rule of severity `fail` is broken.
    """
    table = RAW_TABLES[identity.data_type]
    grammar = TickCsv(table=table, venue=identity.venue, symbol=symbol, subject=file.subject)
    rules = FileRules(table=table, day=identity.date, subject=file.subject)
    previous_local_us: int | None = None
    is_first = True
    for block in file.blocks():
        rows = block
        if is_first:
            header, _, rows = block.partition(b"\n")
            grammar.check_header(header)
            is_first = False
        if rows:
            frame = grammar.parse(rows)
            previous_local_us = rules.check(frame, previous_local_us)
            yield frame
