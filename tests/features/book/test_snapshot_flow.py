"""Order flow between snapshots against a slow reference, and the weights of levels."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from tickhandler_dagster.market.bars.flow_loading import OrderFlowMemory, fitted_loading
from tickhandler_dagster.market.bars.flow_tally import FlowTally
from tickhandler_dagster.market.bars.order_flow import SnapshotFlow
from tickhandler_dagster.market.features.book_flow import SNAPSHOT_FLOW
from tickhandler_dagster.market.timeframes import Timeframe

AGE = 60_000_000
WEIGHTS = (0.5, 0.25, 0.125, 0.0625, 0.0625)
MEMORY = OrderFlowMemory(19_942 * 86_400_000_000, 1_000, (0.0,) * 5, ((0.0,) * 5,) * 5, WEIGHTS)


def level_flow(before, now, level):
    total = 0.0
    for side, sign in ((2, 1), (3, -1)):
        far = -sign * math.inf
        old = far if before[side][level] is None else before[side][level]
        new = far if now[side][level] is None else now[side][level]
        if sign * new >= sign * old:
            total += sign * (now[side + 2][level] or 0.0)
        if sign * new <= sign * old:
            total -= sign * (before[side + 2][level] or 0.0)
    return total


def reference(states, start, end, weights):
    flows, depth, events = [0.0] * 5, 0.0, 0
    for number, state in enumerate(states):
        is_first = number == 0 or state[6] or state[0] - states[number - 1][0] > AGE
        if not start <= state[0] < end or is_first:
            continue
        events += 1
        for level in range(5):
            flows[level] += level_flow(states[number - 1], state, level)
            depth += ((state[4][level] or 0.0) + (state[5][level] or 0.0)) / 10
    found = {"ofi_snap_event_count": events, "ofi_snap_depth_sum": depth}
    mean = depth / events if events else 0.0
    for level, flow in enumerate(flows, 1):
        found[f"ofi_snap_{level}"] = flow
        found[f"ofi_snap_normalised_{level}"] = flow / mean if mean else None
    weighted = sum(w * flow for w, flow in zip(weights, flows, strict=True))
    found["ofi_snap_weighted"] = weighted
    found["ofi_snap_integrated"] = weighted / mean if mean else None
    return found


def fit_of(feeds, flows, depth_sum, events):
    tally = FlowTally.of(feeds.grid(), flows, depth_sum, events)
    return fitted_loading(tally.whole, feeds.start_us)


def run(feeds, ticks, *, memory=MEMORY, terms=None):
    before, own, _ = feeds.of_day(ticks)
    kernel = SnapshotFlow(feeds.grid(), terms or feeds.coins, memory=memory)
    kernel.prime(before)
    kernel.add(own)
    return kernel.finish()


def assert_bars(feeds, ticks, timeframe, bars):
    before, own, _ = feeds.of_day(ticks)
    states = [*feeds.rows_of(before)[-1:], *feeds.rows_of(own)]
    frame = feeds.frame(run(feeds, ticks), SNAPSHOT_FLOW, timeframe)
    for bar in bars:
        start = feeds.start_us + bar * timeframe.us
        expected = reference(states, start, start + timeframe.us, WEIGHTS)
        actual = frame.row(bar, named=True)
        wrong = {
            name: (actual[name], value)
            for name, value in expected.items()
            if not feeds.same(actual[name], value)
        }
        assert wrong == {}, bar


def test_the_reference_names_are_the_entries():
    names = {one.name for one in SNAPSHOT_FLOW}
    assert {*reference([], 0, 1, WEIGHTS), "ofi_snap_fit_day"} == names


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1, Timeframe.H24])
@pytest.mark.parametrize("seed", range(4))
def test_every_column_is_that_of_the_slow_reference(feeds, seed, timeframe):
    busy = {0, 1, 2, 3, 6, 8, 9, *range(20, 47), 239, 240, 5_758, 5_759}
    bars = sorted({bar * 15_000_000 // timeframe.us for bar in busy})
    assert_bars(feeds, feeds.random_levels(seed), timeframe, bars)


@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
def test_recorded_snapshots_give_the_reference_s_numbers(feeds, recorded_books, timeframe):
    ticks = recorded_books.snapshots("binance")
    first = int(ticks.timestamp.min() - feeds.start_us) // timeframe.us
    assert_bars(feeds, ticks, timeframe, range(first, first + 3))


def test_a_level_that_appears_or_vanishes_is_flow_of_its_size(feeds):
    bids, asks = [(100, 5), (99, 2)], [(101, 4)]
    ticks = feeds.levels((1, bids, asks), (2, bids[:1], asks), (16, bids, asks))
    day = run(feeds, ticks)
    assert day.statistics["ofi_snap_1"][:2].tolist() == [0.0, 0.0]
    assert day.statistics["ofi_snap_2"][:2].tolist() == [-2.0, 2.0]


def test_without_an_earlier_day_there_is_no_integrated_flow(feeds):
    frame = feeds.frame(
        run(feeds, feeds.random_levels(1), memory=None), SNAPSHOT_FLOW, Timeframe.M1
    )
    names = ("ofi_snap_weighted", "ofi_snap_integrated", "ofi_snap_fit_day")
    assert [frame[name].count() for name in names] == [0, 0, 0]
    assert frame["ofi_snap_normalised_1"].count() > 0


def test_without_contract_sizes_only_the_events_are_known(feeds):
    day = run(feeds, feeds.random_levels(1), terms=feeds.unknown)
    frame = feeds.frame(day, SNAPSHOT_FLOW, Timeframe.M1)
    known = {one.name for one in SNAPSHOT_FLOW if frame[one.name].count()}
    assert known == {"ofi_snap_event_count", "ofi_snap_fit_day"}


def test_the_bar_names_the_day_its_weights_come_from(feeds):
    frame = feeds.frame(run(feeds, feeds.random_levels(1)), SNAPSHOT_FLOW, Timeframe.M1)
    assert frame["ofi_snap_fit_day"].dt.epoch("us").unique().to_list() == [MEMORY.day_us]


def test_weights_are_the_leading_direction_of_the_flows(feeds):
    """One common factor with known loads and a little noise: the fit finds the loads."""
    rng = np.random.default_rng(5)
    loads = np.array([4.0, 3.0, 2.0, 1.0, 0.5])
    bars = feeds.grid().bars
    flows = loads[:, None] * rng.normal(size=bars) + 0.05 * rng.normal(size=(5, bars))
    events = np.full(bars, 2.0)
    fit = fit_of(feeds, flows, events * 8, events)
    np.testing.assert_allclose(fit.loading, loads / loads.sum(), atol=2e-3)
    assert fit.bars == 1_440
    assert fit.day_us == feeds.start_us


def test_the_fit_solves_the_eigenvalue_equation_of_its_own_covariances(feeds):
    rng = np.random.default_rng(6)
    bars = feeds.grid().bars
    flows = rng.normal(size=(5, 5)) @ rng.normal(size=(5, bars))
    fit = fit_of(feeds, flows, np.ones(bars), np.ones(bars))
    image = [sum(c * w for c, w in zip(row, fit.loading, strict=True)) for row in fit.covariances]
    ratios = [one / w for one, w in zip(image, fit.loading, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * 5)
    trace = sum(fit.covariances[level][level] for level in range(5))
    assert trace / 5 <= ratios[0] <= trace
    assert sum(abs(w) for w in fit.loading) == pytest.approx(1)
    assert sum(fit.loading) > 0


def test_a_day_too_thin_to_fit_on_has_no_fit(feeds):
    kernel = SnapshotFlow(feeds.grid(), feeds.coins)
    kernel.add(feeds.of_day(feeds.random_levels(1))[1])
    assert len(kernel.tally().whole.opens)
    assert fitted_loading(kernel.tally().whole, feeds.start_us) is None


def test_flows_that_never_vary_have_no_direction(feeds):
    bars = feeds.grid().bars
    assert fit_of(feeds, np.zeros((5, bars)), np.ones(bars), np.ones(bars)) is None


def test_the_memory_survives_its_json_to_the_last_bit(feeds):
    rng = np.random.default_rng(7)
    bars = feeds.grid().bars
    fit = fit_of(feeds, rng.normal(size=(5, bars)), np.ones(bars), np.ones(bars))
    assert OrderFlowMemory.from_json(json.loads(json.dumps(asdict(fit)))) == fit
