"""Buckets of equal volume against the slow reference, and what is known of special flows."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tickhandler_dagster.market.bars.flow_toxicity import FlowToxicity, VpinMemory
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid
from tickhandler_dagster.market.features.information import FLOW_TOXICITY
from tickhandler_dagster.market.timeframes import Timeframe

(NAME,) = (one.name for one in FLOW_TOXICITY)
BARS = 24
EDGES = (0, BARS)


def inside(slow, seed):
    trades, _ = slow.random_market(seed, BARS, per_second=3)
    return [one for one in trades if one.at >= slow.START]


def states(kernel):
    return kernel.finish().statistics[NAME]


@pytest.mark.parametrize("seed", range(4))
# Sizes are sixteenths: of a bucket of 8 or 32 both computations are exact, and trades often end
# exactly with a bucket; with the others none does, where half a unit would decide.
@pytest.mark.parametrize("volume", [0.3137, 7.0317, 8.0, 32.0, 91.7])
def test_the_state_at_each_bar_s_end_is_that_of_the_slow_reference(slow, seed, volume):
    trades = inside(slow, seed)
    found = states(slow.toxicity_kernel(trades, volume, EDGES))
    for bar in range(BARS):
        end = slow.START + (bar + 1) * 15 * slow.SECOND
        expected = slow.toxicity([one for one in trades if one.at < end], volume)
        np.testing.assert_allclose(
            found[bar], np.nan if expected is None else expected, rtol=1e-7, atol=1e-9
        )
    assert volume > 90 or np.isfinite(found[BARS - 1])
    assert np.array_equal(found[BARS:], np.full(len(found) - BARS, found[BARS - 1]), equal_nan=True)


@pytest.mark.parametrize("volume", [0.01, 7.0, 40.0])
@pytest.mark.parametrize("edges", [(0, 1, 2, BARS), tuple(range(BARS + 1))])
def test_the_slices_do_not_matter(slow, volume, edges):
    trades = inside(slow, 5)
    whole, parts = (slow.toxicity_kernel(trades, volume, cuts) for cuts in (EDGES, edges))
    assert slow.same_days(whole.finish(), parts.finish())
    assert whole.memory() == parts.memory()


def test_larger_bars_end_in_the_state_of_their_last_smaller_bar(slow):
    trades = inside(slow, 6)
    small = states(slow.toxicity_kernel(trades, 9.0, EDGES))
    large = states(slow.toxicity_kernel(trades, 9.0, EDGES, Timeframe.M1))
    assert np.array_equal(small[3::4], large, equal_nan=True)


def test_two_days_are_one_with_the_memory_between_them(slow):
    trades = inside(slow, 7)
    half = BARS // 2
    whole = slow.toxicity_kernel(trades, 7.0, EDGES)
    first = slow.toxicity_kernel(trades, 7.0, (0, half))
    stored = VpinMemory.from_json(json.loads(json.dumps(asdict(first.memory()))))
    assert stored == first.memory()
    second = slow.toxicity_kernel(trades, 7.0, (half, BARS), memory=stored)
    assert np.array_equal(states(whole)[half:], states(second)[half:], equal_nan=True)
    assert second.memory() == whole.memory()
    assert (states(second)[:half] == states(first)[-1]).all()


def test_a_new_bucket_volume_leaves_what_was_filled_its_share(slow):
    at = slow.START
    day_one = [slow.Trade(at, at, 1, 10.0, 25.5)]
    memory = slow.toxicity_kernel(day_one, 1.0, EDGES).memory()
    day_two = [slow.Trade(at, at, -1, 10.0, 50.0)]  # half of a bucket, which is the other half
    kernel = slow.toxicity_kernel(day_two, 100.0, EDGES, memory=memory)
    assert kernel.memory().imbalances == (*memory.imbalances, 0)
    assert kernel.memory().filled == 0


def test_without_a_bucket_volume_there_is_no_value_and_the_memory_passes_through(slow):
    memory = VpinMemory(5, -3, (1, 2, 3), 77)
    for volume in (None, 0.0):
        kernel = slow.toxicity_kernel(inside(slow, 8), volume, EDGES, memory=memory)
        assert np.isnan(states(kernel)).all()
        assert kernel.memory() == memory


def test_without_known_units_there_is_no_value(slow):
    kernel = FlowToxicity(DayGrid(slow.START), 1.0)
    kernel.add(slow.trade_arrays(inside(slow, 9)), None)
    assert np.isnan(states(kernel)).all()
    assert kernel.memory() == VpinMemory()


def test_flow_of_one_side_is_as_toxic_as_it_can_be(slow):
    trades = [replace(one, side=1) for one in inside(slow, 10)]
    assert states(slow.toxicity_kernel(trades, 5.0, EDGES))[-1] == 1.0


def test_flow_whose_sides_are_unknown_is_not_toxic(slow):
    trades = [replace(one, side=0) for one in inside(slow, 10)]
    assert states(slow.toxicity_kernel(trades, 5.0, EDGES))[-1] == 0.0


def test_flow_that_alternates_inside_each_bucket_is_not_toxic(slow):
    trades = [
        replace(one, side=1 if place % 2 else -1, base=1.0)
        for place, one in enumerate(inside(slow, 10))
    ]
    assert states(slow.toxicity_kernel(trades, 8.0, EDGES))[-1] == 0.0


def test_the_taker_s_side_does_not_matter_nor_do_prices_and_units(slow):
    trades = inside(slow, 11)
    plain = states(slow.toxicity_kernel(trades, 7.0, EDGES))
    turned = [replace(one, side=-one.side) for one in trades]
    larger = [replace(one, price=2 * one.price, base=4 * one.base) for one in trades]
    assert np.array_equal(plain, states(slow.toxicity_kernel(turned, 7.0, EDGES)), equal_nan=True)
    assert np.array_equal(plain, states(slow.toxicity_kernel(larger, 28.0, EDGES)), equal_nan=True)


def test_a_trade_of_a_billion_buckets_is_one_sided_flow(slow):
    at = slow.START
    trades = [slow.Trade(at, at, 1, 10.0, 0.5), slow.Trade(at, at + 1, -1, 10.0, 1e9 + 0.25)]
    kernel = slow.toxicity_kernel(trades, 1.0, EDGES)
    assert states(kernel)[0] == 1.0
    assert kernel.memory().filled == -kernel.memory().signed == 0.75 * 2**36


def test_a_state_is_known_when_all_its_trades_are(slow):
    trades = inside(slow, 12)
    kernel = slow.toxicity_kernel(trades, 5.0, EDGES, memory=VpinMemory(last_arrival_us=5))
    arrivals = kernel.finish().last_arrival
    assert (np.diff(arrivals) >= 0).all()
    assert arrivals[-1] == max(one.arrived for one in trades)
    assert slow.toxicity_kernel([], 5.0, EDGES).finish().last_arrival[0] == NO_ARRIVAL
