"""The entries of trades fit the statistics that are kept per traded bar, and their merging."""

from __future__ import annotations

import numpy as np
import pytest

from tickhandler_dagster.market.bars.base import bar_statistics
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.statistics import SIZED_STATISTICS, UNITLESS_STATISTICS
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.trades import DENSE_TRADES, TRADES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

SPARSE = {*UNITLESS_STATISTICS, *SIZED_STATISTICS} - {"ts_open"}
MERGES = {entry.name: entry.merge for entry in TRADES}
DENSE = {entry.name for entry in DENSE_TRADES}
COMBINED = {"size_m2", "interarrival_m2_ms2", "delta_max", "delta_min"}
RECOMPUTED = {"size_p50", "size_p90", "size_p99"}


def test_every_stored_entry_is_kept_per_traded_bar_or_for_every_bar():
    stored = {name for name, merge in MERGES.items() if merge is not Merge.DERIVED}
    dense = {name for name in DENSE if MERGES[name] is not Merge.DERIVED}
    assert stored == SPARSE | dense
    assert not SPARSE & dense


def test_the_rules_of_merging_are_the_ones_that_are_carried_out():
    assert {name for name, merge in MERGES.items() if merge is Merge.COMBINED} == COMBINED
    assert {name for name, merge in MERGES.items() if merge is Merge.RECOMPUTED} == RECOMPUTED
    assert not {entry.name for entry in LATENCY} & set(MERGES)


@pytest.mark.parametrize("terms", [ContractTerms(1.0), ContractTerms(None)])
def test_no_statistic_is_lost_in_merging(terms):
    ticks = TradeTicks(
        np.array([0, 16_000_000]), np.array([1, 16_000_001]), None,
        np.array([1, -1], dtype=np.int8), np.array([1.0, 2.0]), np.array([3.0, 4.0]),
    )  # fmt: skip
    base = bar_statistics(ticks, sizes(ticks, terms), BASE_TIMEFRAME, previous_us=None)
    assert set(rolled_up(base, Timeframe.H1).columns) == set(base.columns)
