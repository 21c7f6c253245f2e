"""Where bars end that a fixed amount fills.

What belongs here: positions in a sequence of trades. What does not: what a bar then holds
(`information.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticks import Float64Array

_LEAST_WINDOW = 64

Positions = npt.NDArray[np.intp]


def counted_ends(count: int, threshold: int) -> Positions:
    """One past the last of each run of exactly `threshold` elements.

    Example:
        >>> counted_ends(7, 3).tolist()
        [3, 6]
    """
    return np.arange(threshold, count + 1, threshold, dtype=np.intp)


def filled_ends(amounts: Float64Array, threshold: float) -> Positions:
    """One past the last of each run whose sum reaches the threshold; each begins after the last.

    The sum begins anew with every run, and is added in the order of the elements: a run ends at the
    same element wherever the sequence was cut before it. One cumulative sum over everything with a
    search for the multiples of the threshold would need no loop over runs, but what a run
    overshoots would fill the next one, and its last bits would hang on everything before it.

    Args:
        amounts: Not negative.
        threshold: Greater than 0.

    Example:
        >>> filled_ends(np.array([1.0, 2.0, 7.0, 1.0, 1.0, 1.0, 2.0]), 3.0).tolist()
        [2, 3, 6]
    """
    ends: list[int] = []
    start, window = 0, _LEAST_WINDOW
    while start < len(amounts):
        sums = np.cumsum(amounts[start : start + window])
        length = int(np.searchsorted(sums, threshold)) + 1
        if length <= len(sums):
            ends.append(start + length)
            start += length
            window = max(_LEAST_WINDOW, 2 * length)
        elif start + window >= len(amounts):
            break
        else:
            window *= 2
    return np.array(ends, dtype=np.intp)
