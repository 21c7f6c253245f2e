"""Which of the messages said are in the lake: each by its own number, none taken on trust.

What belongs here: finding every message's number in the row that it became, and how long rows took
to arrive. What does not: saying messages (`soak_exchange.py`) and counting rows (`soak_counts.py`).

The exchange numbers the messages of each instrument and kind from 1. A trade's number is its id, a
ticker's its open interest; a book's is the greatest amount on it, because every message about it
brings an amount greater than all before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

FIRST_AMOUNT = 20
"""Amounts of the book's first state are below; the message of number n brings this plus n."""

_LEVELS = range(1, 6)
_AMOUNTS = [f"{side}_volume_{level}" for side in ("bid", "ask") for level in _LEVELS]
_NUMBERS: Mapping[str, pl.Expr] = {
    "trades": pl.col("id").cast(pl.Int64),
    "book_snapshot_5": pl.max_horizontal(_AMOUNTS).cast(pl.Int64) - FIRST_AMOUNT,
    "derivative_ticker": pl.col("open_interest").cast(pl.Int64),
}
_READ = {
    "trades": ["id"],
    "book_snapshot_5": _AMOUNTS,
    "derivative_ticker": ["open_interest"],
}
_MOST_MS = 600_000


@dataclass(frozen=True, slots=True)
class Arrived:
    """The messages of one kind in the lake against those said.

    Attributes:
        said: Numbers that were said.
        missing: Of these, numbers that no row has.
        repeated: Of these, numbers that more than one row has.
        first_states: Rows of books that a subscription began with; they have no number.
        unknown: Rows of a number that was not said.
        delays: Rows by their arrival less the exchange's stamp, in whole milliseconds.
    """

    said: int
    missing: int
    repeated: int
    first_states: int
    unknown: int
    delays: np.ndarray


def arrived(lake: Path, data_type: str, said: Mapping[str, int]) -> Arrived:
    """Look for every number of every instrument.

    Args:
        lake: Where the ticks are.
        data_type: The kind of message.
        said: How many messages of the kind each instrument's were.
    """
    names = sorted(said)
    lengths = np.array([said[name] for name in names], dtype=np.int64)
    starts = pl.DataFrame(
        {"symbol": names, "start": np.cumsum(lengths) - lengths, "length": lengths}
    )
    times = np.zeros(int(lengths.sum()), dtype=np.uint8)
    delays = np.zeros(_MOST_MS + 1, dtype=np.int64)
    first_states = unknown = 0
    for file in sorted((lake / "live_ticks").rglob("*.parquet")):
        if f"data_type-{data_type}" in file.parts:
            rows = _numbered(file, data_type).join(starts, on="symbol", how="left")
            delays += _histogram(rows["delay_ms"].to_numpy())
            is_first = (pl.col("number") <= 0) & (data_type == "book_snapshot_5")
            first_states += rows.filter(is_first).height
            known = rows.filter(pl.col("number").is_between(1, pl.col("length")))
            unknown += rows.filter(~is_first).height - known.height
            places = known.select(pl.col("start") + pl.col("number") - 1).to_series().to_numpy()
            np.add.at(times, places, 1)
    return Arrived(
        said=len(times),
        missing=int((times == 0).sum()),
        repeated=int((times > 1).sum()),
        first_states=first_states,
        unknown=unknown,
        delays=delays,
    )


def percentile(delays: np.ndarray, share: float) -> int:
    """The smallest delay that the share of all rows does not exceed, in milliseconds."""
    upto = np.cumsum(delays)
    return int(np.searchsorted(upto, share * upto[-1], side="left"))


def _numbered(file: Path, data_type: str) -> pl.DataFrame:
    delay = (pl.col("local_timestamp") - pl.col("timestamp")).dt.total_milliseconds()
    columns = ["symbol", "timestamp", "local_timestamp", *_READ[data_type]]
    rows = pl.read_parquet(file, columns=columns, hive_partitioning=False)
    number = _NUMBERS[data_type].alias("number")
    return rows.select(pl.col("symbol").cast(pl.String), number, delay.alias("delay_ms"))


def _histogram(delays_ms: np.ndarray) -> np.ndarray:
    """What is later than ten minutes counts as that, what is before its stamp as at it."""
    return np.bincount(np.clip(delays_ms, 0, _MOST_MS), minlength=_MOST_MS + 1)
