"""Parquet as this project writes it: encodings by column, fixed row groups, bytes from rows alone.

What belongs here: how a `Table` becomes a file and how a file is checked. Where files go is
`object_store.py`.

Two files with equal rows and equal metadata are equal bytes: row groups are cut at fixed counts
however the rows arrive, and neither a clock nor a random number goes in. Texts are stored as plain
strings and times as `timestamp[us, UTC]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.tables import Table

ROW_GROUP_ROWS = 262_144
"""Rows of a row group in tables of ordinary width."""

_ORDINARY_WIDTH = 48
_WIDE_ROW_GROUP_ROWS = 65_536
_HASH_BLOCK = 4 * 1024 * 1024
_COMPRESSION_LEVEL = 3


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What was written.

    Attributes:
        bytes: Size.
        sha256: Digest of the bytes, in hex.
        rows: Rows of a table; 0 for other objects.
    """

    bytes: int
    sha256: str
    rows: int = 0


def row_group_rows(table: Table) -> int:
    """Rows of a full row group: fewer in wide tables, so that a group stays below about 60 MB."""
    return ROW_GROUP_ROWS if len(table.columns) <= _ORDINARY_WIDTH else _WIDE_ROW_GROUP_ROWS


class ParquetTableWriter:
    """Writes frames of a table to one local file, re-cut into full row groups.

    Use it as a context manager and call `finish` inside the block; a block that ends without
    `finish` leaves no file.

    Args:
        path: The file; its folder exists.
        table: Names, types and nullability of the columns.
        sorted_by: Columns the rows are sorted by, where the table does not say; a promise that
            readers rely on.
    """

    def __init__(self, path: Path, table: Table, *, sorted_by: Sequence[str] = ()) -> None:
        self._path = path
        self._table = table
        self._schema = table.arrow_schema
        self._group_rows = row_group_rows(table)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._rows = 0
        self._is_finished = False
        with storage_errors(path):
            self._writer = pq.ParquetWriter(
                path,
                self._schema,
                **_writer_options(table, self._schema, sorted_by=sorted_by or _order(table)),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_finished:
            self._path.unlink(missing_ok=True)
            with storage_errors(self._path):
                self._writer.close()
            self._path.unlink(missing_ok=True)

    @property
    def rows(self) -> int:
        """Rows taken so far."""
        return self._rows + self._pending_rows

    def write(self, frame: pl.DataFrame) -> None:
        """Append the rows of a frame that has the table's columns.

        Raises:
            StorageFull: the device has no space left.
        """
        if frame.is_empty():
            return
        # Held as Arrow, not as polars: a small filtered polars frame keeps all texts of the large
        # frame it came from alive.
        self._pending.append(to_arrow(frame.select(self._table.names), self._schema))
        self._pending_rows += frame.height
        while self._pending_rows >= self._group_rows:
            self._write_group(self._group_rows)

    def finish(self, metadata: Mapping[str, str] | None = None) -> StoredObject:
        """Write what is left and the footer, then read the file back: footer, row count, digest.

        Raises:
            StorageFull: the device has no space left.
            CorruptData: the file does not hold what was written.
        """
        if self._pending_rows or not self._rows:
            self._write_group(self._pending_rows)
        with storage_errors(self._path):
            if metadata:
                self._writer.add_key_value_metadata(dict(metadata))
            self._writer.close()
        self._is_finished = True
        return verified(self._path, rows=self._rows)

    def _write_group(self, rows: int) -> None:
        merged = pa.concat_tables(self._pending or [self._schema.empty_table()]).combine_chunks()
        group, rest = merged.slice(0, rows), merged.slice(rows)
        self._pending = [rest] if rest.num_rows else []
        self._pending_rows = rest.num_rows
        with storage_errors(self._path):
            self._writer.write_table(group, row_group_size=max(rows, 1))
        self._rows += rows


def to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame as one contiguous Arrow table of that schema."""
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def verified(path: Path, *, rows: int) -> StoredObject:
    """Size and digest of a Parquet file whose footer says `rows`.

    Raises:
        CorruptData: the footer cannot be read or counts other rows.
    """
    found = read_footer(path).num_rows
    if found != rows:
        raise CorruptData(
            str(path),
            "the file does not hold what was written",
            was=found,
            expected=str(rows),
            remedy="Run it again",
        )
    digest, size = file_digest(path)
    return StoredObject(bytes=size, sha256=digest, rows=rows)


def read_footer(path: Path | str) -> pq.FileMetaData:
    """The footer of a Parquet file.

    Raises:
        CorruptData: the file is not Parquet or is cut.
    """
    try:
        with storage_errors(path):
            return pq.read_metadata(path)
    except pa.ArrowInvalid as error:
        raise CorruptData(
            str(path), "not a readable Parquet file", remedy="Delete it and run the partition again"
        ) from error


def key_value_metadata(footer: pq.FileMetaData) -> dict[str, str]:
    """The file's own key-value metadata as text."""
    return {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}


def file_digest(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and the size of a file."""
    digest = hashlib.sha256()
    size = 0
    with storage_errors(path), path.open("rb") as reader:
        while block := reader.read(_HASH_BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def file_size(path: Path) -> int:
    """The size of a file."""
    with storage_errors(path):
        return path.stat().st_size


def _writer_options(table: Table, schema: pa.Schema, *, sorted_by: Sequence[str]) -> dict[str, Any]:
    encodings = {
        column.name: encoding
        for column in table.columns
        if (encoding := _encoding(column.name, column.dtype))
    }
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": _COMPRESSION_LEVEL,
        "version": "2.6",
        "use_dictionary": [
            _leaf(field)
            for field in schema
            if field.name not in encodings and not _is_result(table, field)
        ],
        "column_encoding": encodings,
        "write_statistics": True,
        "write_page_index": True,
        "store_schema": False,
    }
    if sorted_by:
        options["sorting_columns"] = [
            pq.SortingColumn(schema.get_field_index(name)) for name in sorted_by
        ]
    return options


def _is_result(table: Table, field: pa.Field[pa.DataType]) -> bool:
    """A dictionary of numbers that do not repeat makes a candle file a sixth larger, and dearer."""
    return table.has_computed_numbers and pa.types.is_floating(field.type)


def _encoding(name: str, dtype: pl.DataType) -> str | None:
    """The encoding that beats a dictionary: differences for times, shared prefixes for ids."""
    if isinstance(dtype, pl.Datetime):
        return "DELTA_BINARY_PACKED"
    return "DELTA_BYTE_ARRAY" if name == "id" else None


def _order(table: Table) -> tuple[str, ...]:
    return (table.sorted_by,) if table.sorted_by else ()


def _leaf(field: pa.Field[pa.DataType]) -> str:
    """The column's path in the file; a list's values lie two levels below its name."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
