"""What survives the engine's process: where to read on, states of bars, what was about to be made.

What belongs here: a venue's files and their atomic writing. What does not: what is in them
(`venue.py`).

`state` is written after sinks have made a round's bars durable. `intent` is written before a round
is built: which rows it sees and which bars it makes. After a kill the round is made again from the
same rows and gives the same values, so that a bar that went out before the kill and the one that
goes out after it cannot contradict each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.venues import VenueId

VERSION = 3
_SETTING = "STREAMING_SPOOL_FOLDER"


Part: TypeAlias = tuple[str, int]
"""What a file beside the state holds, and the number of the state it was stored with."""


class CheckpointFiles:
    """The files of one venue.

    Args:
        folder: Where checkpoints are.
        venue: The venue.
    """

    def __init__(self, folder: Path, venue: VenueId) -> None:
        self._state = folder / f"{venue}.state.json"
        self._intent = folder / f"{venue}.intent.json"

    def write_state(self, text: str) -> None:
        """Replace the state.

        Raises:
            StorageFull: the device has no space left.
        """
        _write(self._state, text)

    def write_part(self, part: str, number: int, content: bytes) -> None:
        """Store what is no text, beside the state of that number.

        Raises:
            StorageFull: the device has no space left.
        """
        _write_bytes(self._part(part, number), content)

    def part(self, part: str, number: int) -> bytes:
        """What was stored with the state of that number.

        Raises:
            CorruptData: it is not there.
        """
        path = self._part(part, number)
        with storage_errors(path, setting=_SETTING):
            try:
                return path.read_bytes()
            except FileNotFoundError as error:
                raise _no_checkpoint(path, "missing beside its state") from error

    def drop_parts(self, *, but: int, kept: Collection[Part] = ()) -> None:
        """Remove what was stored with other states, unless the state of that number goes by it."""
        names = {path.name for path in self._state.parent.glob(self._part("*", but).name)}
        names |= {self._part(*part).name for part in kept}
        for path in self._state.parent.glob(self._part("*", "*").name):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _part(self, part: str, number: int | str) -> Path:
        return self._state.with_name(f"{self._state.name.partition('.')[0]}.{part}-{number}.part")

    def write_intent(self, intent: dict[str, Any]) -> None:
        """Replace the intent.

        Raises:
            StorageFull: the device has no space left.
        """
        _write(self._intent, json.dumps(intent, sort_keys=True))

    def state(self) -> dict[str, Any] | None:
        """The state that was written last; None before the first.

        Raises:
            CorruptData: the file is not a state of this version.
        """
        return _read(self._state)

    def intent(self) -> dict[str, Any] | None:
        """The intent that was written last; None before the first.

        Raises:
            CorruptData: the file is not an intent of this version.
        """
        return _read(self._intent)


def _write(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".tmp")
    with storage_errors(path, setting=_SETTING):
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    with storage_errors(path, setting=_SETTING):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
    try:
        found = json.loads(text)
        version = found["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_checkpoint(path, "not a checkpoint") from error
    if version != VERSION:
        raise _no_checkpoint(path, f"a checkpoint of version {version}")
    return dict(found)


def _no_checkpoint(path: Path, fact: str) -> CorruptData:
    return CorruptData(
        str(path),
        fact,
        expected=f"a checkpoint of version {VERSION}",
        remedy="Remove the file: the engine then begins where its options say",
    )
