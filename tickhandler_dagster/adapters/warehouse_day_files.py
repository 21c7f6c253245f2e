"""A day of a warehouse table as one Parquet file: many small objects in, one verified file out.

What belongs here: reading the objects, proving that they are what the manifests say, and writing
their rows. What does not: which files readers see (`duckdb_catalogue.py`).

Three hundred files a day are right for the lake, whose partitions are rebuilt one instrument at a
time, and wrong for SQL, which would open each of them. The file is a copy: the price is the space
of the bars a second time, and what it buys is that a published day no longer changes when the lake
does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.duckdb_views import StoredColumn
from tickhandler_dagster.adapters.folder_walk import files_below
from tickhandler_dagster.adapters.object_store import LocalObjectStore, ObjectStore, storage_errors
from tickhandler_dagster.adapters.parquet import ParquetTableWriter
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData
from tickhandler_dagster.market.tables import Column, Table
from tickhandler_dagster.market.warehouse_tables import WarehouseTable

RETIRED_KEPT_S = 24 * 3600.0
"""How long the file of a replaced day stays for readers that opened the warehouse before."""

_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DayFile:
    """A written file.

    Attributes:
        path: Under the warehouse's folder; names its content.
        rows: Rows in it.
    """

    path: str
    rows: int


def day_files_folder(table: WarehouseTable) -> str:
    """Where the files of a table are, under the warehouse's folder."""
    return f"days/{table.name}"


def write_day_file(
    table: WarehouseTable,
    day: TableDay,
    columns: Sequence[StoredColumn],
    *,
    lake: ObjectStore,
    folder: LocalObjectStore,
) -> DayFile:
    """Write the rows of a day, in the order of venue and object; equal objects give equal bytes.

    Args:
        table: Whose day.
        day: Its objects.
        columns: Columns of the file, in order. One that an object lacks is null there.
        lake: Where the objects are.
        folder: The warehouse's folder.

    Raises:
        ConcurrentWrite: an object is not what the manifest says: it was built anew meanwhile.
        CorruptData: an object has rows of another day or venue, other rows than its manifest says,
            or a column of another type.
        StorageFull: the device has no space left.
    """
    stored = Table(
        name=table.name,
        grain=table.table.grain,
        columns=tuple(
            Column(item.name, item.dtype, item.description, is_nullable=True) for item in columns
        ),
        has_computed_numbers=table.table.has_computed_numbers,
    )
    with folder.scratch() as scratch:
        local = scratch / "day.parquet"
        with ParquetTableWriter(local, stored) as writer:
            for item in sorted(day.objects, key=lambda item: (item.venue, item.path)):
                frame = read_object(lake, item)
                _prove(frame, item, table=table, day=day.day)
                writer.write(_conformed(frame, item, stored))
            written = writer.finish()
        name = f"{day.day}-{written.sha256[:_NAME_DIGITS]}.parquet"
        path = f"{day_files_folder(table)}/{name}"
        _keep(local, path, bytes_=written.bytes, folder=folder)
    return DayFile(path, written.rows)


def read_object(lake: ObjectStore, item: LoadedObject) -> pl.DataFrame:
    """The rows of an object, from the very bytes that its hash was checked on.

    Raises:
        ConcurrentWrite: the object is gone or has another hash.
    """
    data = _bytes(lake.local(item.path))
    found = None if data is None else hashlib.sha256(data).hexdigest()
    if data is None or found != item.sha256:
        raise ConcurrentWrite(
            item.path,
            "the object is not the one that the manifest names",
            was="no object" if found is None else f"sha256 {found[:_NAME_DIGITS]}…",
            expected=f"sha256 {item.sha256[:_NAME_DIGITS]}…",
            remedy="Run the partition again that builds it, unless such a run is on its way; "
            "then publish again",
        )
    return pl.read_parquet(io.BytesIO(data), hive_partitioning=False)


def _bytes(local: Path | None) -> bytes | None:
    if local is None:
        return None
    with storage_errors(local):
        try:
            return local.read_bytes()
        except FileNotFoundError:
            return None  # gone since it was named


def _prove(frame: pl.DataFrame, item: LoadedObject, *, table: WarehouseTable, day: dt.date) -> None:
    """The rows are as many as the manifest says, of that venue, and of that day."""
    moments = pl.col(table.day_column)
    rows, strangers, other_days = frame.select(
        pl.len(),
        pl.col("venue").ne_missing(item.venue.value).sum().alias("strangers"),
        moments.dt.date().ne_missing(day).sum().alias("other_days")
        if frame.schema[table.day_column] != pl.Date()
        else moments.ne_missing(day).sum().alias("other_days"),
    ).row(0)
    for fact, was, expected in (
        ("has other rows than its manifest says", rows, item.rows),
        (f"has rows of another venue than {item.venue}", strangers, 0),
        (f"has rows of another day than {day}", other_days, 0),
    ):
        if was != expected:
            raise CorruptData(
                item.path,
                fact,
                was=f"{was} rows",
                expected=f"{expected} rows",
                remedy="Delete the object, run the partition again that builds it, and publish "
                "again",
            )


def _conformed(frame: pl.DataFrame, item: LoadedObject, stored: Table) -> pl.DataFrame:
    wanted, found = stored.polars_schema, frame.schema
    for name, dtype in wanted.items():
        if found.get(name, dtype) != dtype:
            raise CorruptData(
                item.path,
                f"its column {name} has another type than the warehouse's",
                was=found[name],
                expected=str(dtype),
                remedy="Run the partition again that builds it, and publish again",
            )
    return frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in wanted.items() if name not in found
    )


def _keep(local: Path, path: str, *, bytes_: int, folder: LocalObjectStore) -> None:
    """Put the file where its content belongs.

    One that is there already stays, since readers may have it open, and is made young, so that no
    sweep takes it for a leftover.
    """
    if folder.size(path) == bytes_:
        os.utime(folder.root / path)
    else:
        folder.publish(local, path)


def retire(paths: Iterable[str], *, folder: LocalObjectStore) -> None:
    """Begin the time that files without a place in the catalogue still stay."""
    for path in paths:
        if folder.size(path) is not None:
            os.utime(folder.root / path)


def sweep_day_files(
    table: WarehouseTable, published: Collection[str], *, folder: LocalObjectStore
) -> int:
    """Remove files that no reader can be asking for any more; how many were removed.

    They are files that were replaced, and files of writers that were killed before readers saw
    them. Only the holder of the catalogue's lock may do this.
    """
    home, removed = folder.root / day_files_folder(table), 0
    oldest = time.time() - RETIRED_KEPT_S
    with storage_errors(home, setting="WAREHOUSE_FOLDER"):
        for file, status in files_below(home):
            path = file.relative_to(folder.root).as_posix()
            if path not in published and status.st_mtime < oldest:
                file.unlink()
                removed += 1
    return removed
