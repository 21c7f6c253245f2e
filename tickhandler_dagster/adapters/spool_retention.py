"""How far consumers have come, and what of the spool can go.

What belongs here: named cursors and the deletion of closed segments. What does not: what consumers
do with the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from tickhandler_dagster.adapters.object_store import LocalObjectStore, storage_errors
from tickhandler_dagster.adapters.spool import (
    CURSORS,
    EVENTS,
    SETTING,
    SpoolPosition,
    folder_of,
    segments_in,
    spooled_types,
    spooled_venues,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, InvalidInput, MissingUpstream
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.venues import VenueId

Folder = tuple[VenueId, DataType | None]
"""A folder of the spool: a venue's data type, or its events."""

_SWEPT = "swept"
_NAME = re.compile(r"[a-z0-9_-]+")


class SpoolCursors:
    """Places of named consumers, each in a file of its own that is replaced whole.

    Args:
        root: The spool's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = LocalObjectStore(root / CURSORS)

    def names(self) -> list[str]:
        """Consumers that have a cursor."""
        return [path.removesuffix(".json") for path in self._store.list("")]

    def read(self, name: str) -> dict[Folder, SpoolPosition]:
        """Where a consumer is; empty where it has no cursor.

        Raises:
            CorruptData: the file holds something else.
        """
        data = self._store.read(_file(name))
        if data is None:
            return {}
        try:
            document = json.loads(data)
            return {
                (VenueId(venue), None if folder == EVENTS else DataType(folder)): (
                    SpoolPosition.of_json(position)
                )
                for venue, folders in document.items()
                for folder, position in folders.items()
            }
        except (ValueError, AttributeError) as error:
            raise CorruptData(
                f"cursor {name}",
                "not a cursor",
                was=str(error),
                remedy=f"Remove {self._root / CURSORS / _file(name)}; the consumer begins anew",
            ) from error

    def save(self, name: str, positions: Mapping[Folder, SpoolPosition]) -> None:
        """Say that a consumer needs nothing before these places any more.

        A folder that is not named is one the consumer does not read: it holds nothing back there.
        """
        document: dict[str, dict[str, object]] = {}
        for (venue, data_type), position in positions.items():
            document.setdefault(venue, {})[data_type or EVENTS] = position.as_json()
        self._store.write(_file(name), canonical_json(document))

    def remove(self, name: str) -> None:
        """Forget a consumer: nothing is kept for it any more."""
        self._store.delete(_file(name))


def sweep(root: Path, *, now_us: int, keep_us: int) -> int:
    """Delete closed segments that began long ago and that every cursor has passed; the bytes freed.

    The newest segment of a folder stays, whatever its age: it may be written.

    Args:
        root: The spool's folder.
        now_us: The time, by the clock that stamps arrivals.
        keep_us: Segments that ended less than this ago stay.

    Raises:
        StorageDenied: the folder may not be written.
    """
    cursors = SpoolCursors(root)
    places = [cursors.read(name) for name in cursors.names()]
    freed = 0
    for venue in spooled_venues(root):
        for data_type in (None, *spooled_types(root, venue)):
            held = [place[venue, data_type] for place in places if (venue, data_type) in place]
            freed += _sweep_folder(folder_of(root, venue, data_type), held, now_us - keep_us)
    return freed


def swept_before(root: Path, venue: VenueId, data_type: DataType) -> int | None:
    """The arrival before which rows were deleted; None where none ever were.

    Raises:
        StorageDenied: the folder may not be read.
    """
    path = folder_of(root, venue, data_type) / _SWEPT
    with storage_errors(path, setting=SETTING):
        try:
            return int(path.read_text())
        except FileNotFoundError:
            return None


def require_kept(root: Path, places: Mapping[Folder, SpoolPosition], *, remedy: str) -> None:
    """Refuse to read on from places of which rows after them were deleted.

    Raises:
        MissingUpstream: some were: what is made of the rest would look whole.
    """
    for (venue, data_type), place in places.items():
        kept_us = swept_before(root, venue, data_type) if data_type is not None else None
        if place.segment and kept_us is not None and place.segment < f"{kept_us:016d}":
            raise MissingUpstream(
                f"spool {folder_of(root, venue, data_type)}",
                "rows were deleted that are needed to go on",
                was=f"kept from {kept_us} us on",
                expected=f"from {place.segment} on",
                remedy=remedy,
            )


def _sweep_folder(folder: Path, held: list[SpoolPosition], before_us: int) -> int:
    """Delete the segments that ended before a moment and lie before all places."""
    segments = segments_in(folder)
    freed = 0
    for segment, later in pairwise(segments):
        is_passed = all(place.segment > segment.name for place in held)
        if later.start_us > before_us or not is_passed:
            break
        freed += segment.size
        with storage_errors(segment.path, setting=SETTING):
            # Said before it is done: whoever finds fewer rows than there were finds this too.
            mark = folder / f"{_SWEPT}.new"
            mark.write_text(str(later.start_us))
            mark.replace(folder / _SWEPT)
            segment.path.unlink(missing_ok=True)
    return freed


def _file(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"cursor '{name}'",
            "not a name",
            expected="lower case letters, digits, - and _",
            remedy="Choose another name",
        )
    return f"{name}.json"
