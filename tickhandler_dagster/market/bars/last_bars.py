"""The last traded bar of each timeframe: what the next bar of it must know.

What belongs here: following it from window to window, whatever their length. What does not: what
is made of it (`high_low_spread.py`, `frame.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True)
class LastBar:
    """A traded bar, complete or as far as its trades are known.

    Attributes:
        ts_open: Its first moment, microseconds since the epoch.
        high: Highest price.
        low: Lowest price.
        last_arrival: Latest arrival of its trades.
    """

    ts_open: int
    high: float
    low: float
    last_arrival: int


def last_bars(
    before: Mapping[Timeframe, LastBar], traded: BarStatistics, base: Timeframe
) -> dict[Timeframe, LastBar]:
    """The last traded bar of each timeframe from `base` up, after more trades.

    Args:
        before: Those before these trades.
        traded: Statistics of bars of `base`, at least one.
        base: Their length.
    """
    opens, last = traded["ts_open"], int(traded["ts_open"][-1])
    found: dict[Timeframe, LastBar] = {}
    for timeframe in Timeframe:
        if timeframe.us < base.us:
            continue
        ts_open = last - last % timeframe.us
        first = int(np.searchsorted(opens, ts_open))
        bar = LastBar(
            ts_open,
            float(traded["high"][first:].max()),
            float(traded["low"][first:].min()),
            int(traded["last_arrival"][first:].max()),
        )
        known = before.get(timeframe)
        found[timeframe] = bar if known is None else _together(known, bar)
    return found


def _together(known: LastBar, bar: LastBar) -> LastBar:
    if known.ts_open != bar.ts_open:
        return bar
    return LastBar(
        bar.ts_open,
        max(known.high, bar.high),
        min(known.low, bar.low),
        max(known.last_arrival, bar.last_arrival),
    )
