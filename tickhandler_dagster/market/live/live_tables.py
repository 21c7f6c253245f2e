"""The live tables of the warehouse: names, what they are partitioned and clustered by.

What belongs here: what SQL sees of the live feed. What does not: the tables of the batch
(`market/warehouse_tables.py`) and how rows get in (`adapters/bigquery_storage_write.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe

RETENTION_DAYS = 30
"""Live rows are the preview of the batch's: after these days the batch alone answers."""


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A live table of the warehouse; one partition per hour of its time column.

    Attributes:
        name: As SQL calls it, such as `candles_1m`.
        table: Columns, types, descriptions.
        time_column: The time of the event, whose hour is the partition.
    """

    name: str
    table: Table
    time_column: str

    @property
    def clustering(self) -> tuple[str, ...]:
        """Columns that rows of an hour are grouped by."""
        return ("venue", "instrument_key")

    @property
    def latest_view(self) -> str | None:
        """The view of the highest revision of each row; None where there are no revisions."""
        return f"{self.name}_latest" if "revision" in self.table.names else None


def live_tick_table(data_type: DataType) -> LiveTable:
    """The live table of a data type.

    Example:
        >>> live_tick_table(DataType.TRADES).name
        'ticks_trades'
    """
    return LiveTable(f"ticks_{data_type.value.lower()}", LIVE_TICK_TABLES[data_type], "timestamp")


def live_candle_table(timeframe: Timeframe) -> LiveTable:
    """The live table of a timeframe's bars.

    Example:
        >>> live_candle_table(Timeframe.M1).latest_view
        'candles_1m_latest'
    """
    return LiveTable(f"candles_{timeframe.value}", LIVE_CANDLE_TABLE, "ts_open")
