"""A venue's checkpoint as values: where it stands, and what it was about to make.

What belongs here: the values and their form as JSON. What does not: the files (`checkpoint.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tickhandler_dagster.adapters.spool import SpoolPosition
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.streaming.bar_records import InstrumentRecords
from tickhandler_dagster.streaming.checkpoint import VERSION, Part
from tickhandler_dagster.streaming.closing import Due, Edges, LateRows
from tickhandler_dagster.streaming.intake import Intake, Place


@dataclass(frozen=True, slots=True)
class Intent:
    """A round that is about to be made.

    Attributes:
        round: Its number.
        rows: Rows of each type it sees, counted from the checkpoint's places.
        due: What it makes.
        gaps: Holes of the feed that were known.
        published_us: The moment its bars bear.
    """

    round: int
    rows: Mapping[DataType, int]
    due: Due
    gaps: tuple[FeedGap, ...]
    published_us: int

    def as_json(self) -> dict[str, Any]:
        """The intent as JSON holds it."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Intent:
        """The intent that JSON holds."""
        due = found["due"]
        return cls(
            found["round"],
            {DataType(name): rows for name, rows in found["rows"].items()},
            Due(
                tuple(due["provisional"]),
                tuple(due["complete"]),
                {symbol: LateRows(**late) for symbol, late in due["amended"].items()},
                due["until_us"],
            ),
            tuple(
                FeedGap(
                    gap["start_us"],
                    gap["end_us"],
                    tuple(DataType(name) for name in gap["data_types"]),
                    tuple(gap["symbols"]),
                    is_overflow=gap["is_overflow"],
                )
                for gap in found["gaps"]
            ),
            found["published_us"],
        )


@dataclass(frozen=True, slots=True)
class VenueState:
    """Where a venue stands after a round.

    Attributes:
        round: Number of the round.
        edges: How far its bars are.
        places: Where each type is read on from after a restart.
        handled: Rows after these places that were read already.
        firsts: By type and symbol the arrival of the day's first row of a book.
        seen: How far the venue's time had come, and the host's time then.
    """

    round: int
    edges: Edges
    places: Mapping[DataType, Place]
    handled: Mapping[DataType, int]
    firsts: Mapping[DataType, Mapping[str, int]]
    seen: tuple[int, int]

    @classmethod
    def of(
        cls,
        number: int,
        edges: Edges,
        intake: Intake,
        floor_us: int,
        of_type: Mapping[DataType, int],
        *,
        seen: tuple[int, int],
    ) -> VenueState:
        """The state after a round; rows of before the floor are needed by no bar to come."""
        floors = {
            name: reader.floor(of_type.get(name, floor_us))
            for name, reader in intake.readers.items()
        }
        return cls(
            number,
            edges,
            {name: place for name, (place, _) in floors.items()},
            {name: rows for name, (_, rows) in floors.items()},
            {name: starts.firsts for name, starts in intake.starts.items()},
            seen,
        )

    @property
    def positions(self) -> dict[DataType, SpoolPosition]:
        """Where each type is read on from after a restart: the spool may forget what is before."""
        return {name: place.position for name, place in self.places.items()}

    def as_text(
        self,
        records: Mapping[str, InstrumentRecords],
        larger: Sequence[Any],
        *,
        memories: Collection[Part],
        tallies: Mapping[str, Any],
    ) -> str:
        """The state, what was published and what it stands on, as JSON.

        Args:
            records: The bars that late rows may still change, by key.
            larger: The larger bars.
            memories: Files of `DayMemories`.
            tallies: Which files hold the tallies.
        """
        fields = {
            "version": VERSION,
            "round": self.round,
            "edges": asdict(self.edges),
            "places": {
                name: [place.position.as_json(), place.skipped]
                for name, place in self.places.items()
            },
            "handled": self.handled,
            "firsts": self.firsts,
            "seen": self.seen,
            "larger": larger,
            "memories": sorted(number for _, number in memories),
            "tallies": tallies,
        }
        bars = ",".join(f"{json.dumps(key)}:{one.as_text()}" for key, one in records.items())
        return f'{json.dumps(fields)[:-1]},"bars":{{{bars}}}}}'

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> tuple[VenueState, Mapping[str, list[Any]]]:
        """The state that JSON holds, and the bars by instrument key."""
        edges = dict(found["edges"])
        edges["held"] = {int(open_us): at for open_us, at in edges["held"].items()}
        edges["late"] = {symbol: LateRows(**late) for symbol, late in edges["late"].items()}
        state = cls(
            found["round"],
            Edges(**edges),
            {
                DataType(name): Place(SpoolPosition.of_json(position), skipped)
                for name, (position, skipped) in found["places"].items()
            },
            {DataType(name): rows for name, rows in found["handled"].items()},
            {DataType(name): dict(known) for name, known in found["firsts"].items()},
            (found["seen"][0], found["seen"][1]),
        )
        return state, found["bars"]
