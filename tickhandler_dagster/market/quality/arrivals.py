"""When the rows of a file came: seconds with rows, pauses between rows, the order of the clocks.

What belongs here: what one pass over the arrival times can keep in bounded memory. What does not:
which pause is a silence (`silences.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.quality.audit_limits import MIN_SILENCE_S
from tickhandler_dagster.market.quality.broken_rows import BoolArray, BrokenRows, Int64Array

SECONDS = US_PER_DAY // US_PER_SECOND
MIN_PAUSE_US = MIN_SILENCE_S * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class Pause:
    """Time between two rows that follow each other, or between a row and the end of the listing.

    Attributes:
        start_us: Arrival of the row before.
        end_us: Arrival of the row after.
        exchange_start_us: Exchange time of the row before.
        exchange_end_us: Exchange time of the row after.
    """

    start_us: int
    end_us: int
    exchange_start_us: int
    exchange_end_us: int

    @property
    def us(self) -> int:
        """How long it is."""
        return self.end_us - self.start_us


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When a file's rows came.

    Attributes:
        is_active: Per second of the day: a row came.
        pauses: Times without a row of at least `MIN_SILENCE_S`, the file's edges left out.
        first: The first row as a pause of no length; None without rows.
        last: The last row as a pause of no length; None without rows.
        longest: The longest time between two rows; None with fewer than two.
    """

    is_active: BoolArray
    pauses: tuple[Pause, ...] = ()
    first: Pause | None = None
    last: Pause | None = None
    longest: Pause | None = None

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The seconds as bits, and the pauses with the edges as 64-bit numbers."""
        edges = [edge for edge in (self.first, self.last) if edge is not None]
        rows = [
            (item.start_us, item.end_us, item.exchange_start_us, item.exchange_end_us)
            for item in (*edges, *self.pauses)
        ]
        return np.packbits(self.is_active).tobytes(), np.array(rows, dtype="<i8").tobytes()

    @classmethod
    def from_bytes(cls, activity: bytes, pauses: bytes) -> Arrivals:
        """The inverse of `to_bytes`, but for the longest time between rows that is no pause."""
        is_active = np.unpackbits(np.frombuffer(activity, dtype=np.uint8)).astype(np.bool_)
        rows = [Pause(*row) for row in np.frombuffer(pauses, dtype="<i8").reshape(-1, 4).tolist()]
        if not rows:
            return cls(is_active)
        first, last, *between = rows
        return cls(is_active, tuple(between), first, last)


@dataclass(slots=True)
class ArrivalAudit:
    """Follows the clocks of a file.

    Attributes:
        day_start_us: Start of the file's day.
    """

    day_start_us: int
    is_active: BoolArray = field(default_factory=lambda: np.zeros(SECONDS, dtype=np.bool_))
    out_of_order: BrokenRows = field(default_factory=BrokenRows)
    _pauses: list[Pause] = field(default_factory=list)
    _first: Pause | None = None
    _last: Pause | None = None
    _longest: Pause | None = None

    def add(self, exchange: Int64Array, arrival: Int64Array) -> None:
        """Add the rows of a piece that follows the pieces before it."""
        seconds = (arrival - self.day_start_us) // US_PER_SECOND
        # the schema's rule says that rows are of the day; a file that breaks it must not end here
        self.is_active[np.clip(seconds, 0, SECONDS - 1)] = True
        before = self._last
        if before is None:
            self._first = Pause(
                *(int(clock[0]) for clock in (arrival, arrival, exchange, exchange))
            )
            before = self._first
        came = np.concatenate(([before.end_us], arrival))
        stamped = np.concatenate(([before.exchange_end_us], exchange))
        self._add_pauses(came, stamped)
        self.out_of_order.add(np.diff(stamped) < 0, exchange, {})
        self._last = Pause(*(int(clock[-1]) for clock in (arrival, arrival, exchange, exchange)))

    def finish(self) -> Arrivals:
        """What the file's rows said."""
        return Arrivals(self.is_active, tuple(self._pauses), self._first, self._last, self._longest)

    def _add_pauses(self, came: Int64Array, stamped: Int64Array) -> None:
        waits = np.diff(came)
        for place in np.flatnonzero(waits >= MIN_PAUSE_US):
            self._pauses.append(_pause(came, stamped, int(place)))
        longest = int(np.argmax(waits))
        if self._longest is None or waits[longest] > self._longest.us:
            self._longest = _pause(came, stamped, longest)


def _pause(came: Int64Array, stamped: Int64Array, place: int) -> Pause:
    return Pause(
        int(came[place]), int(came[place + 1]), int(stamped[place]), int(stamped[place + 1])
    )
