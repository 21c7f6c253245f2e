"""Trades whose id came before: kept out of bars, as the batch keeps them out of its files.

What belongs here: remembering ids for a while. What does not: what a bar makes of the times of
those kept out (`market/bars/trade_quality.py`).

The batch compares the ids of a whole file. A stream that did would hold hundreds of millions of
them: here an id is known for `REACH_US` of arrival, which covers what a venue sends again when a
connection comes back. The price: a trade repeated later than that counts twice until the batch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tickhandler_dagster.market.days import US_PER_SECOND

REACH_US = 60 * US_PER_SECOND
"""How long after its first arrival an id is known."""

_ID, _ARRIVAL = "id", "local_timestamp"
_SPAN_US = 10 * US_PER_SECOND


@dataclass(slots=True)
class _Stretch:
    """Ids that came within `_SPAN_US`, and when; they are forgotten together."""

    first_us: int
    newest_us: int
    arrivals: dict[int, int] = field(default_factory=dict)


class SeenIds:
    """The ids of a venue's newest trades, as hashes of symbol and id.

    A hash has 64 bits: with a million ids known and a thousand million a day, one in fifty years is
    taken for another.
    """

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque()

    def __len__(self) -> int:
        return sum(len(stretch.arrivals) for stretch in self._stretches)

    def split(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that are new, and those whose id came before; rows without an id are new."""
        has_id = rows.get_column(_ID).is_not_null()
        with_id = rows if has_id.all() else rows.filter(has_id)
        if with_id.is_empty():
            return rows, rows.clear()
        hashes = with_id.select(pl.struct("symbol", _ID).hash()).to_series().to_list()
        arrivals = with_id.get_column(_ARRIVAL).to_physical().to_list()
        repeated = self._repeated(hashes, arrivals)
        if not repeated:
            return rows, rows.clear()
        is_repeated = np.zeros(rows.height, dtype=np.bool_)
        is_repeated[np.flatnonzero(has_id.to_numpy())[repeated]] = True
        mask = pl.Series(is_repeated)
        return rows.filter(~mask), rows.filter(mask)

    def _repeated(self, hashes: list[int], arrivals: list[int]) -> list[int]:
        """Positions of the ids that came before; all others are known from now on."""
        newest = self._stretch(min(arrivals), max(arrivals))
        known = [one.arrivals for one in reversed(self._stretches)]
        is_new = all(one.keys().isdisjoint(hashes) for one in known)
        if is_new and len(set(hashes)) == len(hashes):
            newest.update(zip(hashes, arrivals, strict=True))
            return []  # nearly always: one id at a time takes five times as long
        repeated = []
        for number, (key, arrival) in enumerate(zip(hashes, arrivals, strict=True)):
            first = next((one[key] for one in known if key in one), None)
            if first is not None and arrival - first <= REACH_US:
                repeated.append(number)
            else:
                newest[key] = arrival
        return repeated

    def _stretch(self, first_us: int, newest_us: int) -> dict[int, int]:
        """Where ids that came now are kept; forgets those that came too long ago."""
        stretches = self._stretches
        if not stretches or newest_us - stretches[-1].first_us > _SPAN_US:
            stretches.append(_Stretch(first_us, newest_us))
        stretches[-1].newest_us = max(stretches[-1].newest_us, newest_us)
        while stretches[0].newest_us < newest_us - REACH_US:
            stretches.popleft()
        return stretches[-1].arrivals
