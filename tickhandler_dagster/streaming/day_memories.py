"""What is known of the days before, found once per day and instrument and then kept to.

What belongs here: where a day's memory comes from, and keeping it for as long as its day lasts,
over restarts too. What does not: what a session saw of the day before (`day_tallies.py`) and the
lake's memories (`pipeline/candle_state.py`).

A day's bars stand on one memory. That of a day whose eve the session has seen whole is the
session's own. It changes with late rows of the eve, and then every bar of the day is made anew.
That of another day is what the lake says when first asked: should the states of the day before come
into the lake at noon, the bars of the afternoon must not begin to use them. They would be of
another kind than those of the morning, and equal to no batch. Where neither says anything, the eve
counts as a day that was not ingested: what was known before it is known after it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence

from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_tally import memory_over
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.streaming.checkpoint import CheckpointFiles, Part

MemoryOf = Callable[[dt.date, str], DayMemory | None]
"""What is known of an instrument on the days before a date."""

OwnMemory = Callable[[str, int, DayMemory | None], DayMemory | None]
"""What a session itself remembers of an instrument at a midnight, from what it remembered at the
midnight before; None where it did not see the day between them whole."""

_DAYS = 2
_PART = "memories"
_DAY = dt.timedelta(days=1)


class DayMemories:
    """The memories that a venue's bars stand on.

    Args:
        source: The lake's, asked once per day and instrument.
        own: The session's.
    """

    def __init__(self, source: MemoryOf, own: OwnMemory) -> None:
        self._source, self._own = source, own
        self._known: dict[dt.date, dict[str, DayMemory | None]] = {}
        self._owned: set[tuple[dt.date, str]] = set()
        self._fresh: set[tuple[dt.date, str]] = set()
        self._stored: dict[tuple[dt.date, str], int] = {}

    def of(self, date: dt.date, key: str) -> DayMemory | None:
        """What is known of the instrument on the days before the date."""
        if date not in self._known:
            newest = sorted([*self._known, date])[-_DAYS:]
            self._known = {day: self._known.get(day, {}) for day in {*newest, date}}
            self._owned = {one for one in self._owned if one[0] in self._known}
            self._fresh = {one for one in self._fresh if one[0] in self._known}
        day = self._known[date]
        if key not in day:
            day[key] = self._found(date, key)
            self._fresh.add((date, key))
        return day[key]

    def renew(self, date: dt.date, key: str) -> bool:
        """Bars of the day before were made anew; says whether the date has another memory now."""
        day = self._known.get(date, {})
        if key not in day:
            return False
        before, was_own = day[key], (date, key) in self._owned
        own = self._own_of(date, key)
        if own is None and not was_own:
            return False
        found = self._other(date, key) if own is None else own
        if found == before:
            return False
        day[key] = found
        self._fresh.add((date, key))
        return True

    def _found(self, date: dt.date, key: str) -> DayMemory | None:
        own = self._own_of(date, key)
        return self._other(date, key) if own is None else own

    def _own_of(self, date: dt.date, key: str) -> DayMemory | None:
        own = self._own(key, day_start_us(date), self._before(date, key))
        if own is None:
            self._owned.discard((date, key))
        else:
            self._owned.add((date, key))
        return own

    def _other(self, date: dt.date, key: str) -> DayMemory | None:
        """The lake's memory, or what the day before stood on."""
        found = self._source(date, key)
        if found is not None:
            return found
        return memory_over(day_start_us(date - _DAY), self._before(date, key))

    def _before(self, date: dt.date, key: str) -> DayMemory | None:
        """What the day before the date stood on; None where the session does not know."""
        return self._known.get(date - _DAY, {}).get(key)

    # ---- over restarts ---------------------------------------------------------------------

    def store(self, files: CheckpointFiles, number: int) -> None:
        """Store the answers that are new, with the state of that number.

        A memory of seven days has up to a quarter of a megabyte: those that did not change are not
        written again.
        """
        if self._fresh:
            lines = [self._line(*answer) for answer in sorted(self._fresh)]
            files.write_part(_PART, number, "\n".join(lines).encode())
            self._stored |= dict.fromkeys(self._fresh, number)
            self._fresh.clear()
        self._stored = {one: at for one, at in self._stored.items() if one[0] in self._known}

    @property
    def parts(self) -> set[Part]:
        """The files in use."""
        return {(_PART, number) for number in self._stored.values()}

    def restore(self, files: CheckpointFiles, numbers: Sequence[int]) -> None:
        """Keep to answers given before, stored with the states of these numbers.

        Raises:
            CorruptData: a file is missing.
        """
        for number in sorted(numbers):
            for line in files.part(_PART, number).decode().split("\n"):
                head, _, text = line.partition("\t")
                name, key, is_own = json.loads(head)
                answer = dt.date.fromisoformat(name), key
                self._known.setdefault(answer[0], {})[key] = (
                    DayMemory.from_json(text) if text else None
                )
                (self._owned.add if is_own else self._owned.discard)(answer)
                self._stored[answer] = number

    def _line(self, date: dt.date, key: str) -> str:
        memory = self._known[date][key]
        head = json.dumps([date.isoformat(), key, (date, key) in self._owned])
        return f"{head}\t{'' if memory is None else memory.to_json()}"
