"""What the engine remembers of bars it has published: revision, content as a number, state.

What belongs here: the memory of one instrument's newest bars, bounded by how far amendments reach.
What does not: building bars (`windows.py`) and storing this (`checkpoint.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day_tally import DayTally
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME

WIDTH_US = BASE_TIMEFRAME.us


@dataclass(slots=True)
class BarRecord:
    """A bar that was published, or the state of an instrument that has none there.

    Attributes:
        revision: The newest revision; 0 where there was no bar yet.
        first_rows: Rows it had when first published.
        digest: Its content as a number, of the newest revision.
        carry: The state at its end, by the newest build.
        tally: What it adds to the memory of its day, by the newest build.
    """

    revision: int
    first_rows: int
    digest: int
    carry: Carry
    tally: DayTally
    _text: str = ""

    @property
    def carry_text(self) -> str:
        """The state as text; equal states, equal texts."""
        if not self._text:
            self._text = self.carry.to_json()
        return self._text

    def replace_carry(self, carry: Carry) -> bool:
        """Take the state of a newer build; says whether it is another one."""
        if carry == self.carry:
            return False
        before = self.carry_text  # unequal may only mean that a number is undefined in both
        self.carry, self._text = carry, carry.to_json()
        return self._text != before

    def replace_tally(self, tally: DayTally) -> bool:
        """Take what a newer build adds to the day; says whether it is something else."""
        is_other = tally != self.tally
        self.tally = tally
        return is_other


@dataclass(slots=True)
class InstrumentRecords:
    """The newest bars of one instrument, by their first moment.

    There is a record of every window that was built, be it outside the listing, where no bar is:
    a trade that comes late may make one. The state that a window starts from is the one its
    predecessor left; at midnight, and at the first bar of all, there is none.
    """

    bars: dict[int, BarRecord] = field(default_factory=dict)

    def carry_at(self, open_us: int) -> Carry | None:
        """The state that the window from that moment on starts from."""
        if open_us % US_PER_DAY == 0:
            return None
        before = open_us - WIDTH_US
        record = self.bars.get(before)
        return None if record is None else record.carry

    def forget_before(self, open_us: int) -> list[BarRecord]:
        """Drop bars of before the moment, but for the one whose state the next starts from.

        Gives those that were dropped, in order of time.
        """
        gone = sorted(one for one in self.bars if one < open_us - WIDTH_US)
        return [self.bars.pop(one) for one in gone]

    def as_text(self) -> str:
        """The records as JSON, but for the tallies, which are no text (`day_tallies.py`)."""
        bars = ",".join(
            f"[{open_us},{bar.revision},{bar.first_rows},{bar.digest},{bar.carry_text}]"
            for open_us, bar in sorted(self.bars.items())
        )
        return f"[{bars}]"

    @classmethod
    def of_json(
        cls, found: Sequence[Sequence[Any]], tallies: Mapping[int, DayTally]
    ) -> InstrumentRecords:
        """The records that `as_text` wrote, with the tallies of their bars."""
        return cls(
            {
                open_us: BarRecord(
                    revision, rows, digest, Carry.from_json(json.dumps(carry)), tallies[open_us]
                )
                for open_us, revision, rows, digest, carry in found
            }
        )
