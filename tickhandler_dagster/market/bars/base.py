"""The bar kernel: ordered trades become the statistics of the bars they fall in, for any timeframe.

What belongs here: what is computed from single trades and merges. What does not: what needs all
trades of the larger bar (`quantiles.py`, `exact.py`), the merging itself (`rollup.py`), ratios (the
registry's entries) and bars without trades (`grid.py`).

Every number of a bar is computed from that bar's trades alone, plus the time of the trade before
it. That is what makes a bar the same to the last bit whether the day comes in one slice or in
twenty, and whatever comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.segments import (
    bar_starts,
    run_lengths,
    running_sums,
    squared_deviations,
)
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.bars.ticks import Int64Array, TradeTicks
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.timeframes import Timeframe

US_PER_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class PreviousTrade:
    """The last trade before a span.

    Attributes:
        timestamp_us: Exchange time, microseconds since the epoch.
        arrival_us: Arrival at the recorder, microseconds since the epoch.
    """

    timestamp_us: int
    arrival_us: int


_Starts = npt.NDArray[np.intp]
_Arrays = dict[str, npt.NDArray[Any]]


def bar_statistics(
    ticks: TradeTicks, sizes: Sizes | None, timeframe: Timeframe, *, previous_us: int | None
) -> BarStatistics:
    """Statistics of each bar of `timeframe` that has a trade.

    Args:
        ticks: Trades in total order (`order.py`).
        sizes: Their true sizes; None where the contract's units are unknown.
        timeframe: Length of the bars.
        previous_us: Exchange time of the last trade before these; None where none is known, and
            then the first trade has no inter-arrival time.

    Shape: one element per traded bar, in time order.
    """
    starts, opens = bar_starts(ticks.timestamp, timeframe.us)
    return BarStatistics(
        {"ts_open": opens} | run_statistics(ticks, sizes, starts, previous_us=previous_us)
    )


def run_statistics(
    ticks: TradeTicks,
    sizes: Sizes | None,
    starts: npt.NDArray[np.intp],
    *,
    previous_us: int | None,
) -> dict[str, npt.NDArray[Any]]:
    """Statistics of consecutive runs of trades, whatever ends a run: a time bar, a threshold.

    Args:
        ticks: Trades in total order (`order.py`).
        sizes: Their true sizes; None where the contract's units are unknown.
        starts: Position of the first trade of each run; the first is 0.
        previous_us: Exchange time of the last trade before these; None where none is known.

    Shape: one element per run.
    """
    unsized = _prices_and_times(ticks, starts) | _gaps(ticks.timestamp, starts, previous_us)
    return unsized if sizes is None else unsized | _volumes(ticks, sizes, starts)


def _prices_and_times(ticks: TradeTicks, starts: _Starts) -> _Arrays:
    last = _last_of(starts, len(ticks))
    sweep_begins = np.ones(len(ticks), dtype=np.int64)
    same_time = ticks.timestamp[1:] == ticks.timestamp[:-1]
    sweep_begins[1:] = ~(same_time & (ticks.side[1:] == ticks.side[:-1]))
    sweep_begins[starts] = 1  # a threshold can split a sweep: each bar counts its own part
    return {
        "open_time": ticks.timestamp[starts],
        "close_time": ticks.timestamp[last],
        "last_arrival": np.maximum.reduceat(ticks.local_timestamp, starts),
        "open": ticks.price[starts],
        "high": np.maximum.reduceat(ticks.price, starts),
        "low": np.minimum.reduceat(ticks.price, starts),
        "close": ticks.price[last],
        "trade_count": run_lengths(starts, len(ticks)),
        "amount_sum": np.add.reduceat(ticks.amount, starts),
        "sweep_count": np.add.reduceat(sweep_begins, starts),
    }


def _gaps(timestamp: Int64Array, starts: _Starts, previous_us: int | None) -> _Arrays:
    """Times between trades, each counted in the bar of the later trade."""
    gaps_us = np.diff(timestamp, prepend=timestamp[0] if previous_us is None else previous_us)
    count = run_lengths(starts, len(timestamp))
    if previous_us is None:
        count[0] -= 1
    sums = np.add.reduceat(gaps_us, starts)
    means_ms = sums / US_PER_MS / np.maximum(count, 1)
    gaps_ms = gaps_us / US_PER_MS
    if previous_us is None:
        gaps_ms[0] = means_ms[0]  # the trade without a gap adds no deviation
    return {
        "interarrival_count": count,
        "interarrival_sum_us": sums,
        "interarrival_m2_ms2": squared_deviations(gaps_ms, means_ms, starts),
    }


def _volumes(ticks: TradeTicks, sizes: Sizes, starts: _Starts) -> _Arrays:
    signed = sizes.base * ticks.side
    running = running_sums(signed, starts)
    volume = np.add.reduceat(sizes.base, starts)
    count = run_lengths(starts, len(ticks))
    return {
        "volume": volume,
        "notional": np.add.reduceat(sizes.quote, starts),
        "buy_volume_sum": np.add.reduceat(np.where(ticks.side > 0, sizes.base, 0.0), starts),
        "sell_volume_sum": np.add.reduceat(np.where(ticks.side < 0, sizes.base, 0.0), starts),
        "unknown_volume_sum": np.add.reduceat(np.where(ticks.side == 0, sizes.base, 0.0), starts),
        "delta": running[_last_of(starts, len(ticks))],
        "delta_max": np.maximum(np.maximum.reduceat(running, starts), 0.0),
        "delta_min": np.minimum(np.minimum.reduceat(running, starts), 0.0),
        "size_m2": squared_deviations(sizes.base, volume / count, starts),
        "size_max": np.maximum.reduceat(sizes.base, starts),
    }


def _last_of(starts: _Starts, total: int) -> _Starts:
    return np.append(starts[1:], total) - 1
