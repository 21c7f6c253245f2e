"""What consecutive trades say of each other: order of arrival, skipped ids, direction of prices.

What belongs here: comparisons of a trade with those before it, and the little that is carried from
slice to slice. What does not: sizes (`large_trades.py`) and delays (`trade_delays.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.segments import hits_per_run
from tickhandler_dagster.market.bars.ticks import Int8Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.trade_slice import DenseColumns, TradeSlice
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid

_NO_ID = -1
_Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SequenceCarry:
    """What is known of the trades before a slice or window.

    Attributes:
        price: Of the last one; None where none is known, and then nothing is a change.
        arrival: Of the last one.
        direction: Of the last change of price; 0 where none is known.
        direction_arrival: Later arrival of the two trades between which that change was.
        highest_id: Highest trade number so far; -1 where none is known.
        highest_id_arrival: Arrival of the trade that has it.
    """

    price: float | None = None
    arrival: int = NO_ARRIVAL
    direction: int = 0
    direction_arrival: int = NO_ARRIVAL
    highest_id: int = _NO_ID
    highest_id_arrival: int = NO_ARRIVAL


class TradeSequence:
    """Disorder, skipped ids and agreement with the tick rule.

    A trade is out of order where it arrived before the one just before it. Comparing with all
    trades before it would let one row that is a minute late mark every trade of that minute, and no
    bar of the minute could be known before the late row came.

    Args:
        grid: Bars of the day.
        has_dense_ids: The venue numbers its trades one by one.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self, grid: DayGrid, *, has_dense_ids: bool, carried: SequenceCarry | None = None
    ) -> None:
        self._has_ids = has_dense_ids
        self._carried = carried or SequenceCarry()
        self._dense = DenseColumns(
            grid,
            sums=(
                "out_of_order_count",
                "tick_rule_agree_count",
                "tick_rule_disagree_count",
                *(("id_gap_count",) if has_dense_ids else ()),
            ),
            values=() if has_dense_ids else ("id_gap_count",),
        )

    def prime(self, ticks: TradeTicks) -> None:
        """Take over the last trade before the day, the last of these in total order.

        Of several trades only the last counts, so that the day does not hang on how far back
        somebody looked.
        """
        if len(ticks):
            last_id = None if ticks.trade_id is None else int(ticks.trade_id[-1])
            self._carried = SequenceCarry(
                price=float(ticks.price[-1]),
                arrival=int(ticks.local_timestamp[-1]),
                highest_id=_NO_ID if last_id is None else last_id,
                highest_id_arrival=int(ticks.local_timestamp[-1]),
            )

    def add(self, part: TradeSlice) -> None:
        """Take the trades of a slice."""
        arrival = part.ticks.local_timestamp
        self._dense.stands_on(part.bars, _shifted(arrival, self._carried.arrival)[part.starts])
        self._add_order(part)
        direction = self._add_directions(part)
        highest = self._carried.highest_id, self._carried.highest_id_arrival
        if self._has_ids and part.ticks.trade_id is not None:
            highest = self._add_ids(part, part.ticks.trade_id)
        self._carried = SequenceCarry(
            float(part.ticks.price[-1]), int(arrival[-1]), *direction, *highest
        )

    def carry(self) -> SequenceCarry:
        """What the next window takes over."""
        return self._carried

    def finish(self) -> DenseColumns:
        """The columns, for all bars of the day."""
        return self._dense

    def _add_order(self, part: TradeSlice) -> None:
        arrival = part.ticks.local_timestamp
        is_early = np.empty(len(arrival), dtype=np.bool_)
        is_early[0] = arrival[0] < self._carried.arrival
        np.less(arrival[1:], arrival[:-1], out=is_early[1:])
        if is_early.any():
            self._dense.put(part.bars, out_of_order_count=hits_per_run(is_early, part.starts))

    def _add_directions(self, part: TradeSlice) -> tuple[int, int]:
        """Count; gives the last change's direction and its arrival."""
        changes, directions = self._changes(part.ticks)
        lengths = np.diff(changes, prepend=0, append=len(part.ticks))
        carried = np.int8(self._carried.direction)
        agreement = part.ticks.side * np.repeat(np.append(carried, directions), lengths)
        self._dense.put(
            part.bars,
            tick_rule_agree_count=hits_per_run(agreement > 0, part.starts),
            tick_rule_disagree_count=hits_per_run(agreement < 0, part.starts),
        )
        arrival = part.ticks.local_timestamp
        before = _shifted(arrival, self._carried.arrival)
        known = np.append(
            self._carried.direction_arrival, np.maximum(arrival[changes], before[changes])
        )
        self._dense.stands_on(part.bars, known[np.searchsorted(changes, part.starts)])
        last = int(directions[-1]) if len(directions) else self._carried.direction
        return last, int(known[-1])

    def _changes(self, ticks: TradeTicks) -> tuple[_Positions, Int8Array]:
        """Positions of trades at another price than the one before, and the signs of the change."""
        price, before = ticks.price, self._carried.price
        changes = np.flatnonzero(price[1:] != price[:-1]) + 1
        is_up = price[changes] > price[changes - 1]
        if before is not None and price[0] != before:
            changes = np.concatenate((np.zeros(1, dtype=np.intp), changes))
            is_up = np.concatenate(([price[0] > before], is_up))
        return changes, np.where(is_up, np.int8(1), np.int8(-1))

    def _add_ids(self, part: TradeSlice, ids: Int64Array) -> tuple[int, int]:
        """Count; gives the highest id and the arrival of the trade that has it."""
        highest = np.maximum(np.maximum.accumulate(ids), self._carried.highest_id)
        before = _shifted(highest, self._carried.highest_id)
        skipped = np.maximum(ids - before - 1, 0)
        skipped[before == _NO_ID] = 0
        self._dense.put(part.bars, id_gap_count=np.add.reduceat(skipped, part.starts))
        arrival = part.ticks.local_timestamp
        wanted = np.append(before[part.starts], highest[-1])
        holder = np.searchsorted(highest, wanted)
        arrivals = np.where(
            wanted > self._carried.highest_id, arrival[holder], self._carried.highest_id_arrival
        )
        self._dense.stands_on(part.bars, arrivals[:-1])
        return int(wanted[-1]), int(arrivals[-1])


def _shifted(values: Int64Array, first: int) -> Int64Array:
    """Each element is the value before it."""
    shifted = np.empty_like(values)
    shifted[0] = first
    shifted[1:] = values[:-1]
    return shifted
