"""Buckets of the emulator and warehouses of both kinds, for the tests of what is in them."""

from __future__ import annotations

import datetime as dt

import pytest
from doubles.bigquery.small import SmallLake

from tickhandler_dagster.adapters import gcs_store, gcs_uploads
from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import warehouse_tables
from tickhandler_dagster.pipeline.warehouse_days import table_days


class Buckets:
    def __init__(self, gcs, folder):
        self.gcs, self.folder = gcs, folder
        self.bucket = gcs.bucket()

    def open(self, bucket=None, *, prefix="a/lake", cache=None, retries=2):
        return GcsObjectStore(
            bucket or self.bucket,
            prefix=prefix,
            credentials=load_credentials(None, is_emulated=True),
            cache=cache or ObjectCache(self.folder / "cache", 10**9),
            endpoint=f"{self.gcs.endpoint}/",
            retries=retries,
        )

    @staticmethod
    def publish(store, path, data):
        with store.scratch() as folder:
            (folder / "x").write_bytes(data)
            store.publish(folder / "x", path)

    @staticmethod
    def answer(code, message="no"):
        return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture
def buckets(gcs, tmp_path):
    return Buckets(gcs, tmp_path)


@pytest.fixture
def in_parts(monkeypatch):
    """Everything larger than 100 kB goes up in parts of 200 kB."""
    monkeypatch.setattr(gcs_store, "WHOLE_BYTES", 100_000)
    monkeypatch.setattr(gcs_uploads, "PART_BYTES", 200_000)


@pytest.fixture
def small_lake(gcs):
    """Days of the small table in a bucket that BigQuery's stand-in loads from."""
    return SmallLake(gcs, gcs.bucket())


@pytest.fixture
def warehouse(tmp_path, lake):
    """A warehouse of DuckDB."""
    return DuckDbWarehouse(tmp_path / "warehouse", lake.store)


@pytest.fixture
def publish_cell(lake, warehouse, completeness_tables):
    """Publish a day of completeness with three instruments; gives the receipt."""
    (table,) = (one for one in warehouse_tables(Windows()) if one.name == "completeness")

    def publish(day=dt.date(2024, 8, 1), rows=1):
        made = [completeness_tables.row(f"C{place}", day=day, rows=rows) for place in range(3)]
        completeness_tables.write(*made)
        warehouse.ensure(table)
        return warehouse.publish(table, table_days(lake, table, [day], [VenueId.BINANCE]))[0]

    return publish
