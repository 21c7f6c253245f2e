"""The spool: what a live feed brought, as files that are only ever appended to.

What belongs here: where its files are, how they are named and ordered, what a place in them is, who
may write. What does not: writing (`spool_writer.py`), reading (`spool_reader.py`), retention
(`spool_retention.py`).

```text
{root}/{exchange}/{data_type}/{start_us}-{writer}.csv   lines as in the vendor's files, with header
{root}/{exchange}/events/{start_us}-{writer}.jsonl      what the feed says besides
{root}/{exchange}/dead_letters/...                      lines that are no rows, and why
{root}/{exchange}/writer.lock                           held by the one process that writes
{root}/cursors/{name}.json                              how far a consumer has come
```

One process writes an exchange's part, in one segment per folder at a time, and names go up: a
segment is closed once a later one is there. That is all a reader has to know, so that it needs no
word from the writer and none is lost when the writer is killed.
"""

from __future__ import annotations

import fcntl
import io
import re
from dataclasses import dataclass
from pathlib import Path

from tickhandler_dagster.adapters.folder_walk import files_below
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData
from tickhandler_dagster.market.venues import VenueId

EVENTS = "events"
DEAD_LETTERS = "dead_letters"
CURSORS = "cursors"
SETTING = "STREAMING_SPOOL_FOLDER"

_ARRIVAL_CELL = 3
_LOCK = "writer.lock"
_SEGMENT = re.compile(r"(?P<start>\d{16})-(?P<writer>[a-z0-9]+)\.(?:csv|jsonl)")


@dataclass(frozen=True, slots=True, order=True)
class SpoolPosition:
    """A place in one folder of the spool: everything before it has been read.

    Attributes:
        segment: Name of the segment's file; empty for the very beginning.
        byte: Offset in it, at which a line begins.

    Example:
        >>> SpoolPosition.of_json(SpoolPosition("0000000000000005-a.csv", 70).as_json()).byte
        70
    """

    segment: str = ""
    byte: int = 0

    def as_json(self) -> list[str | int]:
        """The position as JSON holds it."""
        return [self.segment, self.byte]

    @classmethod
    def of_json(cls, value: object) -> SpoolPosition:
        """The position that JSON holds.

        Raises:
            CorruptData: it holds none.
        """
        match value:
            case [str(segment), int(byte)]:
                return cls(segment, byte)
            case _:
                raise CorruptData(
                    "spool position",
                    "not a position",
                    was=repr(value)[:100],
                    expected="[segment, byte]",
                    remedy="Remove the file that holds it; the consumer then begins anew",
                )


SPOOL_START = SpoolPosition()
"""Before the first row there is."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the spool.

    Attributes:
        path: The file.
        start_us: Arrival of its first row, made greater than that of the segment before.
    """

    path: Path
    start_us: int

    @property
    def name(self) -> str:
        """The file's name; names order segments."""
        return self.path.name

    @property
    def size(self) -> int:
        """Bytes; 0 where it has been removed meanwhile."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def segment_name(start_us: int, writer: str, *, suffix: str) -> str:
    """The file name of a segment.

    Example:
        >>> segment_name(1723075200000000, "py12", suffix="csv")
        '1723075200000000-py12.csv'
    """
    return f"{start_us:016d}-{writer}.{suffix}"


def arrival_of(line: bytes) -> int | None:
    """Arrival of a line's row, which every data type has in the same cell; None where it is none.

    Example:
        >>> arrival_of(b"deribit,BTC-PERPETUAL,5,7,buy")
        7
    """
    cells = line.split(b",", _ARRIVAL_CELL + 1)
    if len(cells) <= _ARRIVAL_CELL + 1 or not cells[_ARRIVAL_CELL].isdigit():
        return None
    return int(cells[_ARRIVAL_CELL])


def folder_of(root: Path, venue: VenueId, data_type: DataType | None) -> Path:
    """The folder of a venue's data type; of its events where no type is given."""
    return root / venue / (EVENTS if data_type is None else data_type.value)


def segments_in(folder: Path) -> list[Segment]:
    """The segments of a folder, oldest first; none where there is no folder."""
    with storage_errors(folder, setting=SETTING):
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except FileNotFoundError:
            return []
    found = ((name, _SEGMENT.fullmatch(name)) for name in names)
    return [Segment(folder / name, int(match["start"])) for name, match in found if match]


def spooled_types(root: Path, venue: VenueId) -> list[DataType]:
    """The data types a venue has a folder for."""
    return [data_type for data_type in DataType if folder_of(root, venue, data_type).is_dir()]


def spooled_venues(root: Path) -> list[VenueId]:
    """The venues that have a folder."""
    return [venue for venue in VenueId if (root / venue).is_dir()]


def spool_bytes(root: Path) -> int:
    """Size of all files of the spool, of which some are written and removed meanwhile."""
    with storage_errors(root, setting=SETTING):
        return sum(status.st_size for _, status in files_below(root))


def claim(root: Path, venue: VenueId) -> io.BufferedWriter:
    """The right to write a venue's part of the spool, held until the file is closed.

    The kernel ends it with the last process that holds the file open, so that a child which
    inherits it keeps the right when its parent dies.

    Raises:
        ConcurrentWrite: another process has it.
        StorageDenied: the folder may not be written.
    """
    path = root / venue / _LOCK
    with storage_errors(path, setting=SETTING):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConcurrentWrite(
            f"spool {root / venue}",
            "another process writes it",
            remedy="End the other process, or give this one a spool folder of its own",
        ) from None
    return file
