"""Forced orders of every bar: volumes by side, count, money and the largest.

What belongs here: what adds up from single liquidations. What does not: their share of the trades
and their meeting with open interest, which follow from columns (`market/features/derivatives.py`).
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.segments import bar_starts, run_lengths
from tickhandler_dagster.market.bars.ticks import Float64Array, TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

_SIDES = (
    ("liquidation_buy_volume", 1),
    ("liquidation_sell_volume", -1),
    ("liquidation_unknown_volume", 0),
)


class LiquidationsDay:
    """Builds the liquidation columns of one instrument and day.

    Args:
        grid: The day and the length of its bars.
        terms: What an amount is worth; sizes are NaN where that is unknown.
        is_throttled: Whether the venue sent a sample only (`liquidation_feeds.py`).
    """

    def __init__(
        self, grid: DayGrid, terms: ContractTerms, *, is_throttled: bool | None = None
    ) -> None:
        self._grid, self._terms = grid, terms
        start = 0.0 if terms.has_known_units else np.nan
        self._sums: dict[str, Float64Array] = {
            name: np.full(grid.bars, start)
            for name in (*(name for name, _ in _SIDES), "liquidation_notional")
        }
        self._count = np.zeros(grid.bars)
        self._largest = np.full(grid.bars, np.nan)
        code = np.nan if is_throttled is None else float(is_throttled)
        self._is_throttled = np.full(grid.bars, code)
        self._last_arrival = np.full(grid.bars, NO_ARRIVAL, dtype=np.int64)
        self._end = -1

    def add(self, ticks: TradeTicks) -> None:
        """Take in the liquidations of a span of whole bars after the spans before it.

        Args:
            ticks: Rows with `side` +1 where a short was liquidated (a forced purchase), -1 where a
                long was, 0 where the venue does not say.

        Raises:
            CorruptData: a row lies outside the day, or before the end of a span already added.
        """
        if not len(ticks):
            return
        ordered = in_total_order(ticks)
        starts, opens = bar_starts(ordered.timestamp, self._grid.timeframe.us)
        bars = (opens - self._grid.start_us) // self._grid.timeframe.us
        if bars[0] <= self._end or bars[-1] >= self._grid.bars:
            raise self._out_of_place(ordered)
        self._end = int(bars[-1])
        self._count[bars] = run_lengths(starts, len(ordered))
        self._last_arrival[bars] = np.maximum.reduceat(ordered.local_timestamp, starts)
        true_sizes = sizes(ordered, self._terms)
        if true_sizes is None:
            return
        for name, side in _SIDES:
            of_side = np.where(ordered.side == side, true_sizes.base, 0.0)
            self._sums[name][bars] = np.add.reduceat(of_side, starts)
        self._sums["liquidation_notional"][bars] = np.add.reduceat(true_sizes.quote, starts)
        self._largest[bars] = np.maximum.reduceat(true_sizes.base, starts)

    def finish(self) -> FamilyDay:
        """The statistics; the rows may come from any slicing."""
        statistics = self._sums | {
            "liquidation_count": self._count,
            "liquidation_size_max": self._largest,
            "liquidation_is_throttled": self._is_throttled,
        }
        return FamilyDay(statistics, self._last_arrival)

    def _out_of_place(self, ticks: TradeTicks) -> CorruptData:
        open_from = self._grid.start_us + (self._end + 1) * self._grid.timeframe.us
        return CorruptData(
            "liquidations: slice of rows",
            "outside the part of the day still open",
            was=f"{ticks.timestamp[0]}..{ticks.timestamp[-1]} µs",
            expected=f"[{open_from}, {self._grid.end_us}) µs",
            remedy="Add spans of whole bars in the order of time",
        )
