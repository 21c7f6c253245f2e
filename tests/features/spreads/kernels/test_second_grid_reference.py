"""Realised measures, Kyle's slope, Amihud's ratio and Roll's spread against the slow reference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tickhandler_dagster.market.bars.high_low_spread import corwin_schultz_spread_bps
from tickhandler_dagster.market.bars.impact_regression import impact_regression_day
from tickhandler_dagster.market.bars.realised import realised_day
from tickhandler_dagster.market.features.delayed_spreads import DELAYED_1S, DELAYED_5S, DELAYED_30S
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.information import FLOW_TOXICITY, IMPACT_REGRESSION
from tickhandler_dagster.market.features.realised import REALISED
from tickhandler_dagster.market.features.spreads import (
    EFFECTIVE_SPREADS,
    HIGH_LOW_SPREAD,
    ROLL_SPREAD,
    SPREADS,
)
from tickhandler_dagster.market.timeframes import Timeframe

BARS = 24
EDGES = (0, BARS)
SECONDS = BARS * 15
TIMEFRAMES = [Timeframe.S15, Timeframe.M1, Timeframe.M5]


def grids(slow, seed, edges=EDGES):
    """The grid of a market and of another one, its reference."""
    own, other = slow.random_market(seed, BARS), slow.random_market(seed + 100, BARS)
    return own, other, slow.second_day(*own, edges), slow.second_day(*other, edges)


def frame_of(slow, grid, reference, timeframe, *, direct=False):
    bars = DayGrid(slow.START, timeframe if direct else Timeframe.S15)
    realised = realised_day(
        grid,
        bars,
        reference=None if reference is None else reference.returns,
        reference_arrival=None if reference is None else reference.mid_arrival(bars),
    )
    regression = impact_regression_day(grid, bars)
    if direct:
        return realised.statistics | regression.statistics
    frame = slow.with_columns(realised, REALISED, timeframe)
    return frame.hstack(slow.with_columns(regression, IMPACT_REGRESSION, timeframe))


def slow_seconds(slow, trades, states):
    """Returns of mids and of trades, and the trades of each second, of the first bars."""
    ordered = sorted(states, key=lambda one: (one.at, one.arrived))
    moments = [slow.START + second * slow.SECOND for second in range(SECONDS + 1)]
    mids = slow.second_returns([slow.mid_at_second(ordered, moment) for moment in moments])
    prices = slow.second_returns([slow.price_at_second(trades, moment) for moment in moments])
    inside = [[one for one in trades if at <= one.at < at + slow.SECOND] for at in moments[:-1]]
    return mids, prices, inside


def slow_bar(slow, bar, timeframe, market, reference):
    mids, prices, inside = market
    low, high = bar * timeframe.us // slow.SECOND, (bar + 1) * timeframe.us // slow.SECOND
    return (
        slow.moment_columns(mids[low:high], mids[low - 1] if low else None)
        | slow.trade_grid_columns(prices[low:high], mids[low:high])
        | slow.joint_columns(mids[low:high], reference[0][low:high])
        | slow.information_columns(mids[low:high], inside[low:high])
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_every_column_is_the_one_of_the_slow_reference(slow, seed, timeframe):
    own, other, grid, reference = grids(slow, seed)
    frame = frame_of(slow, grid, reference, timeframe)
    market, second = slow_seconds(slow, *own), slow_seconds(slow, *other)
    for bar in range(SECONDS * slow.SECOND // timeframe.us):
        slow.assert_row(frame, bar, slow_bar(slow, bar, timeframe, market, second))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_roll_columns_are_those_of_the_slow_reference(slow, seed, timeframe):
    trades, _ = slow.random_market(seed, BARS, per_second=4)
    frame = slow.with_columns(slow.roll_day(trades, EDGES), ROLL_SPREAD, timeframe)
    for bar in range(SECONDS * slow.SECOND // timeframe.us):
        low = slow.START + bar * timeframe.us
        earlier = [one for one in trades if one.at < low]
        inside = [one for one in trades if low <= one.at < low + timeframe.us]
        slow.assert_row(frame, bar, slow.roll_columns(inside, earlier))


def test_the_references_have_every_column(slow):
    given = (
        slow.moment_columns([], None)
        | slow.trade_grid_columns([], [])
        | slow.joint_columns([], [])
        | slow.information_columns([], [])
        | slow.roll_columns([], [])
        | slow.impact_columns([], [])
    )
    by_hand = {one.name for one in (*HIGH_LOW_SPREAD, *FLOW_TOXICITY)}
    names = {one.name for one in (*SPREADS, *REALISED, *DELAYED_1S, *DELAYED_5S, *DELAYED_30S)}
    assert set(given) | by_hand == names


def test_the_family_is_its_kernels_entries():
    parts = (EFFECTIVE_SPREADS, IMPACT_REGRESSION, ROLL_SPREAD, HIGH_LOW_SPREAD, FLOW_TOXICITY)
    assert {one.name for part in parts for one in part} == {one.name for one in SPREADS}


@pytest.mark.parametrize("edges", [(0, 1, 2, BARS), tuple(range(BARS + 1)), (0, 13, 14, BARS)])
def test_the_slices_do_not_matter(slow, edges):
    own, _, grid, reference = grids(slow, 4)
    _, _, parts, other = grids(slow, 4, edges)
    bars = DayGrid(slow.START)
    assert slow.same_days(
        realised_day(grid, bars, reference=reference.returns),
        realised_day(parts, bars, reference=other.returns),
    )
    assert slow.same_days(impact_regression_day(grid, bars), impact_regression_day(parts, bars))
    assert slow.same_days(slow.roll_day(own[0], EDGES), slow.roll_day(own[0], edges))


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.H24])
def test_smaller_bars_roll_up_to_the_ones_computed_directly(slow, timeframe):
    (trades, _), _, grid, reference = grids(slow, 5)
    rolled = frame_of(slow, grid, reference, timeframe)
    rolled = rolled.hstack(slow.with_columns(slow.roll_day(trades, EDGES), ROLL_SPREAD, timeframe))
    direct = frame_of(slow, grid, reference, timeframe, direct=True)
    direct |= slow.roll_day(trades, EDGES, timeframe).statistics
    for name, values in direct.items():
        np.testing.assert_allclose(values, rolled[name], rtol=1e-9, err_msg=name)


def test_variance_is_up_and_down_together(slow):
    _, _, grid, _ = grids(slow, 6)
    frame = frame_of(slow, grid, None, Timeframe.M1)
    both = frame["realized_semivariance_up"] + frame["realized_semivariance_down"]
    np.testing.assert_allclose(both.drop_nulls(), frame["realized_variance"].drop_nulls())
    assert frame["realized_variance"].count()


def test_the_other_taker_side_turns_the_slope_round(slow):
    trades, states = slow.random_market(8, BARS)
    turned = [replace(one, side=-one.side) for one in trades]
    frames = [
        frame_of(slow, slow.second_day(rows, states, EDGES), None, Timeframe.M1)
        for rows in (trades, turned)
    ]
    for feature in (*REALISED, *IMPACT_REGRESSION):
        sign = -1 if feature.mirror == "-" else 1
        assert (frames[0][feature.name] * sign).equals(frames[1][feature.name]), feature.name
    assert frames[0]["kyle_lambda"].count()


@pytest.mark.parametrize(("price", "size"), [(2, 4), (2, 0.5)])
def test_every_value_has_the_dimension_its_unit_says(slow, price, size):
    trades, states = slow.random_market(9, BARS, per_second=4)
    dearer = [replace(one, price=price * one.price, base=size * one.base) for one in trades]
    quotes = [replace(one, bid=price * one.bid, ask=price * one.ask) for one in states]
    frames = []
    for rows, book in ((trades, states), (dearer, quotes)):
        grid = slow.second_day(rows, book, EDGES)
        frame = frame_of(slow, grid, grid, Timeframe.M1)
        roll = slow.with_columns(slow.roll_day(rows, EDGES), ROLL_SPREAD, Timeframe.M1)
        frames.append(frame.hstack(roll))
    for feature in (*REALISED, *IMPACT_REGRESSION, *ROLL_SPREAD):
        if feature.is_scale_free or price * size == 1:
            factor = float(price) ** feature.unit.price * float(size) ** feature.unit.size
            assert (frames[0][feature.name] * factor).equals(frames[1][feature.name]), feature.name


def test_the_reference_has_no_correlation_with_itself(slow):
    _, _, grid, _ = grids(slow, 10)
    frame = frame_of(slow, grid, None, Timeframe.M1)
    assert frame["btc_return_count"].sum() == 0
    assert frame["realized_correlation_btc"].null_count() == frame.height


def test_a_twin_of_the_reference_has_correlation_one(slow):
    _, _, grid, _ = grids(slow, 10)
    values = frame_of(slow, grid, grid, Timeframe.M1)["realized_correlation_btc"].drop_nulls()
    assert values.len()
    np.testing.assert_allclose(values, 1.0, rtol=1e-12)


def test_a_bar_is_known_when_its_last_state_trade_and_reference_are(slow):
    (trades, states), _, grid, reference = grids(slow, 11)
    bars = DayGrid(slow.START)
    end = slow.START + 15 * slow.SECOND
    used, last = [one.arrived for one in trades if one.at < end], None
    for state in sorted(states, key=lambda one: (one.at, one.arrived)):
        if state.mid is not None and state.at < end:
            last = state
    own = realised_day(grid, bars).last_arrival[0]
    assert last.arrived <= own <= max(used + [one.arrived for one in states if one.at < end])
    later = reference.mid_arrival(bars) + 10**9
    both = realised_day(grid, bars, reference=reference.returns, reference_arrival=later)
    assert both.last_arrival[0] == later[0]


def test_a_day_without_rows_has_sums_of_zero_and_no_arrival(slow):
    grid = slow.second_day([], [], EDGES)
    day = realised_day(grid, DayGrid(slow.START))
    assert all((values == 0).all() for values in day.statistics.values())
    assert (day.last_arrival == NO_ARRIVAL).all()
    frame = frame_of(slow, grid, None, Timeframe.S15)
    derived = [one.name for one in (*REALISED, *IMPACT_REGRESSION) if one.merge is Merge.DERIVED]
    assert all(frame[name].null_count() == frame.height for name in derived)


def test_without_known_units_impact_is_null_and_variance_is_not(slow):
    trades, states = slow.random_market(12, BARS)
    grid = slow.second_day(trades, states, EDGES, is_sized=False)
    frame = frame_of(slow, grid, None, Timeframe.M1)
    assert all(frame[one.name].null_count() == frame.height for one in IMPACT_REGRESSION)
    assert frame["realized_variance"].count()


def test_a_mid_holds_for_sixty_seconds_and_its_second_does_not_count(slow):
    at = slow.START + 2 * slow.SECOND
    state = slow.State(at, at + 5, 99.0, 101.0)
    mids = slow.second_day([], [state], EDGES).mids
    assert np.isnan(mids[:3]).all()
    assert (mids[3:63] == 100.0).all()
    assert np.isnan(mids[63:]).all()


def test_only_a_normal_state_before_the_day_gives_the_day_its_first_mid(slow):
    before = [
        slow.State(slow.START - 3, slow.START + 9, 99.0, 101.0),
        slow.State(slow.START - 2, slow.START + 8, 101.0, 99.0),
    ]
    grid, crossed = slow.SecondGrid(slow.START), slow.SecondGrid(slow.START)
    grid.prime_top(slow.top_arrays(before))
    crossed.prime_top(slow.top_arrays(before[1:]))
    assert grid.finish().mids[0] == 100.0
    assert grid.finish().mid_arrival(DayGrid(slow.START))[0] == slow.START + 9
    assert np.isnan(crossed.finish().mids).all()


def test_the_slope_is_that_of_numpy(slow):
    trades, states = slow.random_market(13, BARS, per_second=4)
    grid = slow.second_day(trades, states, EDGES)
    known = ~np.isnan(grid.returns)
    x, y = grid.signed_notional[known] / 1e6, grid.returns[known] * 1e4
    slope, _ = np.polyfit(x, y, 1)
    root, _ = np.polyfit(np.sign(x) * np.sqrt(np.abs(x)), y, 1)
    frame = frame_of(slow, grid, None, Timeframe.H24)
    np.testing.assert_allclose(frame["kyle_lambda"][0], slope, rtol=1e-9)
    np.testing.assert_allclose(frame["kyle_lambda_sqrt"][0], root, rtol=1e-9)
    np.testing.assert_allclose(frame["kyle_lambda_r2"][0], np.corrcoef(x, y)[0, 1] ** 2, rtol=1e-9)


def slow_corwin_schultz(high, low, before_high, before_low):
    beta = math.log(high / low) ** 2 + math.log(before_high / before_low) ** 2
    gamma = math.log(max(high, before_high) / min(low, before_low)) ** 2
    base = 3 - 2 * math.sqrt(2)
    alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / base - math.sqrt(gamma / base)
    spread = 2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha))
    return spread * 1e4 if spread >= 0 else math.nan


def test_highs_and_lows_give_the_authors_spread():
    rng = np.random.default_rng(1)
    low = 100 + rng.random(200)
    high = low + rng.random(200)
    high[50:60] = low[50:60] = np.nan
    found = corwin_schultz_spread_bps(high, low)
    assert np.isnan(found[0])
    for bar in range(1, 200):
        rows = (high[bar], low[bar], high[bar - 1], low[bar - 1])
        expected = math.nan if np.isnan(rows).any() else slow_corwin_schultz(*rows)
        np.testing.assert_allclose(found[bar], expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(found).sum() > 20
