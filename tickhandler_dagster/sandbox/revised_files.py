"""A file as the vendor exports it again: other content, the same content, always a whole gzip.

What belongs here: the new bytes. What does not: when a file is revised (`faults.py`) and its
headers (`handlers.py`).
"""

from __future__ import annotations

import gzip
import struct
import zlib

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES

_HAS_COMMENT = 0x10
_HEADER_BYTES = 10
_NINE = ord("9")


def with_fewer_rows(body: bytes, _: DataType) -> bytes:
    """Every third row is gone."""
    lines = gzip.decompress(body).splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines) if not number or number % 3]
    return gzip.compress(b"".join(kept), 6, mtime=0)


def of_the_same_size(body: bytes, data_type: DataType) -> bytes:
    """One digit of a price or amount is another, and the file is as long as it was.

    Better compression makes room, and a comment in gzip's header fills what is left of it.

    Raises:
        ValueError: the file was compressed so well that there is no room.
    """
    text = _with_another_digit(gzip.decompress(body), data_type)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(text) + packer.flush()
    tail = struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)
    room = len(body) - _HEADER_BYTES - len(packed) - len(tail)
    if room < 0:
        raise ValueError(f"a file of {len(body)} bytes with another digit is {-room} bytes longer")
    comment = b"x" * (room - 1) + b"\0" if room else b""
    header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, _HAS_COMMENT if room else 0, 0, 0, 255)
    return header + comment + packed + tail


def _with_another_digit(text: bytes, data_type: DataType) -> bytes:
    """The last digit of the middle row's last price or amount, one up or down, never to zero."""
    lines = text.splitlines(keepends=True)
    columns = [
        number
        for number, name in enumerate(RAW_TABLES[data_type].header)
        if name.endswith(("price", "amount"))
    ]
    row = (len(lines) + 1) // 2
    if row < len(lines):
        cells = lines[row].rstrip(b"\n").split(b",")
        column = max(column for column in columns if cells[column])
        last = cells[column][-1]
        cells[column] = cells[column][:-1] + bytes([last - 1 if last == _NINE else last + 1])
        lines[row] = b",".join(cells) + b"\n"
    return b"".join(lines)
