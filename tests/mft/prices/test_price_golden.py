"""Price indicators against what TA-Lib says of the same bars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "prices" / "golden.json").read_text())


@pytest.fixture(scope="module")
def values(price_series, price_entries):
    bars = GOLDEN["bars"] | {"trades": [500] * len(GOLDEN["bars"]["close"])}
    return evaluated(price_series(bars), price_entries())


@pytest.mark.parametrize("name", GOLDEN["values"])
def test_an_indicator_is_what_the_library_says_long_after_the_warm_up(values, name):
    found = [values[name][end] for end in GOLDEN["late"]]
    said = [GOLDEN["values"][name][str(end)] for end in GOLDEN["late"]]
    assert found == pytest.approx(said, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", GOLDEN["values"])
def test_an_indicator_is_what_the_library_says_soon_after_the_look_back(values, name):
    found = [values[name][end] for end in GOLDEN["early"]]
    said = [GOLDEN["values"][name][str(end)] for end in GOLDEN["early"]]
    assert found == pytest.approx(said, rel=1e-4, abs=1e-9)


def test_the_golden_numbers_are_of_the_stated_version():
    assert GOLDEN["made_with"] == {"TA-Lib": "0.8.2"}


def test_entries_that_name_the_library_are_held_against_it(price_entries):
    named = {entry.name for entry in price_entries() if entry.oracle.startswith("TA-Lib")}
    assert named == set(GOLDEN["values"])
