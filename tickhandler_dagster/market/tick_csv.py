"""The grammar of the vendor's CSV files: the header line and blocks of lines as typed frames.

What belongs here: text in, columns out, by `raw_tables.py`. Where blocks come from is
`adapters/tick_files.py`; whether the values make sense is `quality/`.

Nothing is guessed: the header is the exact one, every line has every cell, every cell parses as its
column's type, and the first two cells are the expected ones. Lines are counted in the bytes and in
the frame, so that a line the parser would skip or pad is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.raw_tables import RawTable
from tickhandler_dagster.market.tables import TIMESTAMP, Column
from tickhandler_dagster.market.venues import VenueId

CONVERSION_VERSION = "1"
"""Changes when the same vendor file would give other bytes in the lake."""

_REFUSED = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.ShapeError)
_LEADING = ("exchange", "symbol")
_SURPLUS = "_surplus"
"""A column no line has: without a place for it the parser drops a surplus cell in silence."""

_REMEDY = "Run the partition again; if it stays, report the file to the vendor"


@dataclass(frozen=True, slots=True)
class TickCsv:
    """A file's format.

    Attributes:
        table: The data type's columns.
        venue: What every cell of the exchange column says.
        symbol: What every cell of the symbol column says; None in a grouped file.
        subject: The file's name in errors.
    """

    table: RawTable
    venue: VenueId
    symbol: str | None
    subject: str

    def check_header(self, line: bytes) -> None:
        """Accept the first line of a file, without its line end.

        Raises:
            CorruptData: it is not the header of the data type.
        """
        expected = ",".join(self.table.header)
        found = line.decode(errors="replace")
        if found != expected:
            raise CorruptData(
                self.subject, "another header", was=found[:400], expected=expected, remedy=_REMEDY
            )

    def parse(self, block: bytes) -> pl.DataFrame:
        """The rows of a block of complete lines, in file order.

        Shape:
            The stored columns; in a grouped file the text column `symbol` before them.
        Units:
            Times are `timestamp[us, UTC]`, all else as the vendor gives it.
        Nulls:
            An empty cell, in any column; which columns may have one is for `quality/`.

        Raises:
            CorruptData: a line is short, long or blank, a cell does not parse, or the exchange or
                symbol is another.
        """
        lines = _count(block, b"\n")
        cells = lines * (len(self.table.header) - 1)
        if not block.endswith(b"\n") or _count(block, b",") != cells:
            raise self._corrupt(
                "a line with too few or too many cells", was=_first_uneven(block, self.table)
            )
        self._check_leading(block, lines)
        try:
            frame = pl.read_csv(
                block,
                has_header=False,
                schema=self._schema(),
                columns=self._wanted(),
                quote_char=None,
                missing_columns="insert",
            )
        except _REFUSED as error:
            raise self._corrupt(
                "a cell does not parse", was=str(error).partition("\n")[0]
            ) from error
        if frame.height != lines or frame.get_column(_SURPLUS).null_count() != lines:
            raise self._corrupt(
                "lines with too few and lines with too many cells",
                was=f"{frame.height} rows in {lines} lines",
            )
        return frame.select(
            *(() if self.symbol else (pl.col("symbol"),)),
            *(_as_stored(column.stored) for column in self.table.columns),
        )

    def _schema(self) -> dict[str, pl.DataType]:
        return (
            {name: pl.String() for name in _LEADING}
            | {column.stored.name: _csv_type(column.stored) for column in self.table.columns}
            | {_SURPLUS: pl.String()}
        )

    def _wanted(self) -> list[int]:
        """Cells to parse: known leading ones are compared as bytes, cheaper than parsing them."""
        return list(range(2 if self.symbol else 1, len(self.table.header) + 1))

    def _check_leading(self, block: bytes, lines: int) -> None:
        prefix = f"{self.venue}," if self.symbol is None else f"{self.venue},{self.symbol},"
        found = block.count(f"\n{prefix}".encode()) + block.startswith(prefix.encode())
        if found != lines:
            stranger = next(
                line for line in block.splitlines() if not line.startswith(prefix.encode())
            )
            raise self._corrupt(
                "rows of another exchange or symbol",
                was=",".join(stranger.decode(errors="replace").split(",")[:2]),
                expected=prefix.rstrip(","),
            )

    def _corrupt(self, fact: str, *, was: str, expected: str | None = None) -> CorruptData:
        return CorruptData(self.subject, fact, was=was, expected=expected, remedy=_REMEDY)


def _count(block: bytes, byte: bytes) -> int:
    """Occurrences of a byte; `bytes.count` takes three times as long where it is a frequent one."""
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == ord(byte)))


def _csv_type(column: Column) -> pl.DataType:
    """The type a cell is parsed as: a closed list of texts refuses any other text."""
    if column.dtype == TIMESTAMP:
        return pl.Int64()
    return pl.Enum(column.bounds.one_of) if column.bounds.one_of else column.dtype


def _as_stored(column: Column) -> pl.Expr:
    return pl.col(column.name).cast(column.dtype)


def _first_uneven(block: bytes, table: RawTable) -> str:
    commas = len(table.header) - 1
    lines = block.split(b"\n")
    uneven = (line for line in lines[:-1] if line.count(b",") != commas)
    return next(uneven, lines[-1])[:200].decode(errors="replace")
