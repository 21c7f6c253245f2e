"""How dbt is called, and which columns a compiled model is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from tickhandler_dagster.dbt_assets.lineage import column_lineage
from tickhandler_dagster.dbt_assets.project import dbt_environment, dbt_target, load_project
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.settings import Settings

BARS, TERMS = "source.p.warehouse.bars", "source.p.warehouse.terms"


def source(name, *columns):
    return {
        "resource_type": "source",
        "config": {},
        "relation_name": f'"warehouse"."main"."{name}"',
        "columns": {name: {} for name in columns},
    }


def model(name, sql, *parents, materialized="table", columns=()):
    return {
        "resource_type": "model",
        "config": {"materialized": materialized},
        "relation_name": f'"marts"."main"."{name}"',
        "columns": {name: {} for name in columns},
        "compiled_code": sql,
        "depends_on": {"nodes": list(parents)},
    }


def lineage_of(**models):
    """Lineage over the two tables; models are named as in `model.p.<name>`."""
    return column_lineage(
        {
            "metadata": {"adapter_type": "duckdb"},
            "sources": {
                BARS: source("bars", "key", "rows", "price"),
                TERMS: source("terms", "key", "asset"),
            },
            "nodes": {f"model.p.{name}": node for name, node in models.items()},
        }
    )


STAGED = model(
    "staged",
    'select key, cast("rows" as bigint) as row_count, price from "warehouse"."main"."bars"',
    BARS,
    materialized="view",
    columns=("key", "row_count", "price"),
)


def test_a_column_is_traced_through_joins_windows_and_views():
    mart = model(
        "mart",
        """
        with joined as (
            select s.key, s.price * s.row_count as worth, t.asset
            from "marts"."main"."staged" as s
            left join "warehouse"."main"."terms" as t on s.key = t.key
        )
        select key, asset, sum(worth) over (partition by asset) as total, 1 as one from joined
        """,
        "model.p.staged",
        TERMS,
    )
    found = lineage_of(staged=STAGED, mart=mart)
    assert found == {
        "model.p.mart": {
            "key": [(BARS, "key")],
            "asset": [(TERMS, "asset")],
            "total": [(BARS, "price"), (BARS, "rows"), (TERMS, "asset")],
            "one": [],
        }
    }


def test_a_mart_of_a_mart_stops_there():
    first = model(
        "first", 'select * from "warehouse"."main"."terms"', TERMS, columns=("key", "asset")
    )
    second = model("second", 'select asset as base from "marts"."main"."first"', "model.p.first")
    found = lineage_of(first=first, second=second)
    assert found["model.p.first"] == {"key": [(TERMS, "key")], "asset": [(TERMS, "asset")]}
    assert found["model.p.second"] == {"base": [("model.p.first", "asset")]}


def test_a_choice_of_one_tables_columns_has_the_lineage_that_a_detour_gives():
    choice = 'select key, price + rows as sum_of, upper(key) as name from "warehouse"."main"."bars"'
    detour = f"with chosen as ({choice}) select key, sum_of, name from chosen"  # noqa: S608  (names of ours)
    found = lineage_of(plain=model("plain", choice, BARS), detour=model("detour", detour, BARS))
    assert found["model.p.plain"] == found["model.p.detour"]


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "duckdb"),
        ({"warehouse": WarehouseKind.BIGQUERY, "gcs_bucket": "lake"}, "bigquery"),
        (
            {
                "warehouse": WarehouseKind.BIGQUERY,
                "gcs_bucket": "lake",
                "bigquery_endpoint": "http://127.0.0.1:9",
            },
            "bq_offline",
        ),
    ],
)
def test_the_target_is_the_warehouse_of_the_settings(settings, target):
    assert dbt_target(Settings(**settings)) == target


def test_dbt_gets_absolute_paths_and_no_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "account.json").touch()
    settings = Settings(
        tardis_api_key=SecretStr("TD.canary"),
        warehouse_folder=Path("tables"),
        gcp_credentials_path=Path("account.json"),
        bigquery_endpoint="http://127.0.0.1:9",
    )
    found = dbt_environment(settings, tmp_path, tmp_path / "artefacts")
    assert "TD.canary" not in found.values()
    assert found["WAREHOUSE_FOLDER"] == str(tmp_path / "tables")
    assert found["GCP_CREDENTIALS_PATH"] == str(tmp_path / "account.json")
    assert found["BIGQUERY_ENDPOINT"] == "http://127.0.0.1:9"
    assert found["DBT_LOG_PATH"] == found["DBT_TARGET_PATH"] == str(tmp_path / "artefacts")


def test_a_folder_without_a_project_is_an_answer(tmp_path):
    with pytest.raises(InvalidSetting, match=r"no dbt project here\. Install the package from a"):
        load_project(Settings(), tmp_path)


def test_a_project_that_does_not_compile_is_an_answer_with_dbts_own_words(tmp_path):
    (tmp_path / "dbt_project.yml").write_text("name: broken\nconfig-version: 2\nprofile: nobody\n")
    with pytest.raises(InvalidSetting, match="dbt does not compile the project"):
        load_project(Settings(), tmp_path)
