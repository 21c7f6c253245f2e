"""Volume of large trades.

What belongs here: the columns. What does not: the memory of trade sizes that says what is large
(`trade_memory.py`) and today's part of it (`trade_tally.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_slice import DenseColumns, TradeSlice
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid


@dataclass(frozen=True, slots=True)
class LargeCarry:
    """What is large on a day: found once, for it needs the histograms of seven days.

    Attributes:
        threshold: Least notional of a large trade; None where nothing is remembered.
        arrival: Latest arrival of a remembered trade; None where none is.
    """

    threshold: float | None = None
    arrival: int | None = None


class LargeTrades:
    """Trades above the threshold that the days before set.

    Args:
        grid: Bars of the day.
        memory: What is remembered of the days before; None for nothing.
        has_known_units: Base quantities and quote values can be computed.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self,
        grid: DayGrid,
        memory: TradeMemory | None,
        *,
        has_known_units: bool,
        carried: LargeCarry | None = None,
    ) -> None:
        known = (memory or TradeMemory()).before(grid.start_us)
        self._large = carried or _large_of(known, has_known_units)
        self._threshold = self._large.threshold
        is_known = self._threshold is not None
        large = ("large_trade_volume_sum",)
        self._dense = DenseColumns(
            grid,
            sums=large if is_known else (),
            values=("large_trade_threshold", *(() if is_known else large)),
        )

    def add(self, part: TradeSlice) -> None:
        """Take the trades of a slice."""
        if part.sizes is not None and self._threshold is not None:
            large = part.sizes.base * (part.sizes.quote >= self._threshold)
            self._dense.put(part.bars, large_trade_volume_sum=np.add.reduceat(large, part.starts))

    def carry(self) -> LargeCarry:
        """What the next window takes over."""
        return self._large

    def finish(self) -> DenseColumns:
        """The columns, for all bars of the day."""
        if self._threshold is not None:
            self._dense.columns["large_trade_threshold"].fill(self._threshold)
            arrival = self._large.arrival
            self._dense.last_arrival.fill(NO_ARRIVAL if arrival is None else arrival)
        return self._dense


def _large_of(memory: TradeMemory, has_known_units: bool) -> LargeCarry:  # noqa: FBT001  (two facts, one call)
    threshold = memory.large_trade_threshold() if has_known_units else None
    return LargeCarry(threshold, memory.last_arrival())
