"""The bar that is next, built while its grace still runs.

What belongs here: windows and rows that were made ahead, and which of them still hold when the
grace has ended. What does not: building them (`rounds.py`) and when to (`venue.py`).

Building takes longer than a bar may be late, and hardly any row comes in the last part of the
grace. What is built ahead holds for all instruments but those of which rows came since; and, where
these are instruments that others are measured against, for all others too, as long as what the
others take from them is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.live.feed_events import FeedGap
from tickhandler_dagster.streaming.bar_rows import BarRows
from tickhandler_dagster.streaming.neighbours import Stand
from tickhandler_dagster.streaming.windows import Built


@dataclass(slots=True)
class Preparation:
    """Windows of a bar that are built before its grace has ended.

    Attributes:
        open_us: The bar.
        gaps: Holes of the feed that are known.
        wanted: Keys of the instruments that are built ahead; late rows take one out.
        pending: Builds the windows of `wanted`, one after the other.
        is_over: All is built that is built ahead.
    """

    open_us: int
    gaps: Sequence[FeedGap]
    wanted: set[str]
    pending: Iterator[Built]
    is_over: bool = False
    _ahead: dict[str, Built] = field(default_factory=dict)
    _rows: BarRows | None = None

    def go_on(self, at_most: int) -> None:
        """Build some more windows; when there are none left, the rows of all."""
        found = {one.instrument.key: one for one in itertools.islice(self.pending, at_most)}
        self._ahead |= found
        if len(found) < at_most:
            self._rows = BarRows.of(list(self._ahead.values()))
            self.is_over = True

    def disturb(self, keys: Collection[str]) -> None:
        """Rows of these instruments came that belong to the bar, or before it."""
        for key in keys:
            self.wanted.discard(key)
            self._ahead.pop(key, None)

    def window(
        self, key: str, carry: Carry | None, memory: DayMemory | None, stand: Stand
    ) -> Built | None:
        """The window that was built ahead; None where it has to be built."""
        built = self._ahead.get(key)
        if built is None or built.began is not carry or built.memory is not memory:
            return None
        return built if built.stand.is_same(stand) else None

    def rows(self, built: Sequence[Built]) -> BarRows:
        """The rows of windows that were built ahead."""
        if self._rows is None:
            return BarRows.of(built)
        wanted = {id(one) for one in built}
        return self._rows.only(
            [number for number, one in enumerate(self._rows.built) if id(one) in wanted]
        )
