"""Lines that are no rows, kept as lines of JSON beside the spool they came from.

What belongs here: writing each once, however often a consumer reads it. What does not: why a line
is no row (`spool_lines.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.spool import DEAD_LETTERS, SETTING
from tickhandler_dagster.adapters.spool_lines import DeadLetter
from tickhandler_dagster.market.json_fields import canonical_json


class DeadLetterFile:
    """The dead letters of one consumer: a file per venue, data type and segment.

    Args:
        root: The spool's folder.
        consumer: Who reads; stands in the file's name, as consumers write apart.
    """

    def __init__(self, root: Path, consumer: str) -> None:
        self._root = root
        self._consumer = consumer
        self._known: tuple[Path, set[int]] = (Path(), set())
        self.count = 0
        """Letters that came since the start, those kept before among them."""

    def __call__(self, letters: list[DeadLetter]) -> None:
        """Append those that are not there yet.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the folder may not be written.
        """
        self.count += len(letters)
        for letter in letters:
            path = self._path(letter)
            with storage_errors(path, setting=SETTING):
                known = self._places(path)
                if letter.byte in known:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(_line(letter))
                known.add(letter.byte)

    def _path(self, letter: DeadLetter) -> Path:
        name = f"{letter.data_type}-{letter.segment}-{self._consumer}.jsonl"
        return self._root / letter.venue / DEAD_LETTERS / name

    def _places(self, path: Path) -> set[int]:
        """Where the letters of a file begin; of the file used last, from memory."""
        if self._known[0] != path:
            lines = path.read_bytes().splitlines() if path.exists() else []
            self._known = (path, {json.loads(line)["byte"] for line in lines})
        return self._known[1]


def _line(letter: DeadLetter) -> bytes:
    fields = {
        "segment": letter.segment,
        "byte": letter.byte,
        "reason": letter.reason,
        "line": letter.line,
    }
    return canonical_json(fields) + b"\n"
