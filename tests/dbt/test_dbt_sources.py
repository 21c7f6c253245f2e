"""What dbt is told of the warehouse is what the code publishes today."""

from __future__ import annotations

import pytest
import yaml

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.market.dbt_sources import dbt_docs, dbt_sources
from tickhandler_dagster.market.mft.windows import Windows

PAGES = {"dbt-sources": ("sources.yml", dbt_sources), "dbt-docs": ("columns.md", dbt_docs)}


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_file_of_the_project_is_what_the_code_says(page, dbt_project):
    name, make = PAGES[page]
    stored = (dbt_project / "models" / name).read_text(encoding="utf-8")
    assert stored == make(), f"{name}: not what the code says. Run: make dictionary"


@pytest.mark.parametrize("page", PAGES)
def test_the_command_prints_it(page, capsys):
    app(["dictionary", page], standalone_mode=False)
    assert capsys.readouterr().out == PAGES[page][1]()


def test_every_table_is_a_source_with_every_column_described(source_tables):
    sources = yaml.safe_load(dbt_sources())["sources"][0]["tables"]
    assert [item["name"] for item in sources] == list(source_tables)
    for item in sources:
        table = source_tables[item["name"]].table
        assert [column["name"] for column in item["columns"]] == table.names
        assert all(
            column["description"].startswith(table.column(column["name"]).description)
            for column in item["columns"]
        )


def test_every_table_has_a_staging_model(source_tables, dbt_project):
    folder = dbt_project / "models" / "staging"
    stored = {file.stem: file.read_text(encoding="utf-8") for file in folder.glob("*.sql")}
    assert stored == {f"stg_{name}": f"{{{{ stage('{name}') }}}}\n" for name in source_tables}
    models = yaml.safe_load(dbt_sources())["models"]
    assert {item["name"] for item in models} == set(stored)


def test_no_description_is_a_template():
    text = "\n".join(line for line in dbt_sources().splitlines() if "description:" in line)
    assert "{{" not in text
    assert "{%" not in text


def test_other_windows_make_other_columns():
    page = dbt_sources(Windows(flow=(7,)))
    assert "volume_z_7" in page
    assert "volume_z_7" not in dbt_sources()
