"""A day's trades through every kernel that reads trades.

What belongs here: which kernels there are and what each is given. What does not: their arithmetic,
and other channels (`day_book.py`, `day_derivatives.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tickhandler_dagster.market.bars.base import PreviousTrade, bar_statistics
from tickhandler_dagster.market.bars.carry import TradesCarry
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.flow_toxicity import BUCKETS, FlowToxicity, VpinMemory
from tickhandler_dagster.market.bars.high_low_spread import corwin_schultz_spread_bps
from tickhandler_dagster.market.bars.last_bars import LastBar, last_bars
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.roll_covariance import RollCarry, RollCovariance
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.second_grid import SecondGrid
from tickhandler_dagster.market.bars.statistics import BarStatistics, joined
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.trade_impact import HORIZONS_US, TradeImpact
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_quality import QualityCarry, TradeQuality
from tickhandler_dagster.market.bars.trade_tally import TradeTally
from tickhandler_dagster.market.bars.units import sizes
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES


class TradesOfDay:
    """What a day's trades say, alone and beside the best quotes.

    Args:
        facts: What is known of the day besides its ticks.
        grid: The day's bars.
        seconds: The grid of seconds, which quotes fill too.
        memory: What is known of the days before.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self,
        facts: DayFacts,
        grid: DayGrid,
        seconds: SecondGrid,
        memory: DayMemory,
        carried: TradesCarry | None = None,
    ) -> None:
        self._facts = facts
        self._grid = grid
        self._seconds = seconds
        known = carried or _at_midnight(facts, grid, memory)
        self._quality = TradeQuality(
            grid,
            has_known_units=facts.terms.has_known_units,
            has_exchange_clock=facts.clock == "exchange",
            has_dense_ids=VENUES[facts.venue].has_dense_trade_ids,
            memory=memory.trades,
            gaps=facts.gaps,
            carried=None if carried is None else carried.quality,
        )
        self._bucket_volume = known.bucket_volume
        self._toxicity = FlowToxicity(grid, known.bucket_volume, known.toxicity)
        self._impact = TradeImpact(grid, is_sized=facts.terms.has_known_units)
        self._roll = RollCovariance(grid, known.roll)
        self._bars_before = known.bars
        self._first_us = known.first_us
        self._previous = known.previous
        self._parts: list[BarStatistics] = []
        self._end_us = facts.day.start
        self.count = 0

    def prime(self, ticks: TradeTicks) -> None:
        """Take over from the trades before the day, in total order."""
        if len(ticks):
            self._quality.prime(ticks)
            self._roll.prime(ticks)
            self._seconds.prime_trade(ticks)

    def add(self, ticks: TradeTicks, mids: TopTicks | None, known_until_us: int | None) -> None:
        """Add the trades of a span of whole base bars that follows the spans before it.

        Raises:
            CorruptData: the trades are not in the day, or lie before the end of a bar that is
                already built.
        """
        if not len(ticks):
            return
        ordered = in_total_order(ticks)
        self._check_follows(ordered)
        true_sizes = sizes(ordered, self._facts.terms)
        previous_us = None if self._previous is None else self._previous.timestamp_us
        self._parts.append(
            bar_statistics(ordered, true_sizes, self._grid.timeframe, previous_us=previous_us)
        )
        self._quality.add(ordered, true_sizes)
        self._toxicity.add(ordered, true_sizes)
        self._roll.add(ordered)
        self._seconds.add_trades(ordered, true_sizes)
        if mids is not None:
            self._impact.add(ordered, true_sizes, mids, known_until_us=known_until_us)
        self._previous = PreviousTrade(int(ordered.timestamp[-1]), int(ordered.local_timestamp[-1]))
        if self._first_us is None:
            self._first_us = int(ordered.timestamp[0])
        self._end_us = int(self._parts[-1]["ts_open"][-1]) + self._grid.timeframe.us
        self.count += len(ordered)

    def add_duplicates(self, timestamp: Int64Array, local_timestamp: Int64Array) -> None:
        """Say when rows came that were kept out because their id was there already."""
        self._quality.add_duplicates(timestamp, local_timestamp)

    def statistics(self, timeframes: Sequence[Timeframe]) -> dict[Timeframe, BarStatistics | None]:
        """Statistics of the traded bars of each timeframe; None where nothing traded."""
        if not self._parts:
            return dict.fromkeys(timeframes)
        base = joined(self._parts)
        return {
            timeframe: base if timeframe is self._grid.timeframe else rolled_up(base, timeframe)
            for timeframe in timeframes
        }

    def finish(
        self, statistics: Mapping[Timeframe, BarStatistics | None], *, has_mids: bool
    ) -> Iterator[tuple[int, FamilyDay]]:
        """What the kernels found and how long after a bar's end it is known; ends the day.

        Args:
            statistics: Of the traded bars, by timeframe.
            has_mids: There are quotes to hold the trades against.
        """
        for day in (
            self._quality.finish(),
            self._roll.finish(),
            self._toxicity.finish(),
            self._high_low(statistics),
        ):
            yield 0, day
        if has_mids:
            impact = self._impact.finish()
            yield 0, impact.spreads
            for tag, day in impact.delayed.items():
                yield HORIZONS_US[tag], day

    def tally(self) -> TradeTally:
        """What these trades add to the memory of their day."""
        return self._quality.tally()

    @property
    def first_us(self) -> int | None:
        """Exchange time of the first trade of the day so far; None where there is none."""
        return self._first_us

    def previous_arrivals(self) -> dict[Timeframe, int]:
        """Per timeframe the latest arrival of the last traded bar before the window."""
        return {timeframe: bar.last_arrival for timeframe, bar in self._bars_before.items()}

    def carry(self) -> TradesCarry:
        """What the next window takes over."""
        bars = self._bars_before
        if self._parts:
            bars = last_bars(bars, joined(self._parts), self._grid.timeframe)
        return TradesCarry(
            first_us=self._first_us,
            previous=self._previous,
            bars=bars,
            quality=self._quality.carry(),
            roll=self._roll.carry(),
            bucket_volume=self._bucket_volume,
            toxicity=self._toxicity.memory(),
        )

    def _high_low(self, statistics: Mapping[Timeframe, BarStatistics | None]) -> FamilyDay:
        """Needs two bars of a timeframe, so no sum of smaller bars gives it."""
        exact = {
            timeframe: {
                "corwin_schultz_spread_bps": _high_low_spread(
                    bars, self._bars_before.get(timeframe), self._grid, timeframe
                )
            }
            for timeframe, bars in statistics.items()
        }
        nothing = np.full(self._grid.bars, NO_ARRIVAL, dtype=np.int64)
        return FamilyDay({}, nothing, exact)

    def _check_follows(self, ordered: TradeTicks) -> None:
        first, last = int(ordered.timestamp[0]), int(ordered.timestamp[-1])
        if first < self._end_us or last >= self._facts.day.end:
            raise CorruptData(
                f"{self._facts.instrument_key}: slice of trades",
                "outside the part of the day still open",
                was=f"{first}..{last} µs",
                expected=f"[{self._end_us}, {self._facts.day.end}) µs",
                remedy="Add spans of whole bars in the order of time",
            )


def _at_midnight(facts: DayFacts, grid: DayGrid, memory: DayMemory) -> TradesCarry:
    """What a day begins with."""
    known = (memory.trades or TradeMemory()).before(grid.day_start_us)
    volume = known.mean_daily_volume()
    return TradesCarry(
        first_us=None,
        previous=facts.previous,
        bars={},
        quality=QualityCarry(),
        roll=RollCarry(),
        bucket_volume=None if volume is None else volume / BUCKETS,
        toxicity=memory.flow_toxicity or VpinMemory(),
    )


def _high_low_spread(
    bars: BarStatistics | None, before: LastBar | None, grid: DayGrid, timeframe: Timeframe
) -> Float64Array:
    total = grid.bars_of(timeframe) + 1  # element 0 is the last bar before
    high, low = np.full(total, np.nan), np.full(total, np.nan)
    if before is not None and before.ts_open == grid.start_us - timeframe.us:
        high[0], low[0] = before.high, before.low
    if bars is not None:
        positions = (bars["ts_open"] - grid.start_us) // timeframe.us + 1
        high[positions], low[positions] = bars["high"], bars["low"]
    return corwin_schultz_spread_bps(high, low)[1:]
