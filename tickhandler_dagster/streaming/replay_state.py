"""How far a replay has come in its spool, so that a killed one goes on with the next row.

What belongs here: the file that says it, and counting what was appended after it was written. What
does not: playing (`replay.py`).

Rows come first, the state after them: what was appended in between is counted in the spool itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.spool import SpoolPosition, folder_of, segments_in
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, InvalidInput
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.replay_merge import RowFolder

_FOLDER = "replay"
_FILE = "state.json"


@dataclass(slots=True)
class ReplayState:
    """What is in the spool.

    Attributes:
        source: Name of what is played.
        shift_us: Added to both clocks of every row.
        rows: Rows appended, by venue and data type.
        ends: Where they end in the spool.
        events: Recorded events said.
        up: Venues whose feed was said to be up.
    """

    source: str
    shift_us: int
    rows: dict[RowFolder, int] = field(default_factory=dict)
    ends: dict[RowFolder, SpoolPosition] = field(default_factory=dict)
    events: int = 0
    up: set[VenueId] = field(default_factory=set)


class ReplayStateFile:
    """The state of a spool that is played into.

    Args:
        root: The spool's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._store = LocalObjectStore(root / _FOLDER)

    def save(self, state: ReplayState) -> None:
        """Replace the state; the rows it speaks of have been appended."""
        document = {
            "source": state.source,
            "shift_us": state.shift_us,
            "events": state.events,
            "up": sorted(state.up),
            "folders": [
                [venue, data_type, state.rows.get((venue, data_type), 0), *end.as_json()]
                for (venue, data_type), end in sorted(state.ends.items())
            ],
        }
        self._store.write(_FILE, canonical_json(document))

    def read(self, source: str) -> ReplayState | None:
        """The state, with what was appended since it was saved; None before the first replay.

        Raises:
            InvalidInput: the spool holds a replay of something else.
            CorruptData: the file holds something else.
        """
        data = self._store.read(_FILE)
        if data is None:
            return None
        try:
            state = _parsed(data)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(
                f"replay into {self._root}",
                "its state cannot be read",
                was=str(error),
                remedy="Play into another folder",
            ) from error
        if state.source != source:
            raise InvalidInput(
                f"replay into {self._root}",
                "the spool holds another replay",
                was=state.source,
                expected=source,
                remedy="Play into another folder",
            )
        for folder, end in state.ends.items():
            state.rows[folder] += self._lines_after(folder, end)
        return state

    def _lines_after(self, folder: RowFolder, end: SpoolPosition) -> int:
        """Rows appended after a place; the writer's right to the folder has been taken."""
        lines = 0
        for segment in segments_in(folder_of(self._root, *folder)):
            if segment.name >= end.segment:
                text = segment.path.read_bytes()[end.byte if segment.name == end.segment else 0 :]
                has_header = segment.name > end.segment or end.byte == 0
                lines += max(0, text.count(b"\n") - has_header)
        return lines

    def ends(self, folders: list[RowFolder]) -> dict[RowFolder, SpoolPosition]:
        """Where the spool's folders end now."""
        reader = SpoolReader(self._root)
        return {folder: reader.end(*folder) for folder in folders}


def _parsed(data: bytes) -> ReplayState:
    document = json.loads(data)
    state = ReplayState(
        source=document["source"],
        shift_us=document["shift_us"],
        events=document["events"],
        up={VenueId(venue) for venue in document["up"]},
    )
    for venue, data_type, rows, segment, byte in document["folders"]:
        folder = (VenueId(venue), DataType(data_type))
        state.rows[folder] = int(rows)
        state.ends[folder] = SpoolPosition.of_json([segment, byte])
    return state
