"""The generated pages of docs/ are what the code says today, and what they say can be read."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tickhandler_dagster import market
from tickhandler_dagster.cli.app import app
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_dictionary import data_dictionary, stored_tables
from tickhandler_dagster.market.features.dictionary import (
    ALL_FAMILIES,
    bounds_text,
    feature_dictionary,
)
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.registry import FEATURES, Family
from tickhandler_dagster.market.features.units import BPS
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.mft.dictionary import mft_dictionary
from tickhandler_dagster.market.tables import Bounds, Table

WITH_FEATURES = (CANDLE_TABLE, INFORMATION_BAR_TABLE, LIVE_CANDLE_TABLE)
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {
    "feature-dictionary.md": feature_dictionary,
    "mft-dictionary.md": mft_dictionary,
    "data-dictionary.md": data_dictionary,
}

STORED = Feature(
    name="swing_sum",
    formula="Σ swing.",
    inputs=(Channel.TRADES,),
    merge=Merge.SUM,
    bounds=Bounds(ge=0),
    mirror="swung_sum",
    source="A paper.",
)
LATE = Feature(
    name="swing_bps",
    formula="10⁴ · swing_sum / volume.",
    inputs=(Channel.TRADES, Channel.TOP),
    merge=Merge.DERIVED,
    expression=pl.col("swing_sum") / pl.col("volume"),
    null_rule="nothing traded",
    unit=BPS,
    delay_us=5_000_000,
    mirror="-",
    earlier_meaning="The mean of means.",
)
PAGE = feature_dictionary([Family("swings", "Swings", (STORED, LATE)), Family("no", "None", ())])


def without_blank_ends(text):
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_docs_is_the_generated_one(name):
    path = DOCS / name
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    assert stored == PAGES[name](), f"docs/{name}: not what the code says. Run: make dictionary"


@pytest.mark.parametrize("name", ["features", "mft", "tables"])
def test_the_command_prints_the_page(name, capsys):
    app(["dictionary", name], standalone_mode=False)
    pages = {"features": feature_dictionary, "mft": mft_dictionary, "tables": data_dictionary}
    expected = pages[name]()
    assert capsys.readouterr().out == expected


def test_every_feature_has_one_block_and_the_index_leads_to_it():
    page = feature_dictionary()
    headings = re.findall(r"^### (\S+)$", page, re.MULTILINE)
    assert headings == [feature.name for family in ALL_FAMILIES for feature in family.features]
    assert set(re.findall(r"\]\(#(\w+)\)", page)) == set(headings)
    assert set(FEATURES) <= set(headings)
    assert len(set(headings)) == len(headings)


def test_every_table_row_has_the_cells_of_its_header():
    for make in PAGES.values():
        width = 0
        for line in without_blank_ends(make()):
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not width or not cells or cells == width, line
            width = cells


def test_a_block_says_all_that_the_entry_says():
    block = PAGE.partition("### swing_bps\n")[2].splitlines()
    assert block[1] == "10⁴ · swing_sum / volume."
    assert block[3:] == [
        "- **Unit**: basis points",
        "- **From**: trades, top",
        "- **Null**: nothing traded",
        "- **Larger bars**: from `swing_sum`, `volume` of the same bar",
        "- **Known**: 5 s after (`available_at_5s`)",
        "- **Buy and sell swapped**: opposite sign",
        "- **Differs from the earlier system**: The mean of means.",
    ]


def test_what_an_entry_leaves_empty_is_left_out_and_a_family_without_entries_too():
    block = PAGE.partition("### swing_sum\n")[2].partition("###")[0]
    assert "- **Unit**: ≥ 0\n" in block
    assert "becomes `swung_sum`" in block
    assert "Null**: only where nothing was observed" in block
    assert not {"Known", "Carried in", "Type"} & set(re.findall(r"\*\*([^*]+)\*\*", block))
    assert "## None" not in PAGE


def test_a_smallest_sample_is_a_reason_for_a_null():
    mean = replace(STORED, name="swing_avg", minimum="2 swings")
    assert "**Null**: below the smallest sample\n" in feature_dictionary(
        [Family("m", "M", (mean,))]
    )


def test_bounds_read_as_signs():
    assert bounds_text(Bounds()) == ""
    assert bounds_text(Bounds(gt=0, lt=2.5)) == "> 0, < 2.5"
    assert bounds_text(Bounds(one_of=("a", "b"))) == "one of a, b"


def test_the_data_dictionary_has_every_table_of_the_domain():
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(market.__path__, f"{market.__name__}.")
    ]
    tables = {
        value.name
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Table)
    }
    assert tables <= {table.name for table in stored_tables()}


def test_the_data_dictionary_lists_every_column_of_every_table():
    page = data_dictionary()
    for table in stored_tables():
        section = page.partition(f"\n## {table.name}\n")[2].partition("\n## ")[0]
        listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        features = set(FEATURES) if table in WITH_FEATURES else set()
        assert listed == [name for name in table.names if name not in features], table.name
