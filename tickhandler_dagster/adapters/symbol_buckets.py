"""Rows of many instruments, set aside by instrument while a grouped file is read once.

What belongs here: the rows between reading and writing, in memory while they are few and on disk
when they are many. What the rows mean is for `grouped_conversion.py`.

The rows on disk lie in buckets, each a compressed Arrow stream that holds every row of its
instruments in file order. There are as many buckets as bring one down to a size that fits in
memory; a bucket that an active instrument makes larger is read once per instrument of it instead.
The road not taken is one open file per instrument: thousands of them, each with its own buffer and
a batch of a few rows per block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tickhandler_dagster.adapters.object_store import storage_errors

CODE = "_code"
"""Number of the row's instrument."""

_IPC = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, slots=True)
class BucketLimits:
    """How much lies in memory.

    Attributes:
        buffer_bytes: Rows are set aside when this much came together.
        bucket_bytes: Size of a bucket that is loaded whole.
        max_buckets: Files open at once.
    """

    buffer_bytes: int = 48 * 1024 * 1024
    bucket_bytes: int = 64 * 1024 * 1024
    max_buckets: int = 256


class SymbolBuckets:
    """Takes frames of mixed instruments and gives them back by instrument.

    Args:
        folder: For the buckets.
        limits: How much lies in memory.
    """

    def __init__(self, folder: Path, limits: BucketLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._pending: list[pl.DataFrame] = []
        self._pending_bytes = 0
        self._buckets: list[_Bucket] = []
        self._codes: set[int] = set()

    @property
    def codes(self) -> frozenset[int]:
        """Numbers of all instruments that have rows."""
        return frozenset(self._codes)

    def add(self, frame: pl.DataFrame, *, share_read: float) -> None:
        """Set rows aside.

        Args:
            frame: Has the column `CODE`; rows in file order.
            share_read: Part of the source read so far, in (0, 1]; foretells the whole size when the
                first rows go to disk.

        Raises:
            StorageFull: the device has no space left.
        """
        if frame.is_empty():
            return
        self._codes.update(frame.get_column(CODE).unique().to_list())
        self._pending.append(frame)
        self._pending_bytes += int(frame.estimated_size())
        if self._pending_bytes >= self._limits.buffer_bytes:
            self._spill(share_read)

    def groups(self) -> Iterator[tuple[int, Iterator[pl.DataFrame]]]:
        """Per instrument its code and its rows in file order, in frames that fit in memory.

        The frames of one instrument are to be taken before the next instrument is asked for.
        """
        if not self._buckets:
            yield from _by_code(_merged(self._pending))
            return
        self._spill(1.0)
        for bucket in self._buckets:
            yield from bucket.groups(self._limits.bucket_bytes)

    def close(self) -> None:
        """Remove the buckets."""
        for bucket in self._buckets:
            bucket.remove()

    def _spill(self, share_read: float) -> None:
        if not self._pending:
            return
        rows = _merged(self._pending)
        self._pending, size, self._pending_bytes = [], self._pending_bytes, 0
        if not self._buckets:
            self._open(rows, expected_bytes=size / share_read)
        number = rows.get_column(CODE).to_numpy() % len(self._buckets)
        order = np.argsort(number, kind="stable")
        ends = np.cumsum(np.bincount(number, minlength=len(self._buckets)))
        rows = rows[order]
        for bucket, start, end in zip(self._buckets, [0, *ends[:-1]], ends, strict=True):
            bucket.append(rows[int(start) : int(end)])

    def _open(self, rows: pl.DataFrame, *, expected_bytes: float) -> None:
        wanted = int(expected_bytes / self._limits.bucket_bytes) + 1
        schema = _arrow(rows.clear()).schema
        self._buckets = [
            _Bucket(self._folder / f"bucket-{number}.arrows", schema)
            for number in range(min(wanted, self._limits.max_buckets))
        ]


class _Bucket:
    """A file of rows of some instruments."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._bytes = 0
        self._codes: set[int] = set()
        with storage_errors(path):
            self._writer = pa.ipc.new_stream(str(path), schema, options=_IPC)

    def append(self, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        self._bytes += int(frame.estimated_size())
        self._codes.update(frame.get_column(CODE).unique().to_list())
        with storage_errors(self._path):
            self._writer.write_table(_arrow(frame))

    def groups(self, bucket_bytes: int) -> Iterator[tuple[int, Iterator[pl.DataFrame]]]:
        with storage_errors(self._path):
            self._writer.close()
        if self._bytes <= 2 * bucket_bytes:
            yield from _by_code(_merged([pl.DataFrame(batch) for batch in self._batches()]))
        else:
            for code in sorted(self._codes):
                yield code, self._of(code)
        self.remove()

    def remove(self) -> None:
        self._writer.close()
        self._path.unlink(missing_ok=True)

    def _of(self, code: int) -> Iterator[pl.DataFrame]:
        # Filtered by Arrow, which copies texts: a filtered polars frame would keep all of the
        # batch's texts alive.
        for batch in self._batches():
            yield pl.DataFrame(batch.filter(pc.field(CODE) == code)).drop(CODE)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with storage_errors(self._path), pa.OSFile(str(self._path), "rb") as file:
            yield from pa.ipc.open_stream(file)


def _merged(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames) if frames else pl.DataFrame()


def _by_code(rows: pl.DataFrame) -> Iterator[tuple[int, Iterator[pl.DataFrame]]]:
    if rows.is_empty():
        return
    codes: npt.NDArray[np.int64] = rows.get_column(CODE).to_numpy()
    order = np.argsort(codes, kind="stable")
    rows = rows.drop(CODE)[order]
    found, starts = np.unique(codes[order], return_index=True)
    ends = [*starts[1:], len(codes)]
    for code, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
        yield int(code), iter((rows[start : int(end)],))


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
