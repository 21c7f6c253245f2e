"""Runs of equal keys in an ordered array, and what is computed once per run.

What belongs here: run starts, and the reductions over runs that numpy has no single call for. What
does not: what the runs mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array


def run_starts(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Position of the first element of each run of equal keys.

    Example:
        >>> run_starts(np.array([3, 3, 5, 3])).tolist()
        [0, 2, 3]
    """
    is_start = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_start[1:])
    return is_start.nonzero()[0]


def bar_starts(timestamp: Int64Array, width_us: int) -> tuple[npt.NDArray[np.intp], Int64Array]:
    """Position of the first of the ordered times in each bar that has one, and that bar's open.

    A search for the edges of the bars: dividing every time by the width costs a tenth of the whole
    kernel.

    Example:
        >>> starts, opens = bar_starts(np.array([3, 4, 21]), 10)
        >>> starts.tolist(), opens.tolist()
        ([0, 2], [0, 20])
    """
    first, last = int(timestamp[0]) // width_us, int(timestamp[-1]) // width_us
    if first == last:
        return np.zeros(1, dtype=np.intp), np.array([first * width_us])
    edges = np.arange(first, last + 1, dtype=np.int64) * width_us
    positions = np.append(np.searchsorted(timestamp, edges), len(timestamp))
    has_any = positions[1:] > positions[:-1]
    return positions[:-1][has_any], edges[has_any]


def run_lengths(starts: npt.NDArray[np.intp], total: int) -> Int64Array:
    """Number of elements of each run.

    Example:
        >>> run_lengths(np.array([0, 2, 3]), 4).tolist()
        [2, 1, 1]
    """
    lengths = np.empty(len(starts), dtype=np.int64)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1:] = total - starts[-1:]
    return lengths


def hits_per_run(is_hit: npt.NDArray[np.bool_], starts: npt.NDArray[np.intp]) -> Int64Array:
    """Number of true elements of each run.

    Example:
        >>> hits_per_run(np.array([True, False, True, True]), np.array([0, 2])).tolist()
        [1, 2]
    """
    return np.asarray(np.add.reduceat(is_hit, starts, dtype=np.int64))


def running_sums(values: Float64Array, starts: npt.NDArray[np.intp]) -> Float64Array:
    """Cumulative sum that begins anew at each run.

    One cumulative sum over everything minus its value at the run's start would be a single call,
    and would make the last bits of a bar depend on the bars before it: a bar built from another
    slice would differ.

    Example:
        >>> running_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 2])).tolist()
        [1.0, 3.0, 4.0]
    """
    sums = np.empty_like(values)
    ends = [*starts[1:].tolist(), len(values)]
    for start, end in zip(starts.tolist(), ends, strict=True):
        np.cumsum(values[start:end], out=sums[start:end])
    return sums


def squared_deviations(
    values: Float64Array, means: Float64Array, starts: npt.NDArray[np.intp]
) -> Float64Array:
    """Sum of squared distances of each run's values from that run's mean.

    Σx² - n·mean² needs one pass less and cancels to noise where the spread is small against the
    size.
    """
    deviations = values - np.repeat(means, run_lengths(starts, len(values)))
    return np.add.reduceat(np.square(deviations), starts)
