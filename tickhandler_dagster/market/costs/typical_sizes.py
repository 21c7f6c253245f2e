"""Sizes where the lake knows nothing of its own yet: the last resort of an estimate.

What belongs here: numbers of others with their source, and constants measured on the simulated
market. What does not: how they are used (`file_sizes.py`, `bar_sizes.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.timeframes import Timeframe

SHARE_OF_LARGEST = 1 / 8
"""A venue's mean file over its largest instrument's, of which sizes are published: a whole venue's
trades are reported as a few GB a day where the largest instrument has 60 MB."""

UNCERTAINTY = 8.0
"""Factor of the range of a published size: up to the largest instrument's own."""


@dataclass(frozen=True, slots=True)
class TypicalFile:
    """A file of a day of one of the largest instruments of a venue.

    Attributes:
        source_bytes: Compressed CSV.
        rows: Rows in it.
        stored_share: Bytes in the lake per byte of the vendor's file, on the simulated market.
        is_group: Published of a group's file, which is one per venue and day.
        source: Of the first two numbers.
    """

    source_bytes: float
    rows: float
    stored_share: float
    is_group: bool
    source: str


_OPERATOR = "reported by an operator"
_OWN = "no figure known: derived from book_snapshot_5 on the simulated market"

TYPICAL_FILES: Mapping[DataType, TypicalFile] = MappingProxyType(
    {
        DataType.TRADES: TypicalFile(
            22.0e6, 1.95e6, 0.67, is_group=False, source=f"binance BTCUSDT 2024-03-01, {_OPERATOR}"
        ),
        DataType.INCREMENTAL_BOOK_L2: TypicalFile(
            144.2e6, 23.8e6, 0.45, is_group=False, source=f"binance BTCUSDT 2024-03-01, {_OPERATOR}"
        ),
        DataType.QUOTES: TypicalFile(
            25.0e6,
            1.89e6,
            0.84,
            is_group=False,
            source=f"binance-futures BTCUSDT 2026-09-01, {_OPERATOR}",
        ),
        DataType.BOOK_SNAPSHOT_5: TypicalFile(
            22.0e6, 0.5e6, 1.2, is_group=False, source=f"binance-futures, upper end, {_OPERATOR}"
        ),
        DataType.BOOK_SNAPSHOT_25: TypicalFile(66.0e6, 0.5e6, 1.6, is_group=False, source=_OWN),
        DataType.DERIVATIVE_TICKER: TypicalFile(3.0e6, 0.1e6, 0.91, is_group=False, source=_OWN),
        DataType.LIQUIDATIONS: TypicalFile(
            24.7e3, 2092, 2.5, is_group=False, source=f"bybit BTCUSDT 2025-03-01, {_OPERATOR}"
        ),
        DataType.OPTIONS_CHAIN: TypicalFile(
            4.5e9, 79.8e6, 1.6, is_group=True, source=f"deribit OPTIONS 2025-01-01, {_OPERATOR}"
        ),
        DataType.BOOK_TICKER: TypicalFile(
            251.0e6,
            36.9e6,
            0.87,
            is_group=False,
            source=f"binance-futures BTCUSDT 2026-09-01, {_OPERATOR}",
        ),
    }
)
"""Total over `DataType`."""

CANDLE_FILE_BYTES = 13_200
"""Names and statistics of some four hundred columns, before the first bar; simulated market."""

CANDLE_BAR_BYTES: Mapping[Timeframe, float] = MappingProxyType(
    {
        Timeframe.S15: 60.0,
        Timeframe.M1: 120.0,
        Timeframe.M5: 150.0,
        Timeframe.M15: 190.0,
        Timeframe.H1: 220.0,
        Timeframe.H4: 260.0,
        Timeframe.H24: 450.0,
    }
)
"""Bytes per further bar of an instrument; simulated market, between its quiet and busy ones."""

MFT_FILE_BYTES = 20_000
MFT_BAR_BYTES = 900.0
"""The same of mid-frequency features, of every timeframe."""

OBJECTS_PER_RAW_CELL = 4
"""Manifest, audit, gaps and findings beside the ticks."""

OBJECTS_PER_BAR_CELL = 2
"""A manifest, and a share of the state that is handed to the next day."""

SMALL_CELL_BYTES = 40_000
"""A universe or a completeness table; a few hundred rows."""

READS_PER_FILE = 2
"""Questions to the store per object that is written or read: is it there, and its bytes."""

DAYS_READ_PER_BAR_DAY = 3
"""Ticks of the day and of both beside it."""

DBT_READS = 2
"""How often a build reads a day of a table: once for its marts, once for its tests."""
