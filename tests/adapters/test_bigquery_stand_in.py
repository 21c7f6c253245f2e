"""What the BigQuery stand-in can do, what it refuses, and what it is known not to tell."""

from __future__ import annotations

import datetime as dt
import io

import polars as pl
import pytest
from google.api_core import exceptions
from google.cloud import bigquery as bq

DAY = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
FIELDS = (("ts", "TIMESTAMP"), ("venue", "STRING"), ("price", "FLOAT"))


@pytest.fixture
def client(bigquery):
    made = bigquery.client()
    dataset = bq.Dataset("tests-project.ds")
    dataset.location = "EU"
    made.create_dataset(dataset)
    yield made
    made.close()


@pytest.fixture
def table(client):
    made = bq.Table("tests-project.ds.t", schema=[bq.SchemaField(*field) for field in FIELDS])
    made.time_partitioning = bq.TimePartitioning(field="ts")
    return client.create_table(made)


@pytest.fixture
def put(gcs):
    bucket = gcs.bucket()

    def parquet(name, days=(8,), **more):
        frame = pl.DataFrame(
            {
                "ts": [DAY.replace(day=day) for day in days],
                "venue": ["binance"] * len(days),
                "price": [1.5] * len(days),
            },
            schema_overrides={"ts": pl.Datetime("us", "UTC")},
        ).with_columns(**more)
        data = io.BytesIO()
        frame.write_parquet(data)
        gcs.put(bucket, name, data.getvalue())
        return f"gs://{bucket}/{name}"

    return parquet


def load(client, uri, target="tests-project.ds.t", disposition="WRITE_TRUNCATE", **more):
    job_id = more.pop("job_id", None)
    config = bq.LoadJobConfig(source_format="PARQUET", write_disposition=disposition, **more)
    job = client.load_table_from_uri(uri, target, job_config=config, job_id=job_id)
    return job.result(retry=None)


def ask(client, sql, **config):
    settings = bq.QueryJobConfig(default_dataset="tests-project.ds", **config)
    return [tuple(row.values()) for row in client.query(sql, job_config=settings).result()]


def one(client, expression):
    return ask(client, f"SELECT {expression}")[0][0]


def test_a_partition_is_replaced_and_the_others_stay(client, table, put):
    load(client, put("a", days=(8, 8, 9)))
    load(client, put("b", days=(8,)), "tests-project.ds.t$20240808")
    assert ask(client, "SELECT DATE(ts), COUNT(*) FROM t GROUP BY 1 ORDER BY 1") == [
        (dt.date(2024, 8, 8), 1),
        (dt.date(2024, 8, 9), 1),
    ]


def test_rows_of_another_day_make_the_load_fail_and_change_nothing(client, table, put):
    load(client, put("a"))
    with pytest.raises(exceptions.BadRequest, match="different partitions"):
        load(client, put("b", days=(8, 9)), "tests-project.ds.t$20240808")
    assert ask(client, "SELECT COUNT(*) FROM t") == [(1,)]


def test_dispositions_are_kept(client, table, put):
    load(client, put("a"), disposition="WRITE_APPEND")
    load(client, put("b"), disposition="WRITE_APPEND")
    assert ask(client, "SELECT COUNT(*) FROM t") == [(2,)]
    with pytest.raises(exceptions.Conflict):
        load(client, put("c"), disposition="WRITE_EMPTY")
    with pytest.raises(exceptions.NotFound):
        load(client, put("d"), "tests-project.ds.new", create_disposition="CREATE_NEVER")


def test_columns_match_by_name_and_are_added_only_where_that_is_allowed(client, table, put):
    wider = put("a", extra=pl.lit(1))
    partition = "tests-project.ds.t$20240808"
    with pytest.raises(exceptions.BadRequest, match="Cannot add fields"):
        load(client, wider, partition)
    load(client, wider, partition, schema_update_options=["ALLOW_FIELD_ADDITION"])
    with pytest.raises(exceptions.BadRequest, match="Schema update options"):
        load(client, wider, schema_update_options=["ALLOW_FIELD_ADDITION"])
    load(client, put("b", days=(9,)), "tests-project.ds.t$20240809")
    assert ask(client, "SELECT extra FROM t ORDER BY ts") == [(1,), (None,)]


def test_a_column_of_another_type_is_refused(client, table, put):
    uri = put("a", price=pl.lit("x"))
    with pytest.raises(exceptions.BadRequest, match="changed type from FLOAT to STRING"):
        load(client, uri, disposition="WRITE_APPEND")


def test_lists_need_list_inference(client, put):
    made = bq.Table("tests-project.ds.l", schema=[bq.SchemaField("x", "STRING", mode="REPEATED")])
    client.create_table(made)
    uri = put("a", x=pl.lit(["p"], dtype=pl.List(pl.String())))
    with pytest.raises(exceptions.BadRequest):
        load(client, uri, "tests-project.ds.l", "WRITE_APPEND")
    parquet = bq.ParquetOptions()
    parquet.enable_list_inference = True
    options = {"schema_update_options": ["ALLOW_FIELD_ADDITION"], "parquet_options": parquet}
    load(client, uri, "tests-project.ds.l", "WRITE_APPEND", **options)
    assert ask(client, "SELECT x FROM l") == [(["p"],)]


def test_a_job_id_is_taken_once(client, table, put):
    uri = put("a")
    load(client, uri, job_id="mine")
    config = bq.LoadJobConfig(source_format="PARQUET")
    with pytest.raises(exceptions.Conflict):
        client.load_table_from_uri(uri, "tests-project.ds.t", job_id="mine", job_config=config)
    assert client.get_job("mine").state == "DONE"


def test_partitions_are_copied_and_deleted(client, table, put):
    load(client, put("a", days=(8, 9)))
    target = bq.Table("tests-project.ds.u", schema=table.schema)
    target.time_partitioning = table.time_partitioning
    client.create_table(target)
    config = bq.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    for _ in range(2):
        names = (f"tests-project.ds.{name}$20240809" for name in "tu")
        client.copy_table(*names, job_config=config).result()
    assert ask(client, "SELECT DATE(ts) FROM u") == [(dt.date(2024, 8, 9),)]
    client.delete_table("tests-project.ds.u$20240809")
    assert ask(client, "SELECT COUNT(*) FROM u") == [(0,)]
    with pytest.raises(exceptions.NotFound):
        client.delete_table("tests-project.ds.u$20240809")


def test_partitions_say_when_they_changed(client, table, put):
    load(client, put("a", days=(8, 9)))
    sql = "SELECT partition_id, last_modified_time FROM ds.INFORMATION_SCHEMA.PARTITIONS ORDER BY 1"
    before = dict(ask(client, sql))
    ask(client, "DELETE FROM t WHERE DATE(ts) = '2024-08-09'")
    ask(client, "INSERT INTO t (ts, venue) VALUES (TIMESTAMP '2024-08-09 01:00:00', 'x')")
    after = dict(ask(client, sql))
    assert before["20240808"] == after["20240808"]
    assert before["20240809"] < after["20240809"]


def test_parameters_scripts_and_merges_run(client, table, put):
    load(client, put("a", days=(8, 9, 10)))
    found = ask(
        client,
        "SELECT COUNT(*) FROM t WHERE ts >= @first AND DATE(ts) IN UNNEST(@days)",
        query_parameters=[
            bq.ScalarQueryParameter("first", "TIMESTAMP", DAY),
            bq.ArrayQueryParameter("days", "DATE", [dt.date(2024, 8, 9)]),
        ],
    )
    assert found == [(1,)]
    ask(
        client,
        "DECLARE gone ARRAY<DATE>; SET gone = (SELECT ARRAY_AGG(DATE(ts)) FROM t WHERE"
        " DATE(ts) > '2024-08-09'); BEGIN TRANSACTION;"
        " DELETE FROM t WHERE DATE(ts) IN UNNEST(gone); COMMIT TRANSACTION;",
    )
    ask(
        client,
        "MERGE t USING (SELECT TIMESTAMP '2024-08-12 00:00:00' AS ts, 'new' AS venue) s ON FALSE"
        " WHEN NOT MATCHED BY SOURCE AND DATE(t.ts) = '2024-08-09' THEN DELETE"
        " WHEN NOT MATCHED THEN INSERT (ts, venue) VALUES (ts, venue)",
    )
    assert ask(client, "SELECT EXTRACT(DAY FROM ts) FROM t ORDER BY 1") == [(8,), (12,)]


def test_a_failed_transaction_leaves_nothing(client, table, put):
    load(client, put("a"))
    with pytest.raises(exceptions.BadRequest):
        ask(client, "BEGIN TRANSACTION; DELETE FROM t WHERE TRUE; SELECT nothing FROM t;")
    assert ask(client, "SELECT COUNT(*) FROM t") == [(1,)]


def test_tables_made_by_sql_keep_partitions_and_clusters(client, table, put):
    load(client, put("a"))
    ask(
        client,
        "CREATE OR REPLACE TABLE c PARTITION BY DATE(ts) CLUSTER BY venue"
        " OPTIONS (require_partition_filter = TRUE) AS (SELECT * FROM t)",
    )
    made = client.get_table("ds.c")
    assert (made.time_partitioning.field, made.clustering_fields) == ("ts", ["venue"])
    assert made.require_partition_filter
    with pytest.raises(exceptions.BadRequest, match="without a filter"):
        ask(client, "SELECT COUNT(*) FROM c")
    ask(client, "CREATE OR REPLACE VIEW v AS SELECT * FROM c WHERE price > 1")
    assert client.get_table("ds.v").table_type == "VIEW"
    assert ask(client, "SELECT COUNT(*) FROM v WHERE ts > '2024-01-01'") == [(1,)]


def test_a_table_with_declared_columns_keeps_types_and_descriptions(client):
    ask(
        client,
        "CREATE OR REPLACE TABLE d (day DATE OPTIONS (description='which'), n FLOAT64 NOT NULL)"
        " PARTITION BY day AS (SELECT DATE '2024-08-08' AS day, 1 AS n)",
    )
    made = client.get_table("ds.d")
    assert [field.field_type for field in made.schema] == ["DATE", "FLOAT"]
    assert made.schema[0].description == "which"
    assert ask(client, "SELECT * FROM d") == [(dt.date(2024, 8, 8), 1.0)]


def test_schemas_grow_by_columns_that_may_be_null(client, table):
    table.schema = [*table.schema, bq.SchemaField("x", "INTEGER")]
    grown = client.update_table(table, ["schema"])
    assert [field.name for field in grown.schema][-1] == "x"
    grown.schema = grown.schema[:-1]
    with pytest.raises(exceptions.BadRequest, match="missing in new schema"):
        client.update_table(grown, ["schema"])
    table.description = "by another"
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(table, ["description"])


def test_a_dry_run_counts_the_bytes_of_the_columns_named(client, table, put):
    load(client, put("a", days=(8, 9)))
    dry = bq.QueryJobConfig(dry_run=True, default_dataset="tests-project.ds")
    assert client.query("SELECT ts FROM t", job_config=dry).total_bytes_processed == 16
    assert client.query("SELECT * FROM t", job_config=dry).total_bytes_processed == 64
    # the client knows no status for this reason, so that it is a 500 there
    with pytest.raises(exceptions.GoogleAPICallError, match="bytes billed"):
        ask(client, "SELECT ts FROM t", maximum_bytes_billed=1)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("EXTRACT(DAYOFWEEK FROM DATE '2024-08-08')", 5),
        ("DATE_TRUNC(DATE '2024-08-08', MONTH)", dt.date(2024, 8, 1)),
        ("EXTRACT(DAYOFWEEK FROM DATE_TRUNC(DATE '2024-08-08', MONTH))", 5),
        (
            "TIMESTAMP_MICROS(1723075200000001)",
            dt.datetime(2024, 8, 8, microsecond=1, tzinfo=dt.UTC),
        ),
        ("TIMESTAMP_TRUNC(TIMESTAMP '2024-08-08 10:11:12', HOUR)", DAY.replace(hour=10)),
        ("SAFE_DIVIDE(1, 0)", None),
        ("1 / 4", 0.25),
        ("DATE_DIFF(DATE '2024-08-08', DATE '2024-08-01', DAY)", 7),
    ],
)
def test_expressions_give_what_bigquery_gives(client, expression, value):
    assert one(client, expression) == value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT epoch_ms(1)",
        "SELECT 1::INT64",
        "SELECT date_trunc('hour', CURRENT_TIMESTAMP())",
        "SELECT * FROM read_parquet('x')",
        "SELECT APPROX_QUANTILES(x, 4) FROM (SELECT 1 AS x)",
        "SELECT ARRAY_AGG(x ORDER BY x LIMIT 1) FROM (SELECT 1 AS x)",
        "SELECT * FROM ds.INFORMATION_SCHEMA.COLUMNS",
        "SELECT _PARTITIONTIME FROM t",
        "CALL ds.procedure()",
        "SELEC 1",
    ],
)
def test_what_the_stand_in_cannot_say_it_refuses(client, table, sql):
    with pytest.raises((exceptions.BadRequest, exceptions.NotFound)):
        ask(client, sql)


def test_faults_places_and_permissions_come_on_demand(client, bigquery, table, put):
    uri = put("a")
    bigquery.fail("load", "quotaExceeded")
    with pytest.raises(exceptions.Forbidden):
        load(client, uri)
    load(client, uri)
    bigquery.bucket_locations[uri.split("/")[2]] = "US"
    with pytest.raises(exceptions.BadRequest, match="different locations"):
        load(client, uri)
    config = bq.LoadJobConfig(source_format="PARQUET")
    wrong = {"location": "US", "job_config": config}
    with pytest.raises(exceptions.NotFound, match="found in location US"):
        client.load_table_from_uri(uri, "tests-project.ds.t", **wrong).result(retry=None)
    bigquery.denied = {"get_table"}
    with pytest.raises(exceptions.Forbidden):
        client.get_table("ds.t")


def test_a_job_goes_on_when_its_client_is_gone(client, bigquery, table, put):
    bigquery.seconds["load"] = 0.2
    config = bq.LoadJobConfig(source_format="PARQUET")
    job = client.load_table_from_uri(put("a"), "tests-project.ds.t", job_config=config)
    assert job.state == "RUNNING"
    assert ask(client, "SELECT COUNT(*) FROM t") == [(0,)]
    bigquery.jobs.wait()
    assert ask(client, "SELECT COUNT(*) FROM t") == [(1,)]


def test_a_table_that_expires_is_gone(client, table):
    table.expires = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    client.update_table(table, ["expires"])
    with pytest.raises(exceptions.NotFound):
        client.get_table("ds.t")


def test_answers_come_in_pages(client):
    sql = "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS x"
    assert [row[0] for row in ask(client, sql)] == list(range(1, 25001))
