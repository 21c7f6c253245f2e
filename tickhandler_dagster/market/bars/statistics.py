"""The sufficient statistics of traded bars: stored at 15 s, every larger bar follows.

What belongs here: names, and the value that holds one array per name. What does not: how they are
computed from trades (`base.py`), merged (`rollup.py`) or turned into ratios (`features/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.tables import TIMESTAMP

UNITLESS_STATISTICS = (
    "ts_open",
    "open_time",
    "close_time",
    "last_arrival",
    "open",
    "high",
    "low",
    "close",
    "trade_count",
    "amount_sum",
    "sweep_count",
    "interarrival_count",
    "interarrival_sum_us",
    "interarrival_m2_ms2",
)
SIZED_STATISTICS = (
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
    "unknown_volume_sum",
    "delta",
    "delta_max",
    "delta_min",
    "size_m2",
    "size_max",
)

_TIMES = ("ts_open", "open_time", "close_time", "last_arrival")


@dataclass(frozen=True, slots=True, eq=False)
class BarStatistics:
    """Statistics of bars that have trades, in time order.

    Attributes:
        columns: One array per name, all of one length. The sized ones are absent where the
            contract's units are unknown.
    """

    columns: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["ts_open"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    @property
    def has_sizes(self) -> bool:
        """Volumes are known."""
        return "volume" in self.columns

    def frame(self) -> pl.DataFrame:
        """One row per bar, times as timestamps; absent statistics are null columns."""
        missing = [name for name in SIZED_STATISTICS if name not in self.columns]
        return pl.DataFrame(dict(self.columns)).with_columns(
            pl.col(_TIMES).cast(TIMESTAMP),
            *(pl.lit(None, pl.Float64).alias(name) for name in missing),
        )


def joined(parts: Sequence[BarStatistics]) -> BarStatistics:
    """Bars of consecutive spans, one after the other; at least one part."""
    names = parts[0].columns
    return BarStatistics({name: np.concatenate([part[name] for part in parts]) for name in names})


def stored_statistics(bars: pl.DataFrame) -> BarStatistics:
    """The statistics of the traded rows of a stored candle table."""
    traded = bars.filter(pl.col("status") == "traded").with_columns(pl.col(_TIMES).to_physical())
    sized = () if traded["volume"].has_nulls() else SIZED_STATISTICS
    return BarStatistics({name: traded[name].to_numpy() for name in (*UNITLESS_STATISTICS, *sized)})
