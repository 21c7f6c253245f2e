"""How long trades take from the exchange to the recorder.

What belongs here: delays of the bars, their quantiles and the skew of the clocks. What does not:
the order of arrival (`trade_sequence.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from tickhandler_dagster.market.bars.base import US_PER_MS
from tickhandler_dagster.market.bars.quantiles import Quantile, QuantileDay
from tickhandler_dagster.market.bars.segments import hits_per_run, run_lengths
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.bars.trade_slice import DenseColumns, TradeSlice, bars_of
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

DELAY_QUANTILES: Mapping[str, Quantile] = MappingProxyType(
    {
        "delay_median": Quantile(0.50, 1),
        "delay_p95": Quantile(0.95, 20),
        "delay_p99": Quantile(0.99, 100),
    }
)

SKEW_WINDOW_US = 60 * US_PER_SECOND
"""Time over which the smallest delay stands for the skew of the clocks."""

_SKEW_REST = SKEW_WINDOW_US // BASE_TIMEFRAME.us - 1

LeastDelays: TypeAlias = tuple[int | None, ...]
"""Microseconds, of the last base bars; None for one without trades."""


class TradeDelays:
    """Delays of the trades of a day: local minus exchange time.

    Args:
        grid: Bars of the day.
        has_exchange_clock: The venue gives exchange times. Where it does not, the vendor sets both
            clocks equal, and a delay of zero would be a measurement nobody made.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self, grid: DayGrid, *, has_exchange_clock: bool, carried: LeastDelays | None = None
    ) -> None:
        self._grid = grid
        self._has_clock = has_exchange_clock
        self._dense = DenseColumns(
            grid,
            sums=("delay_count", "delay_sum_us", "negative_delay_count"),
            values=("delay_min", "delay_max", "clock_skew_ms"),
        )
        self._least_us = np.full(grid.bars_of(BASE_TIMEFRAME), np.nan)
        known = carried or (None,) * _SKEW_REST
        self._before_us = np.array([np.nan if least is None else least for least in known])
        self._quantiles = QuantileDay(grid, DELAY_QUANTILES)

    def add(self, part: TradeSlice) -> None:
        """Take the trades of a slice."""
        if not self._has_clock:
            return
        ticks, starts = part.ticks, part.starts
        delay_us = ticks.local_timestamp - ticks.timestamp
        least_us = np.minimum.reduceat(delay_us, starts)
        self._dense.put(
            part.bars,
            delay_count=run_lengths(starts, len(ticks)),
            delay_sum_us=np.add.reduceat(delay_us, starts),
            delay_min=least_us / US_PER_MS,
            delay_max=np.maximum.reduceat(delay_us, starts) / US_PER_MS,
        )
        if least_us.min() < 0:
            self._dense.put(part.bars, negative_delay_count=hits_per_run(delay_us < 0, starts))
        base_starts, base_bars = bars_of(ticks.timestamp, self._grid, BASE_TIMEFRAME)
        self._least_us[base_bars] = np.minimum.reduceat(delay_us, base_starts)
        self._quantiles.add(ticks.timestamp, delay_us.astype(np.float64))

    def finish(self) -> DenseColumns:
        """The columns that merge, for all bars of the day."""
        if not self._has_clock:
            for column in self._dense.columns.values():
                column.fill(np.nan)
            return self._dense
        skew_us, arrival = self._skew()
        ratio = self._grid.timeframe.us // BASE_TIMEFRAME.us
        self._dense.columns["clock_skew_ms"] = skew_us[ratio - 1 :: ratio] / US_PER_MS
        if ratio == 1:  # the window of any larger bar's end lies inside the bar
            np.maximum(self._dense.last_arrival, arrival, out=self._dense.last_arrival)
        return self._dense

    def quantiles(self) -> Mapping[Timeframe, Mapping[str, Float64Array]]:
        """The quantiles of every timeframe, in milliseconds; ends the day."""
        return {
            timeframe: {name: values / US_PER_MS for name, values in columns.items()}
            for timeframe, columns in self._quantiles.finish().items()
        }

    def carry(self) -> LeastDelays:
        """Least delay of each of the last base bars; None for those without a trade."""
        last = np.concatenate((self._before_us, self._least_us))[-_SKEW_REST:].tolist()
        return tuple(None if math.isnan(least) else int(least) for least in last)

    def _skew(self) -> tuple[Float64Array, Int64Array]:
        """The skew at each base bar's end, and the arrival of the trade of an earlier bar it is.

        A trade of an earlier bar arrived before that bar's end plus its own delay: close enough,
        and nothing has to be remembered of it.
        """
        grid = DayGrid(self._grid.start_us, length_us=self._grid.length_us)
        padded = np.concatenate((self._before_us, self._least_us))
        skew_us = padded[_SKEW_REST:]
        for place in range(_SKEW_REST):
            skew_us = np.fmin(skew_us, padded[place : place + grid.bars])
        passed = (grid.start_us - grid.day_start_us) // BASE_TIMEFRAME.us
        skew_us[: max(_SKEW_REST - passed, 0)] = np.nan  # a full minute of the day has not passed
        opens = grid.opens
        is_earlier = ~np.isnan(skew_us) & ~(self._least_us <= skew_us)
        arrival = np.full(len(skew_us), NO_ARRIVAL, dtype=np.int64)
        arrival[is_earlier] = opens[is_earlier] + skew_us[is_earlier].astype(np.int64)
        return skew_us, arrival
