"""A day's best quotes and book levels through every kernel that reads them.

What belongs here: which kernels there are and what each is given. What does not: their arithmetic,
and other channels (`day_trades.py`, `day_derivatives.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from tickhandler_dagster.market.bars.book_carry import BookCarry
from tickhandler_dagster.market.bars.book_levels import BookLevels
from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.end_states import last_of
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.flow_tally import FlowTally
from tickhandler_dagster.market.bars.levels import LevelTicks, levels_in_order, single_level
from tickhandler_dagster.market.bars.micro_price import MicroPrice
from tickhandler_dagster.market.bars.order_flow import SnapshotFlow
from tickhandler_dagster.market.bars.quotes import TopTicks, top_in_order
from tickhandler_dagster.market.bars.recovery import HORIZON_US
from tickhandler_dagster.market.bars.resilience import Resilience
from tickhandler_dagster.market.bars.second_grid import SecondGrid
from tickhandler_dagster.market.bars.top_book import TopBook
from tickhandler_dagster.market.features.family import DayGrid, FamilyDay
from tickhandler_dagster.market.features.feature import Channel


class QuotesOfDay:
    """What a day's best quotes say.

    Args:
        facts: What is known of the day besides its ticks.
        grid: The day's bars.
        seconds: The grid of seconds, which trades fill too.
        memory: What is known of the days before.
        is_quote_feed: The quotes are a feed of their own and not the first level of snapshots.
        carried: Last state before a window; None at the start of a day, or where there is none.
    """

    def __init__(
        self,
        facts: DayFacts,
        grid: DayGrid,
        seconds: SecondGrid,
        memory: DayMemory,
        *,
        is_quote_feed: bool,
        carried: BookCarry | None = None,
    ) -> None:
        gaps = [(span.start, span.end) for span in facts.gaps_of(Channel.TOP)]
        self._seconds = seconds
        self._book = TopBook(grid, facts.terms, is_quote_feed=is_quote_feed, gaps=gaps)
        self._micro = MicroPrice(grid, facts.tick_size, memory=memory.micro_price, gaps=gaps)
        self._resilience = Resilience(grid, facts.terms, gaps=gaps)
        self._last: TopTicks | None = None
        if carried is not None:
            self._take_over(carried.top)

    def prime(self, ticks: TopTicks) -> None:
        """Take over from the states before the day."""
        ordered = top_in_order(ticks)
        self._seconds.prime_top(ordered)
        self._take_over(ordered)

    def add(self, ticks: TopTicks) -> None:
        """Add the states of a span of whole base bars that follows the spans before it."""
        ordered = top_in_order(ticks)
        self._seconds.add_top(ordered)
        self._book.add(ordered)
        self._micro.add(ordered)
        self._resilience.add(ordered)
        self._last = last_of(ordered)

    def add_after(self, ticks: TopTicks, *, known_until_us: int) -> None:
        """Add states of the seconds after the day, known up to a moment."""
        self._resilience.add_after(ticks, known_until_us=known_until_us)

    def finish(self) -> Iterator[tuple[int, FamilyDay]]:
        """What the kernels found and how long after a bar's end it is known; ends the day."""
        yield 0, self._book.finish()
        yield 0, self._micro.finish()
        yield HORIZON_US, self._resilience.finish()

    def tally(self) -> Counts:
        """What these states add to the memory of their day."""
        return self._micro.tally()

    def carry(self) -> BookCarry | None:
        """What the next window takes over; None where there was no state."""
        return None if self._last is None else BookCarry.of_levels(single_level(self._last))

    def _take_over(self, ordered: TopTicks) -> None:
        self._book.prime(ordered)
        self._micro.prime(ordered)
        self._resilience.prime(ordered)
        self._last = last_of(ordered)


class LevelsOfDay:
    """What a day's book snapshots say.

    Args:
        facts: What is known of the day besides its ticks.
        grid: The day's bars.
        memory: What is known of the days before.
        depth: Levels per side; 1 for best quotes without a book behind them, whose flow is that of
            the quotes (`QuotesOfDay`) and not one between snapshots.
        carried: Last state before a window; None at the start of a day, or where there is none.
    """

    def __init__(
        self,
        facts: DayFacts,
        grid: DayGrid,
        memory: DayMemory,
        *,
        depth: int,
        carried: BookCarry | None = None,
    ) -> None:
        gaps = [(span.start, span.end) for span in facts.gaps_of(Channel.LEVELS)]
        self._levels = BookLevels(grid, facts.terms, depth=depth)
        self._flow = (
            SnapshotFlow(grid, facts.terms, memory=memory.order_flow, gaps=gaps)
            if depth > 1
            else None
        )
        self._last: LevelTicks | None = None
        if carried is not None:
            self.prime(carried.levels)

    def prime(self, ticks: LevelTicks) -> None:
        """Take over from the states before the day."""
        ordered = levels_in_order(ticks)
        self._last = last_of(ordered)
        self._levels.prime(ordered)
        if self._flow is not None:
            self._flow.prime(ordered)

    def add(self, ticks: LevelTicks) -> None:
        """Add the states of a span of whole base bars that follows the spans before it."""
        ordered = levels_in_order(ticks)
        self._last = last_of(ordered)
        self._levels.add(ordered)
        if self._flow is not None:
            self._flow.add(ordered)

    def finish(self) -> Iterator[FamilyDay]:
        """What the kernels found; ends the day."""
        yield self._levels.finish()
        if self._flow is not None:
            yield self._flow.finish()

    def carry(self) -> BookCarry | None:
        """What the next window takes over; None where there was no state."""
        return None if self._last is None else BookCarry.of_levels(self._last)

    def tally(self) -> FlowTally | None:
        """What these states add to the memory of their day; None where nothing is fitted."""
        return None if self._flow is None else self._flow.tally()
