"""A day of bars, built as its ticks come: slices of each channel in, all timeframes out.

What belongs here: the channels of one instrument's day put together. What does not: the kernels
behind each channel (`day_trades.py`, `day_book.py`), reading slices (`pipeline`), and the form of
the result (`frame.py`).

Channels are independent of each other but for one join, trades with mids, and for the grid of
seconds that both fill: they may be read one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.bars.day_book import LevelsOfDay, QuotesOfDay
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.day_trades import TradesOfDay
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.frame import DayParts, candle_frames
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
    """Builds the bars of one instrument and day.

    Args:
        facts: What is known of the day besides its ticks.
        channels: Which channels there are.
        around: What other days and instruments say.
        base: Length of the bars built from ticks; others than the smallest are for proving that
            rolling up gives the same.
    """

    def __init__(
        self,
        facts: DayFacts,
        channels: Channels = Channels(),
        around: Surroundings = Surroundings(),
        *,
        base: Timeframe = BASE_TIMEFRAME,
    ) -> None:
        self._facts = dataclasses.replace(facts, has_memory=around.memory is not None)
        self._channels = channels
        self._around = around
        self._grid = DayGrid(facts.day.start, base)
        self._seconds = SecondGrid(facts.day.start, is_sized=facts.terms.has_known_units)
        memory = around.memory or DayMemory()
        self._trades = TradesOfDay(self._facts, self._grid, self._seconds, memory)
        self._quotes = (
            QuotesOfDay(
                facts, self._grid, self._seconds, memory, is_quote_feed=channels.is_quote_feed
            )
            if channels.has_quotes
            else None
        )
        depth = channels.depth or (1 if channels.has_quotes else None)
        self._levels = (
            None if depth is None else LevelsOfDay(facts, self._grid, memory, depth=depth)
        )
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

    def prime_trades(self, ticks: TradeTicks) -> None:
        """Take over from the trades before the day, in total order."""
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
        self._trades.add(ticks, mids, known_until_us)

    def add_duplicates(self, timestamp: Int64Array, local_timestamp: Int64Array) -> None:
        """Say when trades came that were kept out because their id was there already."""
        self._trades.add_duplicates(timestamp, local_timestamp)

    def prime_quotes(self, ticks: TopTicks) -> None:
        """Take over from the quotes before the day."""
        if self._quotes is not None and len(ticks):
            self._quotes.prime(ticks)
            if self._channels.depth is None:
                self.prime_levels(single_level(ticks))

    def add_quotes(self, ticks: TopTicks) -> None:
        """Add the quotes of a span of whole base bars that follows the spans before it."""
        if self._quotes is not None and len(ticks):
            self._quotes.add(ticks)
            if self._channels.depth is None:
                self.add_levels(single_level(ticks))

    def add_quotes_after(self, ticks: TopTicks, *, known_until_us: int) -> None:
        """Add the quotes of the seconds after the day, which are known up to a moment."""
        if self._quotes is not None:
            self._quotes.add_after(ticks, known_until_us=known_until_us)

    def prime_levels(self, ticks: LevelTicks) -> None:
        """Take over from the book before the day."""
        if self._levels is not None and len(ticks):
            self._levels.prime(ticks)

    def add_levels(self, ticks: LevelTicks) -> None:
        """Add the book of a span of whole base bars that follows the spans before it."""
        if self._levels is not None and len(ticks):
            self._levels.add(ticks)

    def prime_ticker(self, ticks: TickerTicks) -> None:
        """Take over from the ticker before the day."""
        if self._ticker is not None and len(ticks):
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
        self, timeframes: Sequence[Timeframe] = ALL_TIMEFRAMES
    ) -> Mapping[Timeframe, pl.DataFrame]:
        """The bars of each timeframe as frames of `CANDLE_TABLE`; ends the building."""
        statistics = self._trades.statistics(timeframes)
        parts: dict[int, list[FamilyDay]] = {}
        for delay, day in self._parts(statistics):
            parts.setdefault(delay, []).append(day)
        found = {delay: merged(*days) for delay, days in parts.items()}
        return candle_frames(
            self._facts,
            DayParts(traded=statistics, found=found, surface=self._around.surface or {}),
        )

    def memory(self) -> DayMemory:
        """What the next day needs of this one; after `finish`."""
        before = self._around.memory or DayMemory()
        trades, toxicity = self._trades.memory()
        return DayMemory(
            trades=trades,
            flow_toxicity=toxicity,
            micro_price=before.micro_price if self._quotes is None else self._quotes.memory(),
            order_flow=before.order_flow if self._levels is None else self._levels.memory(),
            ticker=before.ticker if self._ticker is None else self._ticker.memory(),
        )

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
        seconds, reference = self._seconds.finish(), self._around.reference
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

    def _new_ticker(self, memory: DayMemory) -> TickerDay:
        facts = self._facts
        kind = DerivativeKind(
            is_inverse=facts.terms.is_inverse,
            is_perpetual=facts.is_perpetual,
            expiry_us=None if facts.is_option else facts.expiry_us,
        )
        return TickerDay(self._grid, kind, near=self._around.near, memory=memory.ticker)
