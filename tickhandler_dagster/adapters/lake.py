"""The lake: tables and documents under the values of `market/paths.py`, in any object store.

What belongs here: one object in, one object out. What does not: which objects a partition has
(`pipeline`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.object_store import ObjectStore, of_each
from tickhandler_dagster.adapters.parquet import (
    ParquetTableWriter,
    StoredObject,
    file_digest,
    key_value_metadata,
    read_footer,
)
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.paths import LakeObject
from tickhandler_dagster.market.tables import Table

_UNREADABLE = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.NoDataError)


class Lake:
    """Typed access to an object store.

    Args:
        store: Where the bytes are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def store(self) -> ObjectStore:
        """Where the bytes are."""
        return self._store

    def exists(self, item: LakeObject) -> bool:
        """The object is in the lake."""
        return self._store.size(item.path) is not None

    def size(self, item: LakeObject) -> int | None:
        """The object's size in bytes; None where there is none."""
        return self._store.size(item.path)

    def local(self, item: LakeObject) -> Path | None:
        """A file on this machine with the object's bytes, for readers; None where there is none."""
        return self._store.local(item.path)

    def sizes(self, items: Sequence[LakeObject]) -> list[int | None]:
        """The sizes in bytes in the order of the items."""
        return of_each(self._store, self.size, items)

    def fetch(self, items: Sequence[LakeObject]) -> list[Path | None]:
        """`local` of every item, in their order."""
        return of_each(self._store, self.local, items)

    def delete(self, item: LakeObject) -> None:
        """Remove the object; nothing happens where there is none."""
        self._store.delete(item.path)

    def publish(self, local_file: Path, item: LakeObject) -> None:
        """Move a finished local file into the lake atomically."""
        self._store.publish(local_file, item.path)

    def write_table(
        self,
        item: LakeObject,
        frame: pl.DataFrame,
        table: Table,
        *,
        metadata: Mapping[str, str] | None = None,
        sorted_by: Sequence[str] = (),
    ) -> StoredObject:
        """Store a frame as Parquet, verified before it is visible.

        Args:
            item: Where.
            frame: Has the table's columns; their order does not matter.
            table: Names, types and nullability.
            metadata: Key-value texts for the footer; no clock, no secret.
            sorted_by: Columns the frame is sorted by, ascending.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the lake may not be written.
        """
        with self._store.scratch() as folder:
            local = folder / "table.parquet"
            with ParquetTableWriter(local, table, sorted_by=sorted_by) as writer:
                writer.write(frame)
                stored = writer.finish(metadata)
            self._store.publish(local, item.path)
        return stored

    def read_table(
        self,
        item: LakeObject,
        *,
        columns: Sequence[str] | None = None,
        local: Path | None = None,
    ) -> pl.DataFrame | None:
        """The stored table; None where there is none.

        Args:
            item: Which.
            columns: These alone.
            local: Its file on this machine, where the caller has it: a bucket is not asked again.

        Raises:
            CorruptData: the object is not readable Parquet.
            StorageDenied: the lake may not be read.
        """
        local = local or self.local(item)
        if local is None:
            return None
        lazy = _lazy(local)
        try:
            return (lazy if columns is None else lazy.select(columns)).collect()
        except _UNREADABLE as error:
            raise _unreadable(item) from error

    def scan(self, item: LakeObject) -> pl.LazyFrame | None:
        """A lazy reader of the stored table; None where there is none.

        Raises:
            StorageDenied: the lake may not be read.
        """
        local = self.local(item)
        return None if local is None else _lazy(local)

    def metadata(self, item: LakeObject) -> dict[str, str] | None:
        """The key-value texts in the footer of a stored table; None where there is no object.

        Raises:
            CorruptData: the object is not readable Parquet.
        """
        local = self.local(item)
        return None if local is None else key_value_metadata(read_footer(local))

    def digest(self, item: LakeObject) -> StoredObject:
        """Size and SHA-256 of a stored object, read in blocks.

        Raises:
            CorruptData: there is no such object.
        """
        local = self.local(item)
        if local is None:
            raise _unreadable(item)
        sha256, size = file_digest(local)
        return StoredObject(bytes=size, sha256=sha256)

    def write_json(self, item: LakeObject, document: Any) -> StoredObject:  # noqa: ANN401  (any JSON)
        """Store a document as JSON with sorted keys, so that equal documents are equal bytes."""
        data = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode()
        self._store.write(item.path, data)
        return StoredObject(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def read_json(self, item: LakeObject) -> Any | None:  # noqa: ANN401  (any JSON)
        """The stored document; None where there is none.

        Raises:
            CorruptData: the object is not JSON.
        """
        data = self._store.read(item.path)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise _unreadable(item) from error


def _lazy(local: Path) -> pl.LazyFrame:
    return pl.scan_parquet(local, glob=False, hive_partitioning=False)


def _unreadable(item: LakeObject) -> CorruptData:
    return CorruptData(
        item.path, "the object cannot be read", remedy="Delete it and run the partition again"
    )
