"""What the book of a span adds to the fit of its day's flows: one row per minute.

What belongs here: the rows and how windows' rows make those of minutes. What does not: the flows
(`order_flow.py`) and the fit (`flow_loading.py`).

The fit divides each minute's flow by its depth, so that minutes cannot be added to one another;
they are kept, 64 bytes each. A minute that a window cuts is kept as its bars until it is whole:
so its floats are added in one order, whatever the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.segments import run_lengths, run_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import Timeframe

_MINUTE_US = Timeframe.M1.us


@dataclass(frozen=True, slots=True, eq=False)
class FlowRows:
    """Bars with a flow, in order of time.

    Attributes:
        opens: First moment of each, microseconds since the epoch. Shape: (bars,).
        values: Sum of flows per level, sum of the mean depth of a level over the events, number of
            events. Shape: (bars, levels + 2).
    """

    opens: Int64Array
    values: Float64Array

    @classmethod
    def joined(cls, parts: Sequence[FlowRows]) -> FlowRows:
        """The parts one after the other; at least one."""
        return cls(
            np.concatenate([one.opens for one in parts]),
            np.concatenate([one.values for one in parts]),
        )

    def take(self, index: npt.NDArray[np.bool_]) -> FlowRows:
        """Those of the rows."""
        return FlowRows(self.opens[index], self.values[index])

    def minutes(self) -> FlowRows:
        """One row per minute that has a bar."""
        if not len(self.opens):
            return self
        minutes = self.opens // _MINUTE_US * _MINUTE_US
        starts = run_starts(minutes)
        lengths = run_lengths(starts, len(minutes))
        dense = np.zeros((len(starts), self.values.shape[1], int(lengths.max())))
        minute = np.repeat(np.arange(len(starts)), lengths)
        dense[minute, :, np.arange(len(minutes)) - starts[minute]] = self.values
        return FlowRows(minutes[starts], np.add.reduce(dense, axis=2))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FlowRows):
            return NotImplemented
        return np.array_equal(self.opens, other.opens) and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]  # arrays have none either


@dataclass(frozen=True, slots=True)
class FlowTally:
    """The flows of a span.

    Attributes:
        whole: Minutes that lie in the span, or longer bars where bars are longer.
        cut: Bars of the minutes that do not.
    """

    whole: FlowRows
    cut: FlowRows

    @classmethod
    def of(
        cls, grid: DayGrid, flows: Float64Array, depth_sum: Float64Array, events: Float64Array
    ) -> FlowTally:
        """Of the bars of a day or window.

        Args:
            grid: The bars.
            flows: Sum of flows, (levels, bars).
            depth_sum: Sum of the mean depth of a level over the events of each bar.
            events: Number of events of each bar.
        """
        used = np.flatnonzero(events)
        rows = FlowRows(
            grid.opens[used], np.column_stack((flows[:, used].T, depth_sum[used], events[used]))
        )
        if grid.timeframe.us >= _MINUTE_US:
            return cls(rows, rows.take(np.zeros(len(used), dtype=np.bool_)))
        return cls(*_folded(rows, grid.start_us, grid.end_us))

    @classmethod
    def total(cls, parts: Sequence[FlowTally], start_us: int, end_us: int) -> FlowTally:
        """The sum of spans that follow each other; at least one.

        Args:
            parts: In order of time.
            start_us: Start of the first.
            end_us: End of the last.
        """
        made, cut = _folded(FlowRows.joined([one.cut for one in parts]), start_us, end_us)
        whole = FlowRows.joined([*(one.whole for one in parts), made])
        order = np.argsort(whole.opens, kind="stable")
        return cls(FlowRows(whole.opens[order], whole.values[order]), cut)


def _folded(bars: FlowRows, start_us: int, end_us: int) -> tuple[FlowRows, FlowRows]:
    """The minutes that lie in a span, and the bars of those that do not."""
    minutes = bars.opens // _MINUTE_US * _MINUTE_US
    is_whole = (minutes >= start_us) & (minutes + _MINUTE_US <= end_us)
    return bars.take(is_whole).minutes(), bars.take(~is_whole)
