"""Effective spread, realised spread and impact against the slow reference, and their laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tickhandler_dagster.market.bars.trade_impact import HORIZONS_US, TradeImpact
from tickhandler_dagster.market.features.delayed_spreads import DELAYED_1S, DELAYED_5S, DELAYED_30S
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid
from tickhandler_dagster.market.features.spreads import EFFECTIVE_SPREADS
from tickhandler_dagster.market.timeframes import Timeframe

DELAYED = {"1s": DELAYED_1S, "5s": DELAYED_5S, "30s": DELAYED_30S}
BARS = 24
EDGES = (0, BARS)


def frame_of(slow, day, timeframe):
    frame = slow.with_columns(day.spreads, EFFECTIVE_SPREADS, timeframe)
    for tag, features in DELAYED.items():
        frame = frame.hstack(slow.with_columns(day.delayed[tag], features, timeframe))
    return frame


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("timeframe", [Timeframe.S15, Timeframe.M1])
def test_every_column_is_the_one_of_the_slow_reference(slow, seed, timeframe):
    trades, states = slow.random_market(seed, BARS)
    day = slow.impact_day(trades, states, EDGES)
    frame = frame_of(slow, day, timeframe)
    for bar in range(BARS * 15 * slow.SECOND // timeframe.us):
        low = slow.START + bar * timeframe.us
        inside = [one for one in trades if low <= one.at < low + timeframe.us]
        slow.assert_row(frame, bar, slow.impact_columns(inside, states))


def test_the_reference_has_every_column(slow):
    names = [one.name for features in (EFFECTIVE_SPREADS, *DELAYED.values()) for one in features]
    assert sorted(slow.impact_columns([], [])) == sorted(names)


def test_the_money_weighted_mean_is_that_of_frds(slow):
    """frds 2.4.1: 100·Σ w·2d(p - m)/m in percent, the weights w each trade's share of the money."""
    trades, states = slow.random_market(7, BARS)
    inside = [one for one in trades if one.side and one.at >= slow.START]
    mids = [slow.mid_at_arrival(states, one.arrived, strict=True) for one in inside]
    known = [(one, mid) for one, mid in zip(inside, mids, strict=True) if mid]
    price = np.array([one.price for one, _ in known])
    mid = np.array([mid for _, mid in known])
    side = np.array([one.side for one, _ in known])
    weight = price * np.array([one.base for one, _ in known])
    percent = 100 * np.average(2 * side * (price - mid) / mid, weights=weight)
    frame = frame_of(slow, slow.impact_day(trades, states, EDGES), Timeframe.H24)
    assert math.isclose(frame["effective_spread_bps"][0], 100 * percent, rel_tol=1e-12)


@pytest.mark.parametrize("tag", DELAYED)
def test_effective_is_realised_plus_impact_on_the_same_trades(slow, tag):
    trades, states = slow.random_market(5, BARS)
    frame = frame_of(slow, slow.impact_day(trades, states, EDGES), Timeframe.S15)
    parts = frame[f"realized_spread_{tag}_bps"] + frame[f"price_impact_{tag}_bps"]
    whole = frame[f"effective_spread_{tag}_bps"]
    assert whole.drop_nulls().len() > BARS / 2
    np.testing.assert_allclose(parts.drop_nulls(), whole.drop_nulls(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("edges", [(0, 1, 2, BARS), tuple(range(BARS + 1)), (0, 13, 14, BARS)])
def test_the_slices_do_not_matter(slow, edges):
    trades, states = slow.random_market(11, BARS)
    whole, parts = (slow.impact_day(trades, states, cuts) for cuts in (EDGES, edges))
    assert slow.same_days(whole.spreads, parts.spreads)
    for tag in DELAYED:
        assert slow.same_days(whole.delayed[tag], parts.delayed[tag])


def test_blocks_inside_a_slice_do_not_matter(slow, monkeypatch):
    trades, states = slow.random_market(12, BARS)
    whole = slow.impact_day(trades, states, EDGES)
    monkeypatch.setattr(
        "tickhandler_dagster.market.bars.blocks.whole_bar_blocks.__defaults__", (5,)
    )
    small = slow.impact_day(trades, states, EDGES)
    assert slow.same_days(whole.spreads, small.spreads)
    assert all(slow.same_days(whole.delayed[tag], small.delayed[tag]) for tag in DELAYED)


def test_few_mids_and_many_mids_are_joined_alike(slow):
    trades, states = slow.random_market(13, BARS)
    fewer = [one for place, one in enumerate(trades) if place % 7 == 0]
    frame = frame_of(slow, slow.impact_day(fewer, states, EDGES), Timeframe.H24)
    inside = [one for one in fewer if one.at >= slow.START]
    slow.assert_row(frame, 0, slow.impact_columns(inside, states))


def test_smaller_bars_roll_up_to_the_ones_computed_directly(slow):
    trades, states = slow.random_market(14, BARS)
    rolled = frame_of(slow, slow.impact_day(trades, states, EDGES), Timeframe.M5)
    direct = slow.impact_day(trades, states, EDGES, Timeframe.M5)
    for day in (direct.spreads, *direct.delayed.values()):
        for name, values in day.statistics.items():
            np.testing.assert_allclose(values, rolled[name], rtol=1e-9, err_msg=name)


def test_the_other_taker_side_turns_spreads_round(slow):
    trades, states = slow.random_market(15, BARS)
    turned = [replace(one, side=-one.side) for one in trades]
    frames = [
        frame_of(slow, slow.impact_day(rows, states, EDGES), Timeframe.S15)
        for rows in (trades, turned)
    ]
    for feature in (*EFFECTIVE_SPREADS, *DELAYED_1S, *DELAYED_5S, *DELAYED_30S):
        sign = -1 if feature.mirror == "-" else 1
        assert (frames[0][feature.name] * sign).equals(frames[1][feature.name]), feature.name


def test_dearer_and_larger_trades_change_money_and_not_spreads(slow):
    trades, states = slow.random_market(16, BARS)
    dearer = [replace(one, price=2 * one.price, base=4 * one.base) for one in trades]
    quotes = [replace(one, bid=2 * one.bid, ask=2 * one.ask) for one in states]
    one = frame_of(slow, slow.impact_day(trades, states, EDGES), Timeframe.S15)
    other = frame_of(slow, slow.impact_day(dearer, quotes, EDGES), Timeframe.S15)
    for feature in (*EFFECTIVE_SPREADS, *DELAYED_1S, *DELAYED_5S, *DELAYED_30S):
        factor = 2.0**feature.unit.price * 4.0**feature.unit.size
        assert (one[feature.name] * factor).equals(other[feature.name]), feature.name


def test_trades_whose_later_mid_is_not_recorded_have_none(slow):
    trades, states = slow.random_market(17, BARS)
    until = slow.START + 100 * slow.SECOND
    day = slow.impact_day(trades, states, EDGES, known_until_us=until)
    frame = frame_of(slow, day, Timeframe.S15)
    for bar in range(BARS):
        low = slow.START + bar * 15 * slow.SECOND
        inside = [one for one in trades if low <= one.at < low + 15 * slow.SECOND]
        slow.assert_row(frame, bar, slow.impact_columns(inside, states, known_until=until))


def lone_trade(slow, mid_delay_us, *, side=1):
    """One trade that arrives 10 s into the day, and a mid at that distance from its arrival."""
    arrived = slow.START + 10 * slow.SECOND
    trades = [slow.Trade(arrived, arrived, side, 101.0, 2.0)]
    mid = slow.State(arrived + mid_delay_us, arrived + mid_delay_us, 99.0, 101.0)
    return frame_of(slow, slow.impact_day(trades, [mid], EDGES), Timeframe.S15)


@pytest.mark.parametrize(
    ("delay_us", "has_mid"), [(-1, True), (0, False), (-5_000_000, True), (-5_000_001, False)]
)
def test_a_mid_is_strictly_before_the_trade_and_at_most_five_seconds_old(slow, delay_us, has_mid):
    frame = lone_trade(slow, delay_us)
    assert frame["effective_spread_bps"][0] == (200.0 if has_mid else None)
    assert frame["mid_matched_share"][0] == (1.0 if has_mid else 0.0)


@pytest.mark.parametrize(("tag", "has_mid"), [("1s", True), ("5s", False), ("30s", False)])
def test_a_later_mid_too_is_at_most_five_seconds_old_at_its_moment(slow, tag, has_mid):
    frame = lone_trade(slow, -3_000_000)
    assert frame[f"price_impact_{tag}_bps"][0] == (0.0 if has_mid else None)


def test_a_later_mid_counts_from_the_very_moment_it_arrives(slow):
    arrived = slow.START + 10 * slow.SECOND
    trades = [slow.Trade(arrived, arrived, 1, 101.0, 2.0)]
    states = [
        slow.State(arrived - 1, arrived - 1, 99.0, 101.0),
        slow.State(arrived, arrived + slow.SECOND, 100.0, 102.0),
    ]
    frame = frame_of(slow, slow.impact_day(trades, states, EDGES), Timeframe.S15)
    assert frame["price_impact_1s_bps"][0] == 200.0
    assert frame["realized_spread_1s_bps"][0] == 0.0


def test_values_are_known_when_trades_and_horizons_are(slow):
    trades, states = slow.random_market(18, BARS)
    day = slow.impact_day(trades, states, EDGES)
    inside = [one.arrived for one in trades if 0 <= one.at - slow.START < 15 * slow.SECOND]
    assert day.spreads.last_arrival[0] == max(inside)
    assert day.spreads.last_arrival[-1] == NO_ARRIVAL
    for tag, horizon_us in HORIZONS_US.items():
        assert day.delayed[tag].last_arrival[0] == max(inside) + horizon_us
        assert all(one.delay_us == horizon_us for one in DELAYED[tag])


def test_without_known_units_everything_is_null(slow):
    trades, states = slow.random_market(19, BARS)
    kernel = TradeImpact(DayGrid(slow.START))
    kernel.add(slow.trade_arrays(slow.cut(trades, EDGES)[0]), None, slow.top_arrays(states))
    frame = frame_of(slow, kernel.finish(), Timeframe.S15)
    assert all(frame[name].null_count() == frame.height for name in frame.columns)
