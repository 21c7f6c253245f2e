"""Every statement for BigQuery, compiled without network or credentials, is BigQuery's SQL.

A parser accepts more than BigQuery does, so that tables, columns and functions are checked too.
"""

from __future__ import annotations

import datetime as dt
import json

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from tickhandler_dagster.market.dbt_sources import RENAMED

PROJECT, DATASET = "offline-project", "tickhandler"
DAYS = (dt.date(2024, 8, 8), dt.date(2024, 8, 9))
LARGE = ("candles_15s", "candles_1m")
TYPES = {
    "string": "STRING",
    "float64": "FLOAT64",
    "int64": "INT64",
    "int32": "INT64",
    "int8": "INT64",
    "bigint": "INT64",
    "boolean": "BOOL",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "array<string>": "ARRAY<STRING>",
}
FUNCTIONS = {
    *("Abs", "And", "AnyValue", "Avg", "Case", "Cast", "Coalesce", "Concat", "Count", "Date"),
    *("Greatest", "If", "Lag", "Lead", "Max", "Min", "Nullif", "Or", "Rank", "RowNumber", "Sum"),
    "DatetimeDiff",
}


class Compiled:
    """The project compiled for BigQuery: statements, manifest, and the schema they are asked of."""

    def __init__(self, dbt):
        self.statuses = dbt(
            "compile", "--no-populate-cache", "--no-introspect", days=DAYS, target="bq_offline"
        )
        folder = dbt.target_path("bq_offline")
        nodes = json.loads((folder / "manifest.json").read_text())
        self.models = {
            node["name"]: node
            for node in nodes["nodes"].values()
            if node["resource_type"] == "model"
        }
        self.sources = {node["name"]: node for node in nodes["sources"].values()}
        self.statements = {
            file.stem: file.read_text() for file in (folder / "compiled").rglob("*.sql")
        }
        self.schema = MappingSchema(
            {
                PROJECT: {
                    DATASET: columns_of(self.sources),
                    f"{DATASET}_marts": columns_of(self.models),
                    f"{DATASET}_marts_staging": columns_of(self.models),
                }
            },
            dialect="bigquery",
        )


def columns_of(nodes):
    return {
        name: {column["name"]: TYPES[column["data_type"]] for column in node["columns"].values()}
        for name, node in nodes.items()
    }


@pytest.fixture(scope="module")
def compiled(tmp_path_factory, make_dbt):
    folder = tmp_path_factory.mktemp("dbt_bigquery")
    # An unreachable proxy: what asks the network fails.
    return Compiled(make_dbt(folder, folder, HTTPS_PROXY="http://127.0.0.1:9"))


def qualified(compiled, text):
    tree = sqlglot.parse_one(text, read="bigquery")
    return qualify(tree, schema=compiled.schema, dialect="bigquery")


def test_every_statement_asks_for_tables_and_columns_that_are_there(compiled):
    assert len(compiled.statements) > 100
    for name, text in compiled.statements.items():
        assert qualified(compiled, text), name


def test_every_function_is_one_that_bigquery_has(compiled):
    used = {
        (type(call).__name__, name)
        for name, text in compiled.statements.items()
        for call in sqlglot.parse_one(text, read="bigquery").find_all(exp.Func)
    }
    assert {item for item in used if item[0] not in FUNCTIONS} == set()
    assert not [text for text in compiled.statements.values() if "::" in text]


def test_a_mart_gives_the_columns_of_its_contract(compiled):
    for name, node in compiled.models.items():
        statement = qualified(compiled, compiled.statements[name])
        assert [item.alias_or_name for item in statement.selects] == list(node["columns"]), name


def test_staging_renames_and_casts_and_does_no_more(compiled, source_tables):
    for name, item in source_tables.items():
        columns = compiled.models[f"stg_{name}"]["columns"]
        assert list(columns) == [RENAMED.get(column, column) for column in item.table.names]
        statement = sqlglot.parse_one(compiled.statements[f"stg_{name}"], read="bigquery")
        assert not list(statement.find_all(exp.Where, exp.Join, exp.Group, exp.AggFunc))


def test_large_tables_are_never_asked_without_a_range_of_time(compiled):
    for name, text in compiled.statements.items():
        if any(f"`stg_{table}`" in text for table in LARGE):
            assert "ts_open >= timestamp" in text, name


def test_no_mart_reads_a_bar_that_could_still_change(compiled):
    for name, text in compiled.statements.items():
        if "`stg_candles_" in text:
            assert "where is_final" in text, name


def test_a_mart_of_days_replaces_its_days_whole(compiled):
    for node in compiled.models.values():
        config = node["config"]
        if "days/" in node["original_file_path"]:
            assert config["incremental_strategy"] == "insert_overwrite"
            assert config["partition_by"]["copy_partitions"]
            assert config["partitions"] == ["date '2024-08-08'", "date '2024-08-09'"]
