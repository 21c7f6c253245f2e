"""The mid and the trades of an instrument at each second of a day.

What belongs here: the collection of the grid from slices. What does not: what is measured on it
(`realised.py`, `impact_regression.py`).

The grid is one of exchange time and of the previous tick: at each whole second it holds the last
state before that second, so that nothing of the second itself is in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.exact_sums import rounded_changes
from tickhandler_dagster.market.bars.quotes import STATE_AGE_US, TopTicks
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid

SECONDS = US_PER_DAY // US_PER_SECOND
"""Seconds of a day."""

_LONG_AGO = -(2**62)


@dataclass(frozen=True, slots=True)
class SecondCarry:
    """What a window leaves to the one that follows; None for what is not known.

    Attributes:
        mid: Of the last normal state.
        mid_us: Exchange time of that state.
        mid_arrival: Arrival of that state.
        price: Of the last trade.
        trade_arrival: Latest arrival of the trades of its second.
        last_return: Log return of the mid over the last second.
    """

    mid: float | None = None
    mid_us: int = _LONG_AGO
    mid_arrival: int = NO_ARRIVAL
    price: float | None = None
    trade_arrival: int = NO_ARRIVAL
    last_return: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SecondDay:
    """What the grid of a day or window says; per second except where said otherwise.

    Attributes:
        mids: The last normal mid before each whole second, both ends included: 86,401 in a day; NaN
            where there is none or it is older than 60 s.
        returns: Log return of the mid over the second `[k, k+1)`; NaN where either end is unknown.
        trade_returns: Log return of the last trade's price, however old that trade is; NaN before
            the first trade known.
        signed_notional: Quote asset bought minus sold by takers.
        notional: Quote asset traded.
        is_sized: The contract's units are known; without them the money is 0 and means nothing.
        mid_arrivals: Latest arrival of the states at both ends.
        trade_arrivals: Latest arrival of the second's trades and of the last trade before them.
        return_before: Return of the second before a window; NaN where it is not known, and at
            midnight.
        carry: What the window that follows takes over.
    """

    mids: Float64Array
    returns: Float64Array
    trade_returns: Float64Array
    signed_notional: Float64Array
    notional: Float64Array
    is_sized: bool
    mid_arrivals: Int64Array
    trade_arrivals: Int64Array
    return_before: float
    carry: SecondCarry

    def mid_arrival(self, grid: DayGrid) -> Int64Array:
        """Latest arrival of the states that each bar's mids come from. Shape: (bars,)."""
        return _latest(self.mid_arrivals, grid)

    def last_arrival(self, grid: DayGrid) -> Int64Array:
        """Latest arrival of the states and trades of each bar's seconds. Shape: (bars,)."""
        return _latest(np.maximum(self.mid_arrivals, self.trade_arrivals), grid)


class SecondGrid:
    """Previous-tick mids, last trade prices and traded money of each second of a day or window.

    Args:
        start_us: First moment of the day or window, microseconds since the epoch.
        is_sized: The contract's units are known; on a day without trades nothing else says so.
        length_us: Length of the day or window, whole seconds.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self,
        start_us: int,
        *,
        is_sized: bool = True,
        length_us: int = US_PER_DAY,
        carried: SecondCarry | None = None,
    ) -> None:
        self._start_us = start_us
        seconds, known = length_us // US_PER_SECOND, carried or SecondCarry()
        # Element 0 is what held before the day, element k+1 the last one of second k.
        self._mid = np.full(seconds + 1, np.nan)
        self._mid_time = np.full(seconds + 1, _LONG_AGO, dtype=np.int64)
        self._mid_arrival = np.full(seconds + 1, NO_ARRIVAL, dtype=np.int64)
        self._price = np.full(seconds + 1, np.nan)
        self._trade_arrival = np.full(seconds + 1, NO_ARRIVAL, dtype=np.int64)
        self._signed_notional = np.zeros(seconds)
        self._notional = np.zeros(seconds)
        self._is_sized = is_sized
        self._mid[0], self._price[0] = _or_nan(known.mid), _or_nan(known.price)
        self._mid_time[0], self._mid_arrival[0] = known.mid_us, known.mid_arrival
        self._trade_arrival[0] = known.trade_arrival
        self._return_before = _or_nan(known.last_return)

    def prime_top(self, ticks: TopTicks) -> None:
        """Take the last normal of some states before the day's first moment, in order of time."""
        normal = np.flatnonzero(ticks.is_normal)
        if len(normal):
            self._put_states(ticks, normal[-1:], np.zeros(1, dtype=np.int64))

    def add_top(self, ticks: TopTicks) -> None:
        """Take the states of a slice, in order of exchange time, arrival and position."""
        is_normal = ticks.is_normal
        normal = ticks if is_normal.all() else ticks.take(is_normal)
        if not len(normal):
            return
        starts, opens = bar_starts(normal.timestamp, US_PER_SECOND)
        last = np.append(starts[1:], len(normal)) - 1
        self._put_states(normal, last, self._second(opens) + 1)

    def prime_trade(self, ticks: TradeTicks) -> None:
        """Take the last of some trades before the day's first moment, in total order."""
        if len(ticks):
            self._price[0] = ticks.price[-1]
            self._trade_arrival[0] = ticks.local_timestamp[-1]

    def add_trades(self, ticks: TradeTicks, sizes: Sizes | None) -> None:
        """Take the trades of a slice, in total order.

        Args:
            ticks: The trades.
            sizes: Their true sizes; None where the contract's units are unknown.
        """
        self._is_sized &= sizes is not None
        if not len(ticks):
            return
        starts, opens = bar_starts(ticks.timestamp, US_PER_SECOND)
        seconds = self._second(opens)
        last = np.append(starts[1:], len(ticks)) - 1
        self._price[seconds + 1] = ticks.price[last]
        self._trade_arrival[seconds + 1] = np.maximum.reduceat(ticks.local_timestamp, starts)
        if sizes is not None:
            self._signed_notional[seconds] = np.add.reduceat(ticks.side * sizes.quote, starts)
            self._notional[seconds] = np.add.reduceat(sizes.quote, starts)

    def finish(self) -> SecondDay:
        """The day on the grid, once everything is in."""
        held = _held(self._mid_time != _LONG_AGO)
        moments = self._start_us + np.arange(len(held), dtype=np.int64) * US_PER_SECOND
        is_fresh = moments - self._mid_time[held] <= STATE_AGE_US
        mids = np.where(is_fresh, self._mid[held], np.nan)
        states = self._mid_arrival[held]
        traded = _held(~np.isnan(self._price))
        trades = np.maximum(self._trade_arrival[traded][:-1], self._trade_arrival[1:])
        returns = _log_returns(mids)
        return SecondDay(
            mids=mids,
            returns=returns,
            trade_returns=_log_returns(self._price[traded]),
            signed_notional=self._signed_notional,
            notional=self._notional,
            is_sized=self._is_sized,
            mid_arrivals=np.maximum(states[1:], states[:-1]),
            trade_arrivals=trades,
            return_before=self._return_before,
            carry=SecondCarry(
                _or_none(self._mid[held[-1]]),
                int(self._mid_time[held[-1]]),
                int(self._mid_arrival[held[-1]]),
                _or_none(self._price[traded[-1]]),
                int(self._trade_arrival[traded[-1]]),
                _or_none(returns[-1]),
            ),
        )

    def _second(self, moments: Int64Array) -> Int64Array:
        return (moments - self._start_us) // US_PER_SECOND

    def _put_states(self, ticks: TopTicks, rows: Int64Array, places: Int64Array) -> None:
        self._mid[places] = (ticks.bid[rows] + ticks.ask[rows]) / 2
        self._mid_time[places] = ticks.timestamp[rows]
        self._mid_arrival[places] = ticks.local_timestamp[rows]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _held(is_known: npt.NDArray[np.bool_]) -> Int64Array:
    """For each place the last place up to it that is known; the first where there is none."""
    return np.maximum.accumulate(np.where(is_known, np.arange(len(is_known)), 0))


def _log_returns(prices: Float64Array) -> Float64Array:
    ratios = prices[1:] / prices[:-1]
    returns = np.where(ratios == 1.0, 0.0, np.nan)
    # In most seconds of most instruments nothing moves, and logarithms are dear.
    moved = np.flatnonzero((ratios != 1.0) & ~np.isnan(ratios))
    returns[moved] = rounded_changes(np.log(ratios[moved]))
    return returns


def _latest(arrivals: Int64Array, grid: DayGrid) -> Int64Array:
    return np.asarray(np.maximum.reduce(arrivals.reshape(grid.bars, -1), axis=1))
