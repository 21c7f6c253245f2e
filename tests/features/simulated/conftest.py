"""One simulated market: its files in stored form, and the parameters they were made from."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from functools import lru_cache

import polars as pl
import pytest

from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.sandbox.listing import Margin
from tickhandler_dagster.sandbox.simulator import Simulator

DAY = dt.date(2024, 8, 8)


class SimulatedMarket:
    """The simulator, its files as the lake stores them, and its truth."""

    day = DAY
    start_us = day_start_us(DAY)

    def __init__(self):
        self.simulator = Simulator(seed=7)
        self.fair = self.simulator._days.fair
        self.latent = self.simulator._days.latent
        self.rows = lru_cache(maxsize=None)(self._rows)

    def _rows(self, venue, data_type, symbol, day=DAY):
        text = gzip.decompress(self.simulator.dataset(venue, data_type, day, symbol))
        table = RAW_TABLES[data_type]
        raw = pl.read_csv(io.BytesIO(text), infer_schema=False)
        return raw.select(
            _cast(pl.col(column.csv_name), column.stored.dtype).alias(column.stored.name)
            for column in table.columns
        )

    def listing(self, venue, symbol):
        return next(one for one in self.simulator.listings(venue) if one.dataset_id == symbol)

    def terms(self, venue, symbol):
        listing = self.listing(venue, symbol)
        return ContractTerms(
            listing.multiplier_on(self.day),
            is_inverse=listing.is_inverse,
            is_quanto=listing.margin is Margin.QUANTO,
        )


def _cast(column, dtype):
    return column.cast(pl.Int64).cast(dtype) if dtype.is_temporal() else column.cast(dtype)


@pytest.fixture(scope="session")
def simulated():
    return SimulatedMarket()
