"""Exact quantiles of every timeframe against sorted lists, and what they keep in memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.bars.quantiles import Quantile, QuantileDay
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

DAY = 19_943 * US_PER_DAY
HOUR = Timeframe.H1.us
QUANTILES = {
    "lowest": Quantile(0.0, 1),
    "median": Quantile(0.5, 1),
    "upper": Quantile(0.9, 10),
    "highest": Quantile(1.0, 3),
}


def by_sorting(values, quantile):
    """The quantile between the two nearest ranks of a sorted list."""
    if len(values) < quantile.minimum:
        return math.nan
    in_order = sorted(values)
    rank = (len(in_order) - 1) * quantile.probability
    below = math.floor(rank)
    above = min(below + 1, len(in_order) - 1)
    return in_order[below] + (in_order[above] - in_order[below]) * (rank - below)


def added(day, timestamp, values, cuts):
    edges = np.searchsorted(timestamp, DAY + np.array(sorted(cuts)) * BASE_TIMEFRAME.us)
    for times, part in zip(np.split(timestamp, edges), np.split(values, edges), strict=True):
        day.add(times, part)
    return day.finish()


_seconds = st.one_of(
    st.integers(0, 3), st.integers(3_598, 3_602), st.integers(14_398, 14_402),
    st.integers(0, 86_399),
)  # fmt: skip
_values = st.one_of(
    st.sampled_from([0.0, 1.0, 1.0 + 2**-52, -3.0]),
    st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False),
)


@given(
    st.lists(st.tuples(_seconds, _values), max_size=120),
    st.lists(st.integers(0, 5_760), max_size=5),
)
@settings(max_examples=120)
def test_quantiles_are_those_of_the_sorted_values_of_each_bar(rows, cuts):
    rows.sort(key=lambda row: row[0])
    timestamp = np.array([DAY + second * 1_000_000 for second, _ in rows], dtype=np.int64)
    values = np.array([value for _, value in rows], dtype=np.float64)
    kept = values.copy()
    found = added(QuantileDay(DayGrid(DAY), QUANTILES), timestamp, values, cuts)
    np.testing.assert_array_equal(values, kept)  # what was given is not sorted in place
    for timeframe in Timeframe:
        bars = (timestamp - DAY) // timeframe.us
        for name, quantile in QUANTILES.items():
            expected = np.full(timeframe.bars_per_day, np.nan)
            for bar in set(bars.tolist()):
                inside = [value for value, at in zip(kept, bars, strict=True) if at == bar]
                expected[bar] = by_sorting(inside, quantile)
            np.testing.assert_allclose(
                found[timeframe][name], expected, rtol=1e-12, atol=1e-300, err_msg=name
            )


@pytest.mark.parametrize("make", [
    pytest.param(lambda _, count: np.ones(count), id="all equal"),
    pytest.param(lambda _, count: np.repeat(np.arange(count // 100), 100), id="long ties"),
    pytest.param(lambda _, count: np.arange(count)[::-1], id="falling"),
    pytest.param(lambda rng, count: rng.lognormal(0, 4, count), id="heavy tail"),
    pytest.param(lambda rng, count: 1.0 / rng.integers(1, 10**9, count), id="no two equal"),
])  # fmt: skip
def test_quantiles_of_adversarial_values_are_those_of_numpy(make):
    rng = np.random.default_rng(5)
    count = 24_000
    timestamp = np.sort(rng.integers(DAY, DAY + US_PER_DAY, count))
    values = make(rng, count).astype(np.float64)
    found = added(QuantileDay(DayGrid(DAY), QUANTILES), timestamp, values, [1, 700, 4_000])
    for timeframe in Timeframe:
        bars = (timestamp - DAY) // timeframe.us
        for bar in np.unique(bars)[:: max(1, timeframe.bars_per_day // 50)].tolist():
            inside = values[bars == bar]
            for name, quantile in QUANTILES.items():
                if len(inside) >= quantile.minimum:
                    assert found[timeframe][name][bar] == pytest.approx(
                        np.quantile(inside, quantile.probability), rel=1e-12
                    )


def held_bytes(trades_per_hour):
    """What is held after ten hours of trades in lots, a little into the eleventh."""
    rng = np.random.default_rng(1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    day = QuantileDay(DayGrid(DAY), QUANTILES)
    for hour in range(10):
        for part in range(4):
            start = DAY + hour * HOUR + part * Timeframe.M15.us
            timestamp = np.sort(rng.integers(start, start + Timeframe.M15.us, trades_per_hour // 4))
            day.add(timestamp, rng.integers(1, 500, trades_per_hour // 4) * 0.001)
    day.add(np.array([DAY + 10 * HOUR]), np.array([0.001]))
    del timestamp
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held


def test_what_is_held_does_not_grow_with_the_number_of_trades():
    few, many = held_bytes(10_000), held_bytes(160_000)
    assert many < 1.05 * few + 10_000
    assert many < 1_000_000
