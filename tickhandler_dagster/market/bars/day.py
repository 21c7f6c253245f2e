"""A day of bars, built as its ticks come: slices of each channel in, all timeframes out.

What belongs here: the channels of one instrument's day put together. What does not: the kernels
behind each channel (`day_trades.py`, `day_book.py`), reading slices (`pipeline`), and the form of
the result (`frame.py`).

A day can be built in one piece or as windows, one after the other, each from the `Carry` of the one
before: the bars are the same to the last bit.

Channels are independent of each other but for one join, trades with mids, and for the grid of
seconds that both fill: they may be read one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day_book import LevelsOfDay, QuotesOfDay
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_parts import DayParts
from tickhandler_dagster.market.bars.day_tally import DayTally, memory_of
from tickhandler_dagster.market.bars.day_trades import TradesOfDay
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.frame import candle_frames
from tickhandler_dagster.market.bars.impact_regression import impact_regression_day
from tickhandler_dagster.market.bars.levels import LevelTicks, single_level
from tickhandler_dagster.market.bars.liquidations import LiquidationsDay
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.realised import realised_day, trade_returns_day
from tickhandler_dagster.market.bars.second_grid import SecondDay, SecondGrid
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.bars.ticker import DerivativeKind, NearContract, TickerDay
from tickhandler_dagster.market.bars.ticker_ticks import TickerTicks
from tickhandler_dagster.market.bars.ticks import Int64Array, TradeTicks
from tickhandler_dagster.market.bars.windows import (
    check_window,
    facts_in_force,
    listed_part,
)
from tickhandler_dagster.market.features.family import DayGrid, FamilyDay, merged
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

ALL_TIMEFRAMES = tuple(Timeframe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Which channels cover the day, besides trades.

    Attributes:
        depth: Levels per side of the book snapshots; None where there are none.
        has_quotes: There are best quotes, be it the first level of snapshots.
        is_quote_feed: They are a feed of their own.
        has_ticker: There is a derivative ticker.
        has_liquidations: There is a feed of liquidations, be it silent.
        is_throttled: That feed is a sample; None where it is not known.
    """

    depth: int | None = None
    has_quotes: bool = False
    is_quote_feed: bool = False
    has_ticker: bool = False
    has_liquidations: bool = False
    is_throttled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What bars stand on besides the instrument's own ticks of the day.

    Attributes:
        memory: What is known of the days before; None where they were not built.
        reference: The day of the venue's reference instrument; None for itself, or without one.
        near: The dated future that expires first; None where it has no part in the bars.
        surface: By timeframe `ts_open` and the option surface's columns; None where there is none.
    """

    memory: DayMemory | None = None
    reference: SecondDay | None = None
    near: NearContract | None = None
    surface: Mapping[Timeframe, pl.DataFrame] | None = None


class DayBars:
    """Builds the bars of one instrument and day, or of a window of whole base bars inside a day.

    Args:
        facts: What is known of the day besides its ticks. Of a window, `facts.day` is the window;
            its gaps and its listing may be those of the whole day, and gaps must not be cut off at
            the window's start: what is cut off there looks as if it began there.
        channels: Which channels there are.
        around: What other days and instruments say.
        base: Length of the bars built from ticks; others than the smallest are for proving that
            rolling up gives the same.
        carry: What the window before left; None where there is none, and at midnight, where what
            goes on is in `around.memory`, and the window is primed with the rows before it. A
            window with a carry needs no rows before it: priming does nothing.

    Raises:
        InvalidInput: the window is not one of whole base bars in one day, or the carry is not that
            of the moment it begins.
    """

    def __init__(
        self,
        facts: DayFacts,
        channels: Channels = Channels(),
        around: Surroundings = Surroundings(),
        *,
        base: Timeframe = BASE_TIMEFRAME,
        carry: Carry | None = None,
    ) -> None:
        self._channels = channels
        self._around = around
        self._grid = DayGrid(facts.day.start, base, facts.day.end - facts.day.start)
        check_window(facts, self._grid, carry)
        self._carry = carry
        self._facts = facts_in_force(facts, carry, has_memory=around.memory is not None)
        self._seconds = SecondGrid(
            facts.day.start,
            is_sized=facts.terms.has_known_units,
            length_us=self._grid.length_us,
            carried=None if carry is None else carry.seconds,
        )
        self._second_day: SecondDay | None = None
        memory = around.memory or DayMemory()
        self._trades = TradesOfDay(
            self._facts,
            self._grid,
            self._seconds,
            memory,
            None if carry is None else carry.trades,
        )
        self._quotes = self._new_quotes(memory) if channels.has_quotes else None
        self._levels = self._new_levels(memory)
        self._ticker = self._new_ticker(memory) if channels.has_ticker else None
        self._liquidations = (
            LiquidationsDay(self._grid, facts.terms, is_throttled=channels.is_throttled)
            if channels.has_liquidations
            else None
        )

    @property
    def trades(self) -> int:
        """Trades added so far."""
        return self._trades.count

    @property
    def facts(self) -> DayFacts:
        """The facts that the bars stand on: of a window, with its own part of the listing.

        Read them after the last slice: a trade before the listing began it.
        """
        listed = listed_part(self._facts, self._trades.first_us)
        return dataclasses.replace(self._facts, listed=listed)

    def prime_trades(self, ticks: TradeTicks) -> None:
        """Take over from the trades before the day, in total order."""
        if self._carry is None:
            self._trades.prime(ticks)

    def add_trades(
        self, ticks: TradeTicks, mids: TopTicks | None = None, *, known_until_us: int | None = None
    ) -> None:
        """Add the trades of a span of whole base bars that follows the spans before it.

        Args:
            ticks: The trades.
            mids: Normal states of the best quotes in order of arrival, around the trades; None
                where there are no quotes.
            known_until_us: First arrival whose quotes are not known; None where all are.

        Raises:
            CorruptData: the trades are not in the day, or lie before the end of a bar that is
                already built.
        """
        self._second_day = None
        self._trades.add(ticks, mids, known_until_us)

    def add_duplicates(self, timestamp: Int64Array, local_timestamp: Int64Array) -> None:
        """Say when trades came that were kept out because their id was there already."""
        self._trades.add_duplicates(timestamp, local_timestamp)

    def prime_quotes(self, ticks: TopTicks) -> None:
        """Take over from the quotes before the day."""
        if self._quotes is not None and len(ticks) and self._carry is None:
            self._quotes.prime(ticks)
            if self._channels.depth is None:
                self.prime_levels(single_level(ticks))

    def add_quotes(self, ticks: TopTicks) -> None:
        """Add the quotes of a span of whole base bars that follows the spans before it."""
        if self._quotes is not None and len(ticks):
            self._second_day = None
            self._quotes.add(ticks)
            if self._channels.depth is None:
                self.add_levels(single_level(ticks))

    def add_quotes_after(self, ticks: TopTicks, *, known_until_us: int) -> None:
        """Add the quotes of the seconds after the day or window, known up to a moment; once."""
        if self._quotes is not None:
            self._quotes.add_after(ticks, known_until_us=known_until_us)

    def prime_levels(self, ticks: LevelTicks) -> None:
        """Take over from the book before the day."""
        if self._levels is not None and len(ticks) and self._carry is None:
            self._levels.prime(ticks)

    def add_levels(self, ticks: LevelTicks) -> None:
        """Add the book of a span of whole base bars that follows the spans before it."""
        if self._levels is not None and len(ticks):
            self._levels.add(ticks)

    def prime_ticker(self, ticks: TickerTicks) -> None:
        """Take over from the ticker before the day."""
        if self._ticker is not None and len(ticks) and self._carry is None:
            self._ticker.prime(ticks)

    def add_ticker(self, ticks: TickerTicks) -> None:
        """Add the rows that arrived in a span of whole base bars."""
        if self._ticker is not None:
            self._ticker.add(ticks)

    def add_liquidations(self, ticks: TradeTicks) -> None:
        """Add the liquidations of a span of whole base bars."""
        if self._liquidations is not None:
            self._liquidations.add(ticks)

    def finish(
        self, timeframes: Sequence[Timeframe] | None = None
    ) -> Mapping[Timeframe, pl.DataFrame]:
        """The bars of each timeframe as frames of `CANDLE_TABLE`; ends the building.

        Args:
            timeframes: Those wanted; None for all that fill the day or window.
        """
        return candle_frames(self.facts, self.parts(timeframes))

    def parts(self, timeframes: Sequence[Timeframe] | None = None) -> DayParts:
        """What the bars are put together from (`candle_frames`), with `facts`; ends the building.

        Args:
            timeframes: Those wanted; None for all that fill the day or window.
        """
        statistics = self._trades.statistics(
            self._grid.timeframes if timeframes is None else timeframes
        )
        parts: dict[int, list[FamilyDay]] = {}
        for delay, day in self._parts(statistics):
            parts.setdefault(delay, []).append(day)
        return DayParts(
            traded=statistics,
            found={
                delay: merged(*days, length_us=self._grid.length_us)
                for delay, days in parts.items()
            },
            surface=self._around.surface or {},
            previous_arrivals=self._trades.previous_arrivals(),
        )

    def carry(self) -> Carry:
        """What the next window takes over; after the last slice."""
        return Carry(
            at_us=self._grid.end_us,
            trades=self._trades.carry(),
            seconds=self.seconds().carry,
            top=None if self._quotes is None else self._quotes.carry(),
            levels=(
                None
                if self._levels is None or self._channels.depth is None
                else self._levels.carry()
            ),
            ticker=None if self._ticker is None else self._ticker.carry(),
        )

    def seconds(self) -> SecondDay:
        """The grid of seconds, for instruments that refer to this one; after the last slice."""
        if self._second_day is None:
            self._second_day = self._seconds.finish()
        return self._second_day

    def near_mark(self) -> NearContract | None:
        """The mark price, for a future that expires later; after the last slice.

        Nulls: None where the instrument is no dated future or has no ticker.
        """
        return None if self._ticker is None else self._ticker.mark_state()

    def tally(self) -> DayTally:
        """What the day or window adds to the memory of its day; after the last slice."""
        return DayTally(
            start_us=self._grid.start_us,
            end_us=self._grid.end_us,
            trades=self._trades.tally() if self._facts.is_ingested else None,
            moves=None if self._quotes is None else self._quotes.tally(),
            flows=None if self._levels is None else self._levels.tally(),
        )

    def memory(self) -> DayMemory:
        """What the next day needs of this one; after the last slice.

        Raises:
            InvalidInput: it is a window, not a day.
        """
        return memory_of(self.tally(), self._around.memory, self.carry())

    def _parts(
        self, statistics: Mapping[Timeframe, BarStatistics | None]
    ) -> Iterator[tuple[int, FamilyDay]]:
        """What every kernel found, and how long after a bar's end it is known."""
        yield from self._trades.finish(statistics, has_mids=self._quotes is not None)
        if self._quotes is not None:
            yield from self._quotes.finish()
        for day in self._of_seconds():
            yield 0, day
        if self._levels is not None:
            for day in self._levels.finish():
                yield 0, day
        for kernel in (self._ticker, self._liquidations):
            if kernel is not None:
                yield 0, kernel.finish()

    def _of_seconds(self) -> Iterator[FamilyDay]:
        seconds, reference = self.seconds(), self._around.reference
        if self._quotes is None:
            yield trade_returns_day(seconds, self._grid)
            return
        yield realised_day(
            seconds,
            self._grid,
            reference=None if reference is None else reference.returns,
            reference_arrival=None if reference is None else reference.mid_arrival(self._grid),
        )
        yield impact_regression_day(seconds, self._grid)

    def _new_quotes(self, memory: DayMemory) -> QuotesOfDay:
        return QuotesOfDay(
            self._facts,
            self._grid,
            self._seconds,
            memory,
            is_quote_feed=self._channels.is_quote_feed,
            carried=None if self._carry is None else self._carry.top,
        )

    def _new_levels(self, memory: DayMemory) -> LevelsOfDay | None:
        depth, carry = self._channels.depth, self._carry
        if depth is None and not self._channels.has_quotes:
            return None
        state = None if carry is None else (carry.top if depth is None else carry.levels)
        return LevelsOfDay(self._facts, self._grid, memory, depth=depth or 1, carried=state)

    def _new_ticker(self, memory: DayMemory) -> TickerDay:
        facts = self._facts
        kind = DerivativeKind(
            is_inverse=facts.terms.is_inverse,
            is_perpetual=facts.is_perpetual,
            expiry_us=None if facts.is_option else facts.expiry_us,
        )
        return TickerDay(
            self._grid,
            kind,
            near=self._around.near,
            memory=memory.ticker,
            carried=None if self._carry is None else self._carry.ticker,
        )
