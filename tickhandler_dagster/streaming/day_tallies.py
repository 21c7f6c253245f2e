"""What a venue's windows of the running day add up to, and how that survives the process.

What belongs here: the tallies of bars that no late row reaches any more, their sum with those that
one may still change, and their files. What does not: the form of a file (`tally_bytes.py`) and the
memory that the next day makes of it (`day_memories.py`).

A bar's tally is stored once, in the round that made it. Those of bars that are settled are added
up, a twentieth of the instruments with every bar, so that no round writes more than some of them;
what is stored of a bar goes when all have added it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_tally import DayTally, memory_of
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.streaming.bar_records import WIDTH_US, InstrumentRecords
from tickhandler_dagster.streaming.checkpoint import CheckpointFiles, Part
from tickhandler_dagster.streaming.tally_bytes import tallies_from_bytes, tallies_to_bytes

GROUPS = 20
"""Parts of the instruments, one of which is added up with every bar that is settled."""

_BARS, _SETTLED = "tallies", "settled"


class DayTallies:
    """The tallies of a venue's instruments.

    Args:
        records: The bars that late rows may still change, by key.
    """

    def __init__(self, records: Mapping[str, InstrumentRecords]) -> None:
        self._records = records
        self._settled: dict[str, list[DayTally]] = {}
        self._settled_us = 0
        self._fresh: set[int] = set()
        self._bars: dict[int, int] = {}
        self._groups: dict[int, tuple[int, int]] = {}

    def changed(self, open_us: int) -> None:
        """A bar was made, or made anew with another tally."""
        self._fresh.add(open_us)

    def memory(self, key: str, midnight_us: int, before: DayMemory | None) -> DayMemory | None:
        """What the day from this midnight on remembers, of a day before that was seen whole.

        Args:
            key: The instrument.
            midnight_us: The midnight.
            before: What the day before remembered.

        Nulls: None where it was not seen whole: its bars did not begin with it, or rows were
            given up.
        """
        records, start_us = self._records[key].bars, midnight_us - US_PER_DAY
        last = records.get(midnight_us - WIDTH_US)
        parts = [
            *(one for one in self._settled.get(key, ()) if start_us <= one.start_us < midnight_us),
            *(records[at].tally for at in sorted(records) if start_us <= at < midnight_us),
        ]
        if last is None or parts[0].start_us != start_us:
            return None
        follow = all(one.end_us == other.start_us for one, other in pairwise(parts))
        if not follow or not all(one.is_seen for one in parts):
            return None
        return memory_of(DayTally.total(parts), before, last.carry)

    # ---- storing ---------------------------------------------------------------------------

    def store(self, files: CheckpointFiles, number: int, *, settled_us: int) -> None:
        """Store what is new, and take bars as settled that end before a moment.

        Args:
            files: Where to.
            number: The state that this is stored with.
            settled_us: The moment.
        """
        if self._fresh:
            fresh = [
                (key, records.bars[open_us].tally)
                for open_us in sorted(self._fresh)
                for key, records in self._records.items()
                if open_us in records.bars
            ]
            files.write_part(_BARS, number, tallies_to_bytes(fresh))
            self._bars |= dict.fromkeys(self._fresh, number)
            self._fresh.clear()
        turns: set[int] = set()
        for key, records in self._records.items():
            for record in records.forget_before(settled_us):
                self._settle(key, record.tally)
                turns.add(record.tally.start_us // WIDTH_US % GROUPS)
        if turns:
            files.write_part(_SETTLED, number, tallies_to_bytes(self._added_up(turns)))
            self._groups |= dict.fromkeys(turns, (number, self._settled_us))
            self._let_go()

    @property
    def parts(self) -> set[Part]:
        """The files in use."""
        return {
            *((_BARS, number) for number in self._bars.values()),
            *((_SETTLED, number) for number, _ in self._groups.values()),
        }

    def as_json(self) -> dict[str, Any]:
        """Which file holds what, as JSON holds it."""
        return {
            "bars": list(self._bars.items()),
            "groups": [[group, *place] for group, place in self._groups.items()],
        }

    def _settle(self, key: str, tally: DayTally) -> None:
        """Add a bar to those before it; of a day that began without a bar nothing is kept."""
        self._settled_us = max(self._settled_us, tally.end_us)
        known = self._settled.get(key)
        if tally.start_us % US_PER_DAY == 0:
            self._settled[key] = [tally]
        elif known and known[-1].end_us == tally.start_us:
            known.append(tally)
        else:
            self._settled.pop(key, None)

    def _added_up(self, groups: set[int]) -> list[tuple[str, DayTally]]:
        found = []
        for key, parts in self._settled.items():
            if group_of(key) in groups:
                parts[:] = [DayTally.total(parts)]
                found.append((key, parts[0]))
        return found

    def _let_go(self) -> None:
        """Bars that every instrument's stored sum holds need no file of their own."""
        groups = {group_of(key) for key in self._records}
        if groups <= self._groups.keys():
            held_us = min(self._groups[group][1] for group in groups)
            self._bars = {at: number for at, number in self._bars.items() if at >= held_us}

    # ---- after a restart -------------------------------------------------------------------

    def restore(
        self, files: CheckpointFiles, found: Mapping[str, Any], bars: Mapping[str, Sequence[Any]]
    ) -> dict[str, InstrumentRecords]:
        """Go on from where a checkpoint stands; the records of the instruments' bars.

        Args:
            files: Where it is.
            found: What `as_json` gave.
            bars: The records as JSON holds them, by key.

        Raises:
            CorruptData: a file is missing.
        """
        self._bars = dict(found["bars"])
        self._groups = {group: (number, end_us) for group, number, end_us in found["groups"]}
        for number in {number for number, _ in self._groups.values()}:
            for key, tally in tallies_from_bytes(files.part(_SETTLED, number)):
                if key in self._records and self._groups[group_of(key)][0] == number:
                    self._settled[key] = [tally]
                    self._settled_us = max(self._settled_us, tally.end_us)
        kept = self._records.keys() & bars.keys()
        tallies: dict[str, dict[int, DayTally]] = {key: {} for key in kept}
        for number in sorted(set(self._bars.values())):
            for key, tally in tallies_from_bytes(files.part(_BARS, number)):
                if key in tallies and self._bars.get(tally.start_us) == number:
                    tallies[key][tally.start_us] = tally
        return {key: self._records_of(key, bars[key], tallies[key]) for key in kept}

    def _records_of(
        self, key: str, bars: Sequence[Any], tallies: Mapping[int, DayTally]
    ) -> InstrumentRecords:
        """An instrument's records; what was settled since its sum was stored is added again."""
        records = InstrumentRecords.of_json(bars, tallies)
        known = self._settled.get(key)
        held_us = known[-1].end_us if known else 0
        for open_us in sorted(tallies.keys() - records.bars.keys()):
            if open_us >= held_us:
                self._settle(key, tallies[open_us])
        return records


def group_of(key: str) -> int:
    """The part of the instruments that one belongs to, whichever others there are."""
    return zlib.crc32(key.encode()) % GROUPS
