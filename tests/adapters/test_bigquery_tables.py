"""Tables of BigQuery as they are made and grown, and what is refused with which words."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from doubles.bigquery.small import COLUMNS, PROJECT, rows_of, small_table, warehouse

from tickhandler_dagster.adapters.bigquery_errors import job_error
from tickhandler_dagster.adapters.bigquery_schema import (
    BIGQUERY_TYPES,
    FILTER_REQUIRED,
    bigquery_schema,
)
from tickhandler_dagster.adapters.warehouse import TableDay
from tickhandler_dagster.market.data_dictionary import stored_tables
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    InvalidSetting,
    RateLimited,
    StorageDenied,
    StorageUnavailable,
)
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Column
from tickhandler_dagster.market.warehouse_tables import warehouse_tables

DAY = dt.date(2024, 8, 8)
NEXT = DAY + dt.timedelta(days=1)


@pytest.fixture
def store(bigquery, small_lake):
    made = warehouse(bigquery.endpoint, small_lake.uri)
    made.ensure(small_table())
    return made


@pytest.fixture
def table():
    return small_table()


def test_a_table_is_partitioned_clustered_described_and_guarded(store, bigquery):
    made = bigquery.client().get_table("market.candles_1m")
    assert (made.time_partitioning.type_, made.time_partitioning.field) == ("DAY", "ts_open")
    assert made.clustering_fields == ["venue", "instrument_key"]
    assert made.require_partition_filter
    assert made.labels == {"product": "tickhandler", "source": "candles"}
    assert made.schema[3].description == "Last price. Unit: quote."
    assert made.location == "EU"
    with pytest.raises(InvalidInput, match="filter over column"):
        store.query("SELECT count(*) FROM candles_1m")


def test_an_added_column_is_null_in_older_days(store, table, small_lake, bigquery):
    older = small_lake.day(DAY, {"binance": 2})
    store.publish(table, [older])
    wider = small_table(Column("spread_bps", pl.Float64(), "Spread.", "bps", is_nullable=True))
    store.ensure(wider)
    store.publish(wider, [small_lake.day(NEXT, {"binance": 2}, spread_bps=pl.lit(1.5))])
    store.publish(wider, [small_lake.day(DAY, {"binance": 3})])
    assert rows_of(store)["spread_bps"].to_list() == [None] * 3 + [1.5] * 2
    assert rows_of(store, "candles_1m_final")["spread_bps"].null_count() == 2
    assert bigquery.client().get_table("market.candles_1m").schema[-1].description


def test_a_lake_with_a_column_the_table_lacks_is_refused(store, table, small_lake):
    with pytest.raises(CorruptData, match="extra"):
        store.publish(table, [small_lake.day(DAY, {"binance": 2}, extra=pl.lit(1.5))])


def test_a_changed_type_is_refused_and_nothing_is_lost(store, table, small_lake):
    store.publish(table, [small_lake.day(DAY, {"binance": 2})])
    changed = tuple(
        Column("trades", pl.Float64(), "Trades.") if c.name == "trades" else c for c in COLUMNS
    )
    with pytest.raises(InvalidSetting, match=r"trades has another type .*INTEGER.*FLOAT"):
        store.ensure(small_table(columns=changed))
    assert len(rows_of(store)) == 2


def test_a_table_of_something_else_is_left_alone(store, bigquery):
    client = bigquery.client()
    client.query("CREATE TABLE market.candles_5m AS SELECT 1 AS x").result()
    with pytest.raises(InvalidSetting, match="something else has this name"):
        store.ensure(small_table(name="candles_5m"))
    assert [row.x for row in client.query("SELECT x FROM market.candles_5m").result()] == [1]


def test_final_views_show_final_rows_alone(store, table, small_lake):
    store.publish(table, [small_lake.day(DAY, {"binance": 5})])
    found = rows_of(store, "candles_1m_final")
    assert (len(found), found["is_final"].all()) == (3, True)


def test_a_dataset_elsewhere_is_refused(store, bigquery, small_lake):
    other = warehouse(bigquery.endpoint, small_lake.uri, location="US")
    with pytest.raises(InvalidSetting, match="BIGQUERY_LOCATION"):
        other.ensure(small_table(name="candles_5m"))


def test_a_bucket_elsewhere_is_refused(store, table, bigquery, small_lake):
    bucket = small_lake.uri.split("/")[2]
    bigquery.bucket_locations[bucket] = "us-east1"
    with pytest.raises(InvalidSetting, match="not in one location"):
        store.publish(table, [small_lake.day(DAY, {"binance": 2})])


def test_a_bucket_that_is_not_there_is_named(bigquery, table, small_lake):
    day = small_lake.day(DAY, {"binance": 2})
    lost = warehouse(bigquery.endpoint, "gs://no-such-bucket")
    lost.ensure(table)
    with pytest.raises(InvalidSetting, match="GCS_BUCKET"):
        lost.publish(table, [day])


def test_a_wrong_project_is_named(bigquery, table):
    bigquery.projects = {PROJECT}
    with pytest.raises(InvalidSetting, match="GCP_PROJECT_ID"):
        warehouse(bigquery.endpoint, "gs://x", project="wrong-project").ensure(table)


def test_a_dataset_deleted_meanwhile_is_named(store, table, small_lake, bigquery):
    bigquery.client().delete_dataset("market", delete_contents=True)
    with pytest.raises(InvalidSetting, match="BIGQUERY_DATASET"):
        store.publish(table, [small_lake.day(DAY, {"binance": 2})])


def test_without_permission_the_roles_are_named_and_nothing_is_tried_twice(
    store, table, small_lake, bigquery
):
    bigquery.denied = {"*"}
    bigquery.requests.clear()
    with pytest.raises(StorageDenied, match=r"roles/bigquery\.jobUser"):
        store.publish(table, [small_lake.day(DAY, {"binance": 2})])
    assert len(bigquery.requests) == 1


def test_a_service_that_does_not_answer_is_unavailable(small_lake, table):
    with pytest.raises(StorageUnavailable, match="no answer"):
        warehouse("http://127.0.0.1:9", small_lake.uri).ensure(table)


def test_a_lake_in_a_folder_is_refused_with_the_way_out():
    with pytest.raises(InvalidSetting, match="GCS_BUCKET"):
        warehouse("http://127.0.0.1:9", None)


def test_a_project_is_needed():
    with pytest.raises(InvalidSetting, match="GCP_PROJECT_ID"):
        warehouse("http://127.0.0.1:9", "gs://x", project=None)


def test_a_question_that_reads_too_much_is_refused(store, bigquery):
    bigquery.fail("query", "bytesBilledLimitExceeded", message="Query exceeded limit")
    with pytest.raises(InvalidInput, match="refuses it"):
        store.query("SELECT 1")


def test_a_table_that_is_not_there_is_said(store):
    with pytest.raises(ConcurrentWrite, match="went away"):
        store.query("SELECT * FROM nothing")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("jobRateLimitExceeded", RateLimited),
        ("internalError", StorageUnavailable),
        ("billingNotEnabled", StorageDenied),
        ("invalid", CorruptData),
        ("invalidQuery", InvalidInput),
    ],
)
def test_reasons_become_errors_of_ours(reason, kind):
    assert type(job_error("a job", reason, "because")) is kind


def test_every_stored_type_has_a_type_in_bigquery():
    fields = {field.field_type for table in stored_tables() for field in bigquery_schema(table)}
    assert fields == set(BIGQUERY_TYPES.values())


@pytest.mark.parametrize("item", warehouse_tables(Windows()), ids=lambda item: item.name)
def test_every_table_can_be_made(item, bigquery):
    made = warehouse(bigquery.endpoint, "gs://x")
    made.ensure(item)
    made.ensure(item)
    found = bigquery.client().get_table(f"market.{item.name}")
    assert [field.name for field in found.schema] == item.table.names
    assert all(field.description for field in found.schema)
    assert bool(found.require_partition_filter) == (item.timeframe in FILTER_REQUIRED)
    assert made.counts(item, [DAY]) == {}
    assert made.publish(item, [TableDay(DAY, ())])[0].rows == 0
