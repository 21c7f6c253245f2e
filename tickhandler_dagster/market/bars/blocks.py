"""Cutting a slice into blocks of whole bars that stay in the processor's cache.

What does not belong here: slices, which bound the memory (`adapters/tick_slices.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticks import Int64Array

BLOCK_ROWS = 65536
"""Half of the time of a kernel with a dozen steps over half a million rows went into fetching fresh
memory for each step's result; a block's results are small enough to be used again."""


def whole_bar_blocks(
    timestamp: Int64Array, width_us: int, rows: int = BLOCK_ROWS
) -> Iterator[slice]:
    """Consecutive spans of whole bars, each of about `rows` of the ordered times or a single bar.

    Example:
        >>> list(whole_bar_blocks(np.array([1, 2, 3, 11, 12, 25]), 10, rows=2))
        [slice(0, 3, None), slice(3, 5, None), slice(5, 6, None)]
    """
    if not len(timestamp):
        return
    starts, _ = bar_starts(timestamp, width_us)
    wanted = np.arange(0, len(timestamp), rows)
    edges = np.append(starts, len(timestamp))[np.searchsorted(starts, wanted)]
    for begin, end in zip(edges.tolist(), [*edges[1:].tolist(), len(timestamp)], strict=True):
        if begin < end:
            yield slice(begin, end)
