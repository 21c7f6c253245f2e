"""A daily file of the vendor as a value: what is asked for, before any address or answer.

What does not belong here: the request (`adapters/tardis_datasets.py`) and which files a partition
needs (`planning.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A file of the vendor.

    Attributes:
        venue: Exchange id.
        data_type: Its type.
        date: Its UTC day.
        symbol: A dataset id: an instrument's or a group's.

    Example:
        >>> str(DatasetFile(VenueId.DERIBIT, DataType.TRADES, dt.date(2024, 8, 8), "OPTIONS"))
        'deribit trades 2024-08-08 OPTIONS'
    """

    venue: VenueId
    data_type: DataType
    date: dt.date
    symbol: str

    def __str__(self) -> str:
        return f"{self.venue} {self.data_type} {self.date} {self.symbol}"
