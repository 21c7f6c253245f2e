"""How long after its end a bar was first published: counts in buckets, for `/metrics`.

What belongs here: counting. What does not: the exposition format (`metrics.py`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.timeframes import Timeframe

BUCKETS_S = (0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper ends, fine around the usual grace of a second."""


@dataclass(slots=True)
class _Counts:
    buckets: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(BUCKETS_S) + 1, np.int64)
    )
    sum_s: float = 0.0


class DelayHistograms:
    """Delays of first publications, `published_at` less `ts_close`, by timeframe."""

    def __init__(self) -> None:
        self._counts: dict[Timeframe, _Counts] = {}
        self._lock = threading.Lock()

    def observe(self, timeframe: Timeframe, bars: pl.DataFrame) -> None:
        """Count the bars of a batch that are published for the first time."""
        if "published_at" not in bars.columns:
            return
        first = bars.filter(pl.col("revision") == 1)
        delays = (first["published_at"] - first["ts_close"]).dt.total_microseconds().drop_nulls()
        seconds = delays.to_numpy() / 1e6
        # A bucket holds what is at most its upper end.
        places = np.searchsorted(BUCKETS_S, seconds, side="left")
        with self._lock:
            counts = self._counts.setdefault(timeframe, _Counts())
            counts.buckets += np.bincount(places, minlength=len(BUCKETS_S) + 1)
            counts.sum_s += float(seconds.sum())

    def cumulative(self) -> dict[Timeframe, tuple[list[int], float]]:
        """For each timeframe: bars at most as late as each bucket's end and all bars; their sum.

        Units: seconds.

        Example:
            >>> import datetime as dt
            >>> end = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
            >>> late = [end + dt.timedelta(seconds=1.2), end + dt.timedelta(hours=1)]
            >>> bars = {"ts_close": [end, end], "published_at": late, "revision": [1, 1]}
            >>> delays = DelayHistograms()
            >>> delays.observe(Timeframe.M1, pl.DataFrame(bars))
            >>> delays.cumulative()
            {<Timeframe.M1: '1m'>: ([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2], 3601.2)}
        """
        with self._lock:
            return {
                timeframe: (np.cumsum(counts.buckets).tolist(), counts.sum_s)
                for timeframe, counts in self._counts.items()
            }
