"""15 s statistics become those of any larger bar, without the trades.

What belongs here: how each merge rule of the registry is carried out on bars that have trades, and
the rules that take several statistics. Bars are merged in time order and empty ones do not take
part, so that the result does not depend on whether they were kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.base import US_PER_MS
from tickhandler_dagster.market.bars.segments import (
    run_lengths,
    run_starts,
    running_sums,
)
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.trades import TRADES
from tickhandler_dagster.market.timeframes import Timeframe

_Starts = npt.NDArray[np.intp]

_UFUNCS: Mapping[Merge, np.ufunc] = MappingProxyType(
    {Merge.SUM: np.add, Merge.MIN: np.minimum, Merge.MAX: np.maximum}
)
_REDUCTIONS: Mapping[str, np.ufunc] = MappingProxyType(
    {feature.name: _UFUNCS[feature.merge] for feature in TRADES if feature.merge in _UFUNCS}
)
_FIRST = tuple(feature.name for feature in TRADES if feature.merge is Merge.FIRST)
_LAST = tuple(feature.name for feature in TRADES if feature.merge is Merge.LAST)


def rolled_up(bars: BarStatistics, timeframe: Timeframe) -> BarStatistics:
    """The statistics of the bars of `timeframe` that the given, smaller bars make up.

    Args:
        bars: Statistics of a timeframe that divides `timeframe`, at least one bar.
        timeframe: Length of the bars wanted.
    """
    bar_open = bars["ts_open"] - bars["ts_open"] % timeframe.us
    starts = run_starts(bar_open)
    last = np.append(starts[1:], len(bars)) - 1
    merged: dict[str, npt.NDArray[Any]] = {"ts_open": bar_open[starts]}
    merged |= {name: bars[name][starts] for name in _FIRST if name in bars.columns}
    merged |= {name: bars[name][last] for name in _LAST if name in bars.columns}
    merged |= {
        name: reduction.reduceat(bars[name], starts)
        for name, reduction in _REDUCTIONS.items()
        if name in bars.columns
    }
    merged["interarrival_m2_ms2"] = _merged_deviations(
        bars["interarrival_m2_ms2"],
        bars["interarrival_count"],
        bars["interarrival_sum_us"] / US_PER_MS,
        starts,
    )
    if bars.has_sizes:
        merged["size_m2"] = _merged_deviations(
            bars["size_m2"], bars["trade_count"], bars["volume"], starts
        )
        merged |= _delta_extremes(bars, starts)
    return BarStatistics(merged)


def _merged_deviations(
    m2: Float64Array, count: npt.NDArray[np.int64], total: Float64Array, starts: _Starts
) -> Float64Array:
    """Squared deviations from the mean of the whole: inside the parts, plus of their means.

    Source: Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance.
    """
    means = total / np.maximum(count, 1)
    merged_means = np.add.reduceat(total, starts) / np.maximum(np.add.reduceat(count, starts), 1)
    between = np.square(means - np.repeat(merged_means, run_lengths(starts, len(m2)))) * count
    return np.add.reduceat(m2 + between, starts)


def _delta_extremes(bars: BarStatistics, starts: _Starts) -> dict[str, Float64Array]:
    """Extremes of the running delta: each part's own plus the delta of the parts before."""
    before = running_sums(bars["delta"], starts) - bars["delta"]
    return {
        "delta_max": np.maximum.reduceat(before + bars["delta_max"], starts),
        "delta_min": np.minimum.reduceat(before + bars["delta_min"], starts),
    }
