"""Rolling statistics against what arch, statsmodels and scipy say of the same windows."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "statistics" / "golden.json").read_text()
)


@pytest.fixture(scope="module")
def values(series_of, features_of):
    series = series_of(GOLDEN["price"], GOLDEN["reference_price"])
    return evaluated(series, features_of())


@pytest.mark.parametrize("name", GOLDEN["values"])
def test_a_statistic_is_what_the_library_says_of_the_window(values, name):
    found = values[name].gather(GOLDEN["ends"]).to_list()
    assert found == pytest.approx(GOLDEN["values"][name], rel=1e-9)


def test_the_golden_numbers_are_of_the_stated_versions():
    assert GOLDEN["made_with"].items() >= {"arch": "8.0.0", "statsmodels": "0.15.0"}.items()


def test_entries_that_name_a_library_are_held_against_it(features_of):
    named = {
        feature.name
        for feature in features_of()
        if any(library in feature.oracle for library in ("arch", "statsmodels", "scipy"))
    }
    assert named == set(GOLDEN["values"])


def test_the_reference_explains_what_the_library_says_it_does(values):
    end = GOLDEN["ends"][0]
    row = values.select(pl.col("log_return", "ref_log_return", "reference_residual_60")).row(end)
    own, reference, residual = row
    assert own - residual == pytest.approx(GOLDEN["values"]["reference_beta_60"][0] * reference)
