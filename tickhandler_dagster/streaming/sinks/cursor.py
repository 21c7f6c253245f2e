"""How far a tick sink has come: its place in the spool, and the delivery it is about to make.

What belongs here: the file that survives a kill. It is what makes ticks exactly once. A delivery is
written down, with its number of rows, before it begins; a sink that died in the middle delivers the
same rows under the same number again, and the target knows them by it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.spool import SETTING, SPOOL_START, SpoolPosition
from tickhandler_dagster.market.errors import CorruptData


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkCursor:
    """A place between two rows of the spool, and what is under way from there.

    Attributes:
        position: All rows before it are delivered.
        skip: So many rows after `position` are delivered as well. Places are known where a read of
            the spool ended; a delivery may end between two of them.
        sequence: Number of the next row; None before the first.
        pending: Rows of the delivery that has begun; None where none has.
        target: What the target wants to know again.
    """

    position: SpoolPosition = SPOOL_START
    skip: int = 0
    sequence: int | None = None
    pending: int | None = None
    target: Mapping[str, Any] = field(default_factory=dict)


class CursorFile:
    """A cursor on disk: the old one or the new one, never a part.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> SinkCursor:
        """The cursor; that of the very beginning where there is no file.

        Raises:
            CorruptData: the file is not a cursor.
            StorageDenied: the file may not be read.
        """
        try:
            with storage_errors(self._path, setting=SETTING):
                content = json.loads(self._path.read_bytes()) if self._path.exists() else {}
            return _cursor(content)
        except (ValueError, LookupError, TypeError) as error:
            raise CorruptData(
                str(self._path),
                "not the cursor of a sink",
                remedy="Remove it: the sink then delivers again all rows the spool still has",
            ) from error

    def write(self, cursor: SinkCursor) -> None:
        """Replace the file; it is on the device when this returns.

        Raises:
            StorageFull: no space is left.
        """
        document = {
            "position": cursor.position.as_json(),
            "skip": cursor.skip,
            "sequence": cursor.sequence,
            "pending": cursor.pending,
            "target": dict(cursor.target),
        }
        temporary = self._path.with_suffix(".new")
        with storage_errors(self._path, setting=SETTING):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(document, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)


def _cursor(content: Mapping[str, Any]) -> SinkCursor:
    if not content:
        return SinkCursor()
    return SinkCursor(
        position=SpoolPosition.of_json(content["position"]),
        skip=int(content["skip"]),
        sequence=content["sequence"],
        pending=content["pending"],
        target=dict(content["target"]),
    )
