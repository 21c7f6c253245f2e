"""Files that are read in parts and count what was read: of a device, or of a bucket by ranges.

What belongs here: bytes. What does not: which bytes are needed (`row_group_reads.py`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tickhandler_dagster.adapters.object_store import ObjectStore, storage_errors


@dataclass(slots=True)
class ReadCount:
    """What was read so far.

    Attributes:
        opened: Objects that were opened.
        requests: Reads of a range of bytes.
        bytes: Bytes read.
    """

    opened: int = 0
    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ObjectRanges:
    """An object of one version, read by ranges.

    Attributes:
        size: Its bytes.
        read: The bytes from `start` to `end`, excluded.
        close: Called when nothing more is read.
    """

    size: int
    read: Callable[[int, int], bytes]
    close: Callable[[], None] = lambda: None


@runtime_checkable
class RangedStore(Protocol):
    """A store whose objects are far away and can be read in parts."""

    def ranges(self, path: str) -> ObjectRanges | None:
        """The present object; None where there is none."""
        ...


class CountedFile(io.RawIOBase):
    """A file over ranges of an object.

    Args:
        ranges: The object.
        count: Where reads are counted.
    """

    def __init__(self, ranges: ObjectRanges, count: ReadCount) -> None:
        super().__init__()
        self._ranges = ranges
        self._count = count
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._ranges.size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """The present place."""
        return self._place

    def size(self) -> int:
        """Bytes of the object."""
        return self._ranges.size

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes from the present place, or those that are left."""
        left = max(self._ranges.size - self._place, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._ranges.read(self._place, self._place + wanted) if wanted else b""
        self._place += len(data)
        self._count.requests += 1
        self._count.bytes += len(data)
        return data

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def close(self) -> None:
        """Let the object go."""
        if not self.closed:
            self._ranges.close()
        super().close()


def open_counted(store: ObjectStore, path: str, count: ReadCount) -> CountedFile | None:
    """The object as a file of which only the parts that are read travel; None where there is none.

    A store that is neither far away nor knows ranges gives its local file.
    """
    ranges = store.ranges(path) if isinstance(store, RangedStore) else _local(store, path)
    if ranges is None:
        return None
    count.opened += 1
    return CountedFile(ranges, count)


def _local(store: ObjectStore, path: str) -> ObjectRanges | None:
    local = store.local(path)
    if local is None:
        return None
    with storage_errors(local):
        file = local.open("rb", buffering=0)

    def read(start: int, end: int) -> bytes:
        with storage_errors(local):
            return os.pread(file.fileno(), end - start, start)

    return ObjectRanges(os.fstat(file.fileno()).st_size, read, file.close)
