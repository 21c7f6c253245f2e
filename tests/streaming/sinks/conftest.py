"""What tests of the live sinks share: a spool with trades, a lake, BigQuery's write interface."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.bigquery_storage_write import StorageWriter
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.sinks.bigquery_ticks import BigQueryTickTarget
from tickhandler_dagster.streaming.sinks.tick_target import DeliveryPolicy

EAGER = DeliveryPolicy(seconds=0.0, rows=100, bytes=10**9)
START = "2024-08-08T09:59:50"


def trades(count, *, first=0, at=START, step_ms=100):
    """Trades of two symbols as the spool's reader gives them; ids say which is which."""
    start = dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "symbol": ["btcusdt" if i % 3 else "newusdt" for i in range(first, first + count)],
            "timestamp": [start + dt.timedelta(milliseconds=step_ms * i) for i in range(count)],
            "local_timestamp": [
                start + dt.timedelta(milliseconds=step_ms * i + 7) for i in range(count)
            ],
            "id": [str(i) for i in range(first, first + count)],
            "side": ["buy"] * count,
            "price": [100.0 + i for i in range(first, first + count)],
            "amount": [1.5] * count,
        },
        schema={"symbol": pl.String(), **RAW_TABLES[DataType.TRADES].stored.polars_schema},
    )


_PLAIN = {
    pl.String(): "x",
    pl.Int32(): 1,
    pl.Int64(): 0,
    pl.Float64(): 0.5,
    pl.Boolean(): True,
    pl.List(pl.String()): [],
}


def bars(*rows):
    """Live bars: each row is (key, `HH:MM:SS` of its open, revision, seconds until published)."""
    made = []
    for key, opened, revision, delay_s in rows:
        start = dt.datetime.fromisoformat(f"2024-08-08T{opened}").replace(tzinfo=dt.UTC)
        close = start + dt.timedelta(seconds=15)
        given = {
            "instrument_key": key,
            "venue": "binance",
            "timeframe": "15s",
            "ts_open": start,
            "ts_close": close,
            "revision": revision,
            "stage": "provisional" if revision == 1 else "complete",
            "rows_after_first": revision - 1,
            "published_at": close + dt.timedelta(seconds=delay_s),
        }
        made.append(
            {
                column.name: given.get(
                    column.name,
                    None if column.is_nullable else _PLAIN.get(column.dtype, close),
                )
                for column in LIVE_CANDLE_TABLE.columns
            }
        )
    return pl.DataFrame(made, schema=LIVE_CANDLE_TABLE.polars_schema)


class Spool:
    """A spool of trades of one venue."""

    def __init__(self, root):
        self.root = root

    def add(self, rows, *, roll_us=5_000_000):
        with SpoolWriter(self.root, roll_us=roll_us) as writer:
            for piece in rows.iter_slices(37):
                writer.append(VenueId.BINANCE, DataType.TRADES, piece)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def make_spool(tmp_path_factory):
    return lambda: Spool(tmp_path_factory.mktemp("spools"))


@pytest.fixture
def make_trades():
    return trades


@pytest.fixture
def make_bars():
    return bars


@pytest.fixture
def write_api():
    from doubles.bigquery_write import BigQueryWriteStandIn  # noqa: PLC0415  (slow import)

    server = BigQueryWriteStandIn().start()
    yield server
    server.stop()


class Cloud:
    """BigQuery's write interface, a writer to it, and targets that use both."""

    def __init__(self, api, lake):
        self.api, self.lake = api, lake
        self.writer = self.new_writer(timeout_s=2)

    def new_writer(self, *, timeout_s):
        nobody = load_credentials(None, is_emulated=True)
        return StorageWriter(
            nobody, project="p", dataset="live", endpoint=self.api.endpoint, timeout_s=timeout_s
        )

    def ticks(self, policy=EAGER, **more):
        return BigQueryTickTarget(self.writer, self.lake, policy=policy, **more)

    def rows(self, name="ticks_trades"):
        return self.api.rows(f"p.live.{name}")


@pytest.fixture
def cloud(write_api, lake):
    made = Cloud(write_api, lake)
    yield made
    made.writer.close()
