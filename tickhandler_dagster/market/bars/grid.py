"""Which bars a day has: every one from listing to delisting, traded or not.

What does not belong here: what an empty bar's emptiness means (`status.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open span of microseconds since the epoch.

    Attributes:
        start: First moment in it.
        end: First moment after it.
    """

    start: int
    end: int

    def clipped_to(self, other: Span) -> Span:
        """The part inside `other`; empty (end = start) where there is none.

        Example:
            >>> Span(0, 5).clipped_to(Span(7, 9))
            Span(start=7, end=7)
        """
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))


def bar_opens(listed: Span, traded: Int64Array, timeframe: Timeframe) -> Int64Array:
    """Opens of a dense grid that covers the listing and every traded bar.

    A trade outside the listing is the better witness: the grid grows to it and the bars between are
    empty.

    Args:
        listed: When the instrument was listed, inside the day.
        traded: Opens of the bars that have trades, of the same or a smaller timeframe, in time
            order.
        timeframe: Length of the bars.

    Example:
        >>> bar_opens(Span(0, 61_000_000), np.array([], dtype=np.int64), Timeframe.M1).tolist()
        [0, 60000000]
    """
    edges = [(listed.start, listed.end - 1)] if listed.end > listed.start else []
    if len(traded):
        edges.append((int(traded[0]), int(traded[-1])))
    if not edges:
        return np.empty(0, dtype=np.int64)
    first = min(start for start, _ in edges) // timeframe.us
    last = max(end for _, end in edges) // timeframe.us
    return np.arange(first, last + 1, dtype=np.int64) * timeframe.us
