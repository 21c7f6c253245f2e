"""The tables of the warehouse: names, partitioning and clustering, derived from the lake's tables.

What belongs here: what SQL sees, the same in BigQuery and in DuckDB. What does not: which objects
of the lake a day of a table has (`pipeline/warehouse_days.py`) and how they get there
(`adapters/warehouse.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_table import mft_table
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe

_BY_INSTRUMENT = ("venue", "instrument_key")


class WarehouseSource(StrEnum):
    """Which objects of the lake a table is made of."""

    CANDLES = "candles"
    MFT_FEATURES = "mft_features"
    OPTIONS_SURFACE = "options_surface"
    INSTRUMENTS = "instruments"
    COMPLETENESS = "completeness"


@dataclass(frozen=True, slots=True)
class WarehouseTable:
    """A table of the warehouse.

    Attributes:
        name: As SQL calls it, such as `candles_1m`.
        table: Columns, types, descriptions.
        source: Which objects of the lake it is made of.
        timeframe: Of which timeframe; None where the source has none or all are in one table.
        day_column: The column whose UTC day is the partition: a time, or the date itself.
        clustering: Columns that rows of a day are grouped by, the most selective filter first.
    """

    name: str
    table: Table
    source: WarehouseSource
    timeframe: Timeframe | None
    day_column: str
    clustering: tuple[str, ...]

    @property
    def asset_path(self) -> tuple[str, ...]:
        """The asset of the lake that it follows, such as `("candles", "1m")`."""
        return (self.source.value, *([self.timeframe.value] if self.timeframe else []))

    @property
    def has_final_rows(self) -> bool:
        """Its rows say whether anything could still change them."""
        return "is_final" in self.table.names

    @property
    def final_view(self) -> str:
        """The view of its final rows, such as `candles_1m_final`."""
        return f"{self.name}_final"


def warehouse_tables(windows: Windows) -> tuple[WarehouseTable, ...]:
    """Every table of the warehouse, for features of these windows.

    Example:
        >>> [item.name for item in warehouse_tables(Windows())][:3]
        ['candles_15s', 'candles_1m', 'candles_5m']
    """
    return (
        *(_bars(WarehouseSource.CANDLES, timeframe, CANDLE_TABLE) for timeframe in Timeframe),
        *(
            _bars(WarehouseSource.MFT_FEATURES, timeframe, mft_table(windows))
            for timeframe in MFT_TIMEFRAMES
        ),
        WarehouseTable(
            "options_surface",
            OPTIONS_SURFACE_TABLE,
            WarehouseSource.OPTIONS_SURFACE,
            None,
            "ts_open",
            ("venue", "underlying", "timeframe"),
        ),
        WarehouseTable(
            "instruments",
            INSTRUMENTS_TABLE,
            WarehouseSource.INSTRUMENTS,
            None,
            "date",
            _BY_INSTRUMENT,
        ),
        WarehouseTable(
            "completeness",
            COMPLETENESS_TABLE,
            WarehouseSource.COMPLETENESS,
            None,
            "date",
            ("venue", "data_type", "instrument_key"),
        ),
    )


def _bars(source: WarehouseSource, timeframe: Timeframe, table: Table) -> WarehouseTable:
    name = f"{source.value}_{timeframe.value}"
    return WarehouseTable(name, table, source, timeframe, "ts_open", _BY_INSTRUMENT)
