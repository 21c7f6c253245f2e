"""One small simulated market per test session, and its files as frames."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from functools import lru_cache
from typing import NamedTuple

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.sandbox.simulator import Simulator

SCALE = 0.06
TEXT = {"exchange", "symbol", "id", "side", "is_snapshot", "type", "underlying_index"}
CLOCKS = {"timestamp", "local_timestamp", "expiration", "funding_timestamp"}


class Dataset(NamedTuple):
    venue: str
    data_type: DataType
    day: dt.date
    symbol: str


def _dtype(name):
    if name in TEXT:
        return pl.String()
    return pl.Int64() if name in CLOCKS else pl.Float64()


def parsed(body: bytes, data_type: DataType) -> pl.DataFrame:
    header = RAW_TABLES[data_type].header
    schema = {name: _dtype(name) for name in header}
    text = gzip.decompress(body)
    if not text:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(io.BytesIO(text), schema=schema)


class Market:
    """The simulator with its files read back."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.rows = lru_cache(maxsize=None)(self._rows)

    def body(self, dataset: Dataset) -> bytes:
        body = self.simulator.dataset(*dataset)
        assert body is not None
        return body

    def _rows(self, venue, data_type, day, symbol) -> pl.DataFrame:
        return parsed(self.body(Dataset(venue, data_type, day, symbol)), data_type)

    def listing(self, venue, symbol):
        return next(one for one in self.simulator.listings(venue) if one.dataset_id == symbol)

    def datasets(self, venue, day) -> list[Dataset]:
        """Every file that the catalogue promises for a venue and day."""
        midnight = f"{day}T00:00:00.000Z"
        return [
            Dataset(venue, DataType(data_type), day, entry["id"])
            for entry in self.simulator.exchange(venue)["datasets"]["symbols"]
            if entry["availableSince"] <= midnight < entry["availableTo"]
            for data_type in entry["dataTypes"]
        ]


@pytest.fixture(scope="session")
def market() -> Market:
    return Market(Simulator(seed=7, scale=SCALE))


@pytest.fixture(scope="session")
def day() -> dt.date:
    return dt.date(2024, 8, 8)


@pytest.fixture(scope="session")
def event_day() -> dt.date:
    """The day of the listing, the delisting, the outage and the change of terms."""
    return dt.date(2024, 8, 9)
