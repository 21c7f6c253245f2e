"""How large a day of bars will be, from the days that are known.

What belongs here: candles and mid-frequency features, a partition at a time. What does not: ticks
(`file_sizes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.costs.amounts import ZERO, Amount, Spread, spread_of
from tickhandler_dagster.market.costs.typical_sizes import (
    CANDLE_BAR_BYTES,
    CANDLE_FILE_BYTES,
    MFT_BAR_BYTES,
    MFT_FILE_BYTES,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

CANDLES, MFT_FEATURES = "candles", "mft_features"

KNOWN_CELLS: Mapping[str, pl.DataType] = MappingProxyType(
    {
        "date": pl.Date(),
        "venue": pl.String(),
        "asset": pl.String(),
        "instruments": pl.Int64(),
        "options": pl.Int64(),
        "rows": pl.Int64(),
        "bytes": pl.Int64(),
    }
)
"""Columns of known partitions of bars; `asset` is such as `candles/1m`."""

_ELSEWHERE = Spread().widened(4.0)
_UNKNOWN = Spread().widened(6.0)


@dataclass(frozen=True, slots=True)
class BarAmounts:
    """Sizes of a partition of bars.

    Attributes:
        rows: Bars.
        bytes: In the lake.
        objects: In the lake.
    """

    rows: Amount = ZERO
    bytes: Amount = ZERO
    objects: Amount = ZERO


class BarSizes:
    """What is known of partitions of bars.

    Args:
        cells: Rows of `KNOWN_CELLS`.
    """

    def __init__(self, cells: pl.DataFrame | None = None) -> None:
        schema = dict(KNOWN_CELLS)
        self._cells = pl.DataFrame(schema=schema) if cells is None else cells.select(*schema)
        self._found: dict[tuple[str, VenueId, int], BarAmounts] = {}

    def of(self, family: str, timeframe: Timeframe, venue: VenueId, instruments: int) -> BarAmounts:
        """The sizes of a day of that many instruments."""
        key = (f"{family}/{timeframe.value}", venue, instruments)
        if key not in self._found:
            self._found[key] = self._sized(family, timeframe, venue, instruments)
        return self._found[key]

    def _sized(
        self, family: str, timeframe: Timeframe, venue: VenueId, instruments: int
    ) -> BarAmounts:
        if not instruments:
            return BarAmounts()
        asset = f"{family}/{timeframe.value}"
        known = self._of_venue(asset, venue)
        if known is not None:
            return known
        others = self._cells.filter((pl.col("asset") == asset) & (pl.col("instruments") > 0))
        if others.height:
            sums = others.select(pl.col("instruments", "rows", "bytes").sum()).row(0)
            per = instruments / sums[0]
            return _amounts(sums[1] * per, sums[2] * per, instruments, _ELSEWHERE)
        bars = instruments * timeframe.bars_per_day
        size = {
            CANDLES: instruments * CANDLE_FILE_BYTES + bars * CANDLE_BAR_BYTES[timeframe],
            MFT_FEATURES: instruments * MFT_FILE_BYTES + bars * MFT_BAR_BYTES,
        }[family]
        return _amounts(bars, size, instruments, _UNKNOWN)

    def _of_venue(self, asset: str, venue: VenueId) -> BarAmounts | None:
        own = self._cells.filter(
            (pl.col("asset") == asset)
            & (pl.col("venue") == str(venue))
            & (pl.col("instruments") > 0)
        ).sort("date")
        if own.is_empty():
            return None
        medians = own.select(pl.col("instruments", "rows", "bytes").median()).row(0)
        spread = spread_of([size / medians[2] for size in own["bytes"]])
        return _amounts(medians[1], medians[2], medians[0], spread)


def _amounts(rows: float, size: float, instruments: float, spread: Spread) -> BarAmounts:
    return BarAmounts(
        rows=Amount.exact(rows).within(spread),
        bytes=Amount.exact(size).within(spread),
        objects=Amount.exact(instruments).within(spread),
    )
