"""CRC-32C in the form Cloud Storage gives it: big-endian, base64.

What does not belong here: SHA-256, which identifies an object for ever (`parquet.py`); this
checksum only tells that a transfer went well.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmap import mmap

_BLOCK_BYTES = 8 * 1024 * 1024


class Crc32c:
    """A checksum that grows with its data.

    Example:
        >>> checksum = Crc32c()
        >>> checksum.update(b"123456789")
        >>> checksum.text
        '4waSgw=='
    """

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Go on with more data."""
        import google_crc32c  # noqa: PLC0415  (native library, of the bucket alone)

        self._value = google_crc32c.extend(self._value, data)

    @property
    def text(self) -> str:
        """The checksum of all data so far."""
        return base64.b64encode(self._value.to_bytes(4, "big")).decode()


def crc32c_of(data: bytes | mmap) -> str:
    """The checksum of bytes, or of a mapped file in blocks.

    Example:
        >>> crc32c_of(b"")
        'AAAAAA=='
    """
    checksum = Crc32c()
    for start in range(0, len(data), _BLOCK_BYTES):
        checksum.update(data[start : start + _BLOCK_BYTES])
    return checksum.text
