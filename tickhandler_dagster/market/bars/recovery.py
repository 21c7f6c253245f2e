"""How long the touch takes to refill after a depletion.

What belongs here: the search from many depletions at once. What does not: what a depletion is and
whose bar it belongs to (`resilience.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array

HORIZON_US = 5_000_000
"""How long a depletion is followed."""

RECOVERED_SHARE = 0.9
"""Share of the size before that counts as refilled."""

UNRESOLVED = -1

_FIRST_LOOK, _LOOK = 8, 32
_NO_PRICES, _NO_SIZES = np.full(_LOOK, -np.inf), np.zeros(_LOOK)


def recovery_times(
    timestamp: Int64Array, price: Float64Array, size: Float64Array, at: npt.NDArray[np.intp]
) -> Int64Array:
    """Time from each depletion to the first state as good as the one before it.

    As good: the touch is at or inside the price before, with `RECOVERED_SHARE` of its size.

    Args:
        timestamp: Exchange time of the states, ascending, microseconds.
        price: Best price of the side, higher is better; -inf where the state is not normal.
        size: Size at it.
        at: Positions of the depletions, ascending, each at least 1.

    Units: microseconds.
    Nulls: `UNRESOLVED` where no state within `HORIZON_US` is.

    Only states that change the side can refill it, about half of a quote feed. The search looks at
    the next few of them for all depletions together; one state at a time costs six times as much.

    Example:
        >>> size = np.array([10.0, 2.0, 8.9, 9.0])
        >>> recovery_times(np.arange(4), np.ones(4), size, np.array([1])).tolist()
        [2]
    """
    is_other = (price[1:] != price[:-1]) | (size[1:] != size[:-1])
    others = np.concatenate((np.zeros(1, dtype=np.intp), np.flatnonzero(is_other) + 1))
    moments = timestamp[others]
    start = np.searchsorted(others, at)
    wanted, least = price[at - 1, None], size[at - 1, None] * RECOVERED_SHARE
    ends = np.searchsorted(moments, timestamp[at] + HORIZON_US, side="right")
    prices = np.concatenate((price[others], _NO_PRICES))
    sizes = np.concatenate((size[others], _NO_SIZES))
    found = np.full(len(at), UNRESOLVED, dtype=np.int64)
    event, now, look = np.arange(len(at)), start + 1, _FIRST_LOOK
    while True:
        is_inside = now < ends[event]
        event, now = event[is_inside], now[is_inside]
        if not len(event):
            return found
        is_good = _windows(prices, look)[now] >= wanted[event]
        is_good &= _windows(sizes, look)[now] >= least[event]
        first = now + is_good.argmax(axis=1)
        is_any = is_good.any(axis=1)
        is_found = is_any & (first < ends[event])
        done = event[is_found]
        found[done] = moments[first[is_found]] - moments[start[done]]
        event, now, look = event[~is_any], now[~is_any] + look, _LOOK


def _windows(values: Float64Array, length: int) -> Float64Array:
    """All runs of so many neighbours as rows of a view.

    numpy's `sliding_window_view` gives the same and takes longer than the look-up in a short span.
    """
    shape = len(values) - length + 1, length
    return np.ndarray(shape, np.float64, values, 0, (values.itemsize, values.itemsize))
