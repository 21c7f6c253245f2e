"""The option surface is what the formulas say: a slow reference over chains with every fault."""

from __future__ import annotations

import math

import pytest

from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE

MOMENTS = range(1, 181, 7)


def _same(found, expected, name):
    if math.isnan(expected):
        assert math.isnan(found), name
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pays_coin", [True, False])
def test_every_column_is_the_slow_references(chains, seed, pays_coin):
    expiries = chains.disordered(seed, pays_coin=pays_coin)
    moments = [chains.START + minute * chains.MINUTE for minute in MOMENTS]
    columns = chains.surface(expiries, moments)
    known = 0
    for place, moment in enumerate(moments):
        expected = chains.reference(expiries, moment)
        assert set(expected) == set(columns)
        for name, value in expected.items():
            _same(columns[name][place], value, f"{name} at {place}")
            known += not math.isnan(value)
    assert known > 0.6 * len(moments) * len(columns)


def test_the_kernel_gives_exactly_the_columns_of_the_registry(chains):
    columns = chains.surface([], [chains.START])
    assert set(columns) == {entry.name for entry in OPTION_SURFACE}


def test_the_disordered_chains_have_every_fault(chains):
    moments = [chains.START + minute * chains.MINUTE for minute in MOMENTS]
    columns = chains.surface(chains.disordered(0), moments)
    for name in ("stale", "invalid", "crossed"):
        assert columns[f"{name}_option_count"].sum() > 0
    assert columns["calendar_violation_count"].sum() > 0
    assert not all(map(math.isnan, columns["model_free_variance_30d"]))


def test_a_chain_without_options_counts_nothing_and_knows_nothing(chains):
    columns = chains.surface([], [chains.START, chains.START + 1])
    for entry in OPTION_SURFACE:
        values = columns[entry.name].tolist()
        is_count = entry.name.endswith("_count")
        is_sum = entry.name.endswith("open_interest") or entry.name == "gross_gamma_1pct"
        assert len(values) == 2
        assert all(value == 0 if is_count or is_sum else math.isnan(value) for value in values)
