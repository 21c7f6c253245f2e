"""The total order of trades: the same sequence, whatever sequence they came in.

What does not belong here: which bar a trade belongs to (`base.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tickhandler_dagster.market.bars.ticks import Int64Array, TradeTicks


def in_total_order(ticks: TradeTicks) -> TradeTicks:
    """The trades by exchange time, trade id where there are ids, arrival and position.

    More than half of a busy venue's consecutive trades share their exchange millisecond, so open
    and close hang on what breaks the tie. Trades that come in order, as nearly all files do, are
    returned as they are: looking costs a twentieth of sorting.

    Example:
        >>> zeros = np.zeros(2)
        >>> at = lambda *us: np.array(us, dtype=np.int64)
        >>> sides = zeros.astype(np.int8)
        >>> swapped = TradeTicks(at(5, 5), at(6, 6), at(12, 11), sides, zeros, zeros)
        >>> in_total_order(swapped).trade_id.tolist()
        [11, 12]
    """
    keys = _keys(ticks)
    return ticks if _is_ordered(keys) else ticks.take(np.lexsort(keys[::-1]))


def _keys(ticks: TradeTicks) -> list[Int64Array]:
    ids = [] if ticks.trade_id is None else [ticks.trade_id]
    return [ticks.timestamp, *ids, ticks.local_timestamp]


def _is_ordered(keys: Sequence[Int64Array]) -> bool:
    """No element is smaller than the one before it, the most significant key first."""
    tied = np.ones(max(len(keys[0]) - 1, 0), dtype=np.bool_)
    for key in keys:
        earlier, later = key[:-1], key[1:]
        if bool((tied & (later < earlier)).any()):
            return False
        tied &= later == earlier
    return True
