"""A downloaded `.csv.gz` as blocks of complete lines, read once, in bounded memory, to its CRC.

What belongs here: the compressed stream and where lines end. What a line means is
`market/tick_csv.py`.

An empty dataset comes in three shapes, all of which are a file with no rows: no bytes at all, gzip
of nothing, and gzip of the header alone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isal import igzip, isal_zlib

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.errors import CorruptData

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 16 * 1024 * 1024
"""Uncompressed bytes of a block: a fraction of a row group, large beside the cost of a call."""

_GZIP_MAGIC = b"\x1f\x8b"
_REMEDY = "Run the partition again; the file is fetched anew"


class TickFile:
    """A vendor file on disk; digest and size are known once `blocks` is exhausted.

    Args:
        path: The `.csv.gz`.
        subject: The file's name in errors.
        block_bytes: Uncompressed bytes of a block; every line is shorter.
    """

    def __init__(self, path: Path, *, subject: str, block_bytes: int = BLOCK_BYTES) -> None:
        self._path = path
        self._subject = subject
        self._block_bytes = block_bytes
        self._raw = _HashingReader(path)

    @property
    def subject(self) -> str:
        """The file's name in errors."""
        return self._subject

    @property
    def sha256(self) -> str:
        """Digest of the compressed bytes read so far, in hex."""
        return self._raw.sha256

    @property
    def bytes_read(self) -> int:
        """Compressed bytes read so far."""
        return self._raw.bytes_read

    @property
    def bytes_total(self) -> int:
        """Compressed size of the file."""
        return self._path.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        """The text in blocks that end where a line ends; the first begins with the header line.

        Raises:
            CorruptData: not gzip, cut, a wrong checksum, bytes after the end, or a last line
                without its end.
        """
        with storage_errors(self._path), self._raw as raw:
            if not self._check_magic():
                return
            # the constructor has no types of its own
            with igzip.IGzipFile(fileobj=raw, mode="rb") as text:  # type: ignore[no-untyped-call]
                yield from self._lines(text)

    def _check_magic(self) -> bool:
        """False where the file has no bytes."""
        with self._path.open("rb") as reader:
            start = reader.read(256)
        if start and not start.startswith(_GZIP_MAGIC):
            kind = "an HTML page" if start.lstrip()[:1] == b"<" else "not gzip"
            raise self._corrupt(f"{kind} instead of a gzip file", was=repr(start[:60]))
        return bool(start)

    def _lines(self, text: io.BufferedIOBase) -> Iterator[bytes]:
        # One buffer for the whole file: new memory for every block costs as much as inflating it.
        buffer = bytearray(self._block_bytes)
        view = memoryview(buffer)
        filled = 0
        while count := self._inflate(text, view[filled:]):
            filled += count
            end = buffer.rfind(b"\n", 0, filled) + 1
            if end:
                yield bytes(view[:end])
                view[: filled - end] = view[end:filled]
                filled -= end
            if filled == self._block_bytes:
                raise self._corrupt("a line longer than a block", was=repr(bytes(view[:60])))
        if filled:
            tail = bytes(view[max(0, filled - 60) : filled])
            raise self._corrupt("the last line does not end", was=repr(tail))

    def _inflate(self, text: io.BufferedIOBase, target: memoryview) -> int:
        try:
            return text.readinto(target)
        except EOFError as error:
            raise self._corrupt(
                "the gzip stream is cut", was=f"{self.bytes_total} bytes"
            ) from error
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" in str(error):
                raise self._corrupt(
                    "bytes after the end of the gzip stream", was=str(error)
                ) from error
            raise self._corrupt("the gzip checksum does not match", was=str(error)) from error
        except isal_zlib.error as error:  # type: ignore[misc]  # typed as an instance
            raise self._corrupt("the gzip stream is damaged", was=str(error)) from error

    def _corrupt(self, fact: str, *, was: str) -> CorruptData:
        return CorruptData(self._subject, fact, was=was, remedy=_REMEDY)


class _HashingReader(io.RawIOBase):
    """The compressed bytes, hashed as they pass, so that the file is read once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._reader = io.FileIO(path)
        self._digest = hashlib.sha256()
        self.bytes_read = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._reader.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        self.bytes_read += count
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()
