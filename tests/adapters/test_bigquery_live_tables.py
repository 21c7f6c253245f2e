"""The live dataset: hours that expire, descriptions, a view of the last word, columns that grow."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from tickhandler_dagster.adapters.bigquery_dataset import BigQueryDataset
from tickhandler_dagster.adapters.bigquery_errors import Calls
from tickhandler_dagster.adapters.bigquery_live_tables import BigQueryLiveTables
from tickhandler_dagster.adapters.bigquery_storage_write import (
    StorageWriter,
    fitting,
    record_batch,
    write_schema,
)
from tickhandler_dagster.adapters.bigquery_write_errors import write_error
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.market.data_dictionary import stored_tables
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidSetting, StorageDenied, TransientError
from tickhandler_dagster.market.live.live_tables import live_candle_table, live_tick_table
from tickhandler_dagster.market.tables import Column, Table
from tickhandler_dagster.market.timeframes import Timeframe

PROJECT = "tests-project"


@pytest.fixture
def tables(bigquery):
    return live_tables(bigquery)


def live_tables(bigquery, **more):
    return BigQueryLiveTables(
        load_credentials(None, is_emulated=True),
        project=PROJECT,
        endpoint=bigquery.endpoint,
        calls=Calls((0.01, 0.02)),
        **({"location": "EU"} | more),
    )


def test_live_ticks_are_cut_by_hours_that_expire_and_describe_themselves(tables, bigquery):
    tables.ensure(live_tick_table(DataType.TRADES))
    made = bigquery.client().get_table("market_data_live.ticks_trades")
    cut = made.time_partitioning
    assert (cut.type_, cut.field, cut.expiration_ms) == ("HOUR", "timestamp", 30 * 86_400_000)
    assert made.clustering_fields == ["venue", "instrument_key"]
    assert made.labels == {"product": "tickhandler", "source": "live"}
    assert made.schema[2].description.startswith("Canonical key VENUE:TYPE:SYMBOL")
    names = {item.table_id for item in bigquery.client().list_tables("market_data_live")}
    assert names == {"ticks_trades"}


def test_the_last_word_on_every_bar_is_a_view(tables, bigquery):
    table = live_candle_table(Timeframe.M1)
    tables.ensure(table)
    client = bigquery.client()
    values = ", ".join(
        f"('A', '1m', TIMESTAMP '2024-08-08 10:0{minute}:00+00', {revision}, {close})"
        for minute, revision, close in ((0, 1, 1.0), (0, 2, 2.0), (0, 2, 2.0), (1, 1, 3.0))
    )
    client.query_and_wait(
        "INSERT INTO market_data_live.candles_1m "  # noqa: S608  (the test's own)
        f"(instrument_key, timeframe, ts_open, revision, close) VALUES {values}"
    )
    found = client.query_and_wait(
        "SELECT revision, close FROM market_data_live.candles_1m_latest ORDER BY ts_open"
    )
    assert [tuple(row) for row in found] == [(2, 2.0), (1, 3.0)]


def test_a_table_is_made_once_and_grows(tables, bigquery):
    table = live_candle_table(Timeframe.M5)
    tables.ensure(table)
    before = len(bigquery.requests)
    tables.ensure(table)
    changes = [verb for verb, _ in bigquery.requests[before:] if verb in {"PATCH", "DELETE"}]
    assert changes == []
    more = Column("spread_of_tomorrow", pl.Float64(), "New.", is_nullable=True)
    wider = dataclasses.replace(
        table, table=dataclasses.replace(table.table, columns=(*table.table.columns, more))
    )
    tables.ensure(wider)
    client = bigquery.client()
    assert client.get_table("market_data_live.candles_5m").schema[-1].name == more.name
    client.query_and_wait(f"SELECT {more.name} FROM market_data_live.candles_5m_latest")  # noqa: S608


def test_a_table_of_something_else_and_another_location_are_refused(tables, bigquery):
    tables.ensure(live_tick_table(DataType.TRADES))
    other = dataclasses.replace(live_tick_table(DataType.TRADES), time_column="local_timestamp")
    with pytest.raises(InvalidSetting, match="a partition per hour of local_timestamp"):
        tables.ensure(other)
    with pytest.raises(InvalidSetting, match="in another location"):
        live_tables(bigquery, location="US").ensure(live_tick_table(DataType.LIQUIDATIONS))


def test_a_dataset_that_goes_away_meanwhile_is_said(tables, monkeypatch):
    monkeypatch.setattr(BigQueryDataset, "ensure", lambda _: None)
    with pytest.raises(InvalidSetting, match="BIGQUERY_DATASET"):
        tables.ensure(live_tick_table(DataType.TRADES))


def test_permissions_that_lack_are_said(tables, bigquery):
    bigquery.denied.add("*")
    with pytest.raises(StorageDenied):
        tables.ensure(live_tick_table(DataType.TRADES))


def test_a_project_that_is_not_there_is_said(tables, bigquery):
    bigquery.projects = set()
    with pytest.raises(InvalidSetting, match="GCP_PROJECT_ID"):
        tables.ensure(live_tick_table(DataType.TRADES))


@pytest.mark.parametrize("code", range(1, 17))
def test_every_code_has_a_sentence_and_only_passing_ones_are_tried_again(code):
    error = write_error("BigQuery table ticks_trades", code, "theirs")
    assert isinstance(error, TransientError) == (code in {1, 2, 4, 8, 10, 13, 14})
    assert "theirs" in str(error)


def test_the_real_service_is_asked_where_no_endpoint_is_given():
    writer = StorageWriter(load_credentials(None, is_emulated=True), project="p", dataset="live")
    assert writer._client.transport.host == "bigquerystorage.googleapis.com:443"
    assert writer.default_stream("t").endswith("/tables/t/streams/_default")


def test_every_stored_table_can_be_sent():
    for table in stored_tables():
        assert write_schema(table).names == table.names
        empty = pl.DataFrame(schema=table.polars_schema)
        assert record_batch(empty, table).num_rows == 0


def test_rows_are_cut_to_a_request_and_never_to_nothing():
    table = Table("t", "one", (Column("text", pl.String(), "Text."),))
    frame = pl.DataFrame({"text": ["x" * 1000] * 1000})
    count = fitting(frame, table, 100_000)
    assert 80 <= count <= 100
    assert record_batch(frame.head(count), table).serialize().size <= 100_000
    assert fitting(frame, table, 10) == 1
    assert fitting(frame, table) == 1000
