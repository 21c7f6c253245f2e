"""A small table, its days as objects of a bucket, and a process that publishes them.

`python -m doubles.bigquery.small <endpoint> <lake uri> <pickled days>` publishes as a process of
its own would, and can be killed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import pickle
import sys
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.bigquery_errors import Calls
from tickhandler_dagster.adapters.bigquery_warehouse import BigQueryWarehouse
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.tables import TIMESTAMP, Column, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseSource, WarehouseTable

PROJECT = "tests-project"
COLUMNS = (
    Column("ts_open", TIMESTAMP, "Start of the bar."),
    Column("venue", pl.String(), "Whose market it is."),
    Column("instrument_key", pl.String(), "Which instrument."),
    Column("close", pl.Float64(), "Last price.", "quote", is_nullable=True),
    Column("trades", pl.Int64(), "Trades in the bar."),
    Column("sources", pl.List(pl.String()), "Hashes of what it was made of."),
    Column("is_final", pl.Boolean(), "Nothing can change it any more."),
)


def rows_of(warehouse, name="candles_1m"):
    """All rows of a table of the warehouse, in a stable order."""
    sql = f"SELECT * FROM {name} WHERE ts_open >= '2000-01-01' ORDER BY venue, ts_open"  # noqa: S608  (names of ours)
    return pl.from_arrow(warehouse.query(sql))


def small_table(*more, name="candles_1m", columns=COLUMNS):
    """A table of few columns that is treated as a table of one-minute candles."""
    table = Table(name, "One row per instrument and minute.", (*columns, *more))
    source = WarehouseSource.CANDLES
    keys = ("venue", "instrument_key")
    return WarehouseTable(name, table, source, Timeframe.M1, "ts_open", keys)


class SmallLake:
    """Days of the small table as objects under a prefix of a bucket."""

    def __init__(self, gcs, bucket, prefix="lake"):
        self._gcs = gcs
        self._bucket = bucket
        self._prefix = prefix

    @property
    def uri(self):
        return f"gs://{self._bucket}/{self._prefix}"

    def day(self, day, venues, **more):
        """A day of so many rows by venue, one object per venue; `more` are columns' values."""
        return TableDay(
            day, tuple(self._object(day, venue, rows, more) for venue, rows in venues.items())
        )

    def _object(self, day, venue, rows, more):
        start = dt.datetime.combine(day, dt.time(), dt.UTC)
        frame = pl.DataFrame(
            {
                "ts_open": [start + dt.timedelta(minutes=i) for i in range(rows)],
                "venue": [venue] * rows,
                "instrument_key": ["X"] * rows,
                "close": [None if i % 5 == 4 else 100.0 + i for i in range(rows)],
                "trades": range(rows),
                "sources": [["a", "b"]] * rows,
                "is_final": [i % 2 == 0 for i in range(rows)],
            },
            schema={column.name: column.dtype for column in COLUMNS},
        ).with_columns(**more)
        data = io.BytesIO()
        frame.write_parquet(data)
        content = data.getvalue()
        path = f"candles/{day}/{venue}.parquet"
        self._gcs.put(self._bucket, f"{self._prefix}/{path}", content)
        digest = hashlib.sha256(content).hexdigest()
        return LoadedObject(path, VenueId(venue), rows, len(content), digest)


def warehouse(endpoint, uri, **more):
    """A warehouse on the stand-in, impatient."""
    settings = {"project": PROJECT, "dataset": "market", "location": "EU"} | more
    calls = Calls((0.01, 0.02, 0.04))
    credentials = load_credentials(None, is_emulated=True)
    return BigQueryWarehouse(
        credentials, endpoint=endpoint, lake_uri=uri, **({"calls": calls} | settings)
    )


def main():
    endpoint, uri, file = sys.argv[1:]
    days = pickle.loads(Path(file).read_bytes())  # noqa: S301  (written by the test)
    store = warehouse(endpoint, uri)
    table = small_table()
    store.ensure(table)
    store.publish(table, days)


if __name__ == "__main__":
    main()
