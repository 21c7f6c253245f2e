"""The latest rows of each instrument before midnight: what a day begins from where little happens.

What belongs here: keeping them for each of the last midnights. What does not: the rows of the last
minutes (`tails.py`) and what windows make of them (`windows.py`).

A day's first window starts from rows, not from the state that the day before left: those of its
last minute or, as in the batch, the latest row there is. For a thin instrument that one is hours
old, and no longer in memory when midnight comes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.days import US_PER_DAY

SYMBOL, MIDNIGHT = "symbol", "_midnight"
_TIME, _ARRIVAL = "timestamp", "local_timestamp"

KEPT_DAYS = 3
"""Midnights that are remembered: the bar of a whole day is built a day after its first one."""


class LatestRows:
    """Each symbol's latest rows of one data type, for each of the last midnights.

    Rows count that arrived within a day before the midnight, or after it: those the batch finds in
    the files of two days.

    Args:
        empty: No rows, with the columns they have but for the symbol.
    """

    def __init__(self, empty: pl.DataFrame) -> None:
        self._rows = _named(empty, [], 0)

    def take(self, rows: pl.DataFrame, places: Mapping[str, tuple[int, int]]) -> None:
        """Take rows, which may be taken again.

        Args:
            rows: Rows of one symbol after the other, those of a symbol in order of arrival.
            places: First row and number of rows of each symbol, in order.
        """
        if not rows.height:
            return
        times, arrivals = (rows[clock].to_physical().to_numpy() for clock in (_TIME, _ARRIVAL))
        starts = np.array([start for start, _ in places.values()])
        lengths = np.array([length for _, length in places.values()])
        newest_us = (int(arrivals.max()) // US_PER_DAY + 1) * US_PER_DAY
        found = [self._rows]
        for midnight in (newest_us - US_PER_DAY, newest_us):
            counts = (times < midnight) & (arrivals >= midnight - US_PER_DAY)
            is_latest = _is_latest(np.where(counts, times, -1), starts, lengths) & counts
            if is_latest.any():
                owners = np.repeat(np.arange(len(lengths)), lengths)[is_latest]
                names = np.array(list(places))[owners].tolist()
                found.append(_named(rows.filter(pl.Series(is_latest)), names, midnight))
        if len(found) > 1:
            self._rows = _latest(pl.concat(found))

    def before(self, midnight_us: int, symbol: str) -> pl.DataFrame:
        """The symbol's latest rows before the midnight, of those that were taken."""
        is_wanted = (pl.col(SYMBOL) == symbol) & (pl.col(MIDNIGHT) == midnight_us)
        return self._rows.filter(is_wanted).drop(SYMBOL, MIDNIGHT)

    def to_bytes(self) -> bytes:
        """Everything that is kept."""
        buffer = io.BytesIO()
        self._rows.write_ipc(buffer)
        return buffer.getvalue()

    def restore(self, content: bytes) -> None:
        """Take over what `to_bytes` gave."""
        self._rows = pl.read_ipc(io.BytesIO(content))


def _named(rows: pl.DataFrame, symbols: list[str], midnight_us: int) -> pl.DataFrame:
    return rows.with_columns(
        pl.Series(SYMBOL, symbols, dtype=pl.String),
        pl.lit(midnight_us, dtype=pl.Int64).alias(MIDNIGHT),
    )


def _is_latest(
    times: Int64Array, starts: Int64Array, lengths: Int64Array
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows of the newest time of their symbol."""
    newest: Int64Array = np.repeat(np.maximum.reduceat(times, starts), lengths)
    return np.equal(times, newest)


def _latest(rows: pl.DataFrame) -> pl.DataFrame:
    """The latest of each symbol and midnight, each row once."""
    newest = pl.col(_TIME) == pl.col(_TIME).max().over(SYMBOL, MIDNIGHT)
    is_kept = pl.col(MIDNIGHT) > pl.col(MIDNIGHT).max() - KEPT_DAYS * US_PER_DAY
    return rows.filter(newest & is_kept).unique(maintain_order=True)
