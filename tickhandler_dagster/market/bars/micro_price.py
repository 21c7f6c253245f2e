"""The micro-price: where the mid is expected to settle, given imbalance and spread.

What belongs here: the kernel, which counts today's moves of the chain and applies the table fitted
on an earlier day. What does not: the fit (`micro_price_fit.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickhandler_dagster.market.bars.counts import Counts
from tickhandler_dagster.market.bars.end_states import EndStates, last_of
from tickhandler_dagster.market.bars.micro_price_fit import (
    NO_STATE,
    MicroPriceMemory,
    Moves,
    chain_states,
    counted_moves,
)
from tickhandler_dagster.market.bars.quotes import TopTicks, top_concatenated, top_in_order
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay

_NAMES = ("micro_price", "micro_price_gap_bps", "micro_price_fit_day")


class MicroPrice:
    """The micro-price of one instrument's day.

    Args:
        grid: The day's bars.
        tick_size: Price step of the venue; None where it is unknown, and then nothing is fitted
            and nothing told.
        memory: Table fitted on an earlier day; None where there is none.
        gaps: Reported gaps of the feed, half-open, microseconds since the epoch.
    """

    def __init__(
        self,
        grid: DayGrid,
        tick_size: float | None,
        *,
        memory: MicroPriceMemory | None = None,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._grid = grid
        self._tick_size = tick_size
        self._memory = memory
        self._gaps = gaps
        self._ends = EndStates[TopTicks](grid, top_concatenated)
        self._before: TopTicks | None = None
        self._moves = Moves.none()

    def prime(self, ticks: TopTicks) -> None:
        """Take over the last of the states before the day."""
        if len(ticks):
            self._before = last_of(top_in_order(ticks))
            self._ends.keep(self._before)

    def add(self, ticks: TopTicks) -> None:
        """Take the next slice of whole bars."""
        if not len(ticks):
            return
        rows = top_in_order(ticks)
        self._ends.keep(rows)
        if self._tick_size is not None:
            states = rows if self._before is None else top_concatenated((self._before, rows))
            self._moves += counted_moves(states, self._tick_size, self._gaps)
        self._before = last_of(rows)

    def finish(self) -> FamilyDay:
        """The day's columns; call after the last slice."""
        nothing = np.full(self._grid.bars, np.nan)
        columns = dict.fromkeys(_NAMES, nothing)
        closing = self._ends.at_close()
        if self._memory is None or self._tick_size is None or closing is None:
            if closing is None and not self._grid.is_whole_day:
                columns |= self._fit_day()
            return FamilyDay(columns, np.full(self._grid.bars, NO_ARRIVAL, dtype=np.int64))
        states = closing.states
        codes = chain_states(states, self._tick_size)
        shift = self._memory.shifts[codes] * self._tick_size
        shift[codes == NO_STATE] = np.nan
        mid = states.mid
        columns = {
            "micro_price": closing.spread_out(mid + shift),
            "micro_price_gap_bps": closing.spread_out(shift / mid * 10_000),
        }
        return FamilyDay(columns | self._fit_day(), closing.arrivals)

    def _fit_day(self) -> dict[str, Float64Array]:
        """The day of the table that is in force; a window without a state has it like the others.

        A day without any state has none, and only its end shows that it is one.
        """
        if self._memory is None or self._tick_size is None:
            return {}
        return {"micro_price_fit_day": np.full(self._grid.bars, float(self._memory.day_us))}

    def tally(self) -> Counts:
        """What these states add to the fit of their day (`Moves.counts`)."""
        return self._moves.counts
