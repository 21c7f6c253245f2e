"""A day of bars, built as its trades come: slices in, all timeframes out.

What belongs here: the order of the steps and the little state between slices. Memory is one slice
plus eight bytes a trade. What does not: reading slices (`adapters/tick_slices.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.base import bar_statistics
from tickhandler_dagster.market.bars.exact import SizeBuffer, late_trades
from tickhandler_dagster.market.bars.frame import DayFacts, candle_frame
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.segments import run_starts
from tickhandler_dagster.market.bars.statistics import BarStatistics, joined
from tickhandler_dagster.market.bars.ticks import Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import sizes
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

ALL_TIMEFRAMES = tuple(Timeframe)


class DayBars:
    """Builds the bars of one instrument and day.

    Args:
        facts: What is known of the day besides its trades.
        capacity: Number of trades expected.
    """

    def __init__(self, facts: DayFacts, *, capacity: int = 0) -> None:
        self._facts = facts
        self._previous_us = None if facts.previous is None else facts.previous.timestamp_us
        self._parts: list[BarStatistics] = []
        self._late: dict[Timeframe, list[Int64Array]] = {frame: [] for frame in ALL_TIMEFRAMES}
        self._sizes = SizeBuffer(capacity if facts.terms.has_known_units else 0)
        self._end_us = facts.day.start
        self._trades = 0

    @property
    def trades(self) -> int:
        """Trades added so far."""
        return self._trades

    def add(self, ticks: TradeTicks) -> None:
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
        self._parts.append(
            bar_statistics(ordered, true_sizes, BASE_TIMEFRAME, previous_us=self._previous_us)
        )
        for timeframe, bar_open in late_trades(ordered, ALL_TIMEFRAMES).items():
            self._late[timeframe].append(bar_open)
        if true_sizes is not None:
            self._sizes.append(true_sizes.base)
        self._previous_us = int(ordered.timestamp[-1])
        self._end_us = int(self._parts[-1]["ts_open"][-1]) + BASE_TIMEFRAME.us
        self._trades += len(ordered)

    def finish(
        self, timeframes: Sequence[Timeframe] = ALL_TIMEFRAMES
    ) -> Mapping[Timeframe, pl.DataFrame]:
        """The bars of each timeframe as frames of `CANDLE_TABLE`; ends the building."""
        base = joined(self._parts) if self._parts else None
        frames = {}
        for timeframe in sorted(timeframes, key=lambda frame: frame.us):
            merged = (
                base if base is None or timeframe is BASE_TIMEFRAME else rolled_up(base, timeframe)
            )
            exact = self._exact(base, merged, timeframe)
            frames[timeframe] = candle_frame(self._facts, timeframe, merged, exact)
        return frames

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

    def _exact(
        self, base: BarStatistics | None, merged: BarStatistics | None, timeframe: Timeframe
    ) -> pl.DataFrame:
        if base is None or merged is None:
            return pl.DataFrame()
        late = np.concatenate(self._late[timeframe])
        late_starts = run_starts(np.sort(late))
        late_counts = pl.DataFrame(
            {
                "ts_open": np.sort(late)[late_starts],
                "late_count": np.diff(late_starts, append=len(late)),
            }
        )
        quantiles = (
            self._sizes.quantiles(base["ts_open"], base["trade_count"], timeframe)
            if base.has_sizes
            else {"size_p50": None, "size_p90": None, "size_p99": None}
        )
        return (
            pl.DataFrame({"ts_open": merged["ts_open"]} | quantiles)
            .with_columns(pl.col("^size_p.*$").cast(pl.Float64).fill_nan(None))
            .join(late_counts, on="ts_open", how="left", maintain_order="left")
            .with_columns(
                pl.col("late_count").fill_null(0).cast(pl.Int64), pl.col("ts_open").cast(TIMESTAMP)
            )
        )
