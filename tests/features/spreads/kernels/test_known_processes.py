"""Simulated processes whose parameters are known give them back."""

from __future__ import annotations

import numpy as np
import pytest

from tickhandler_dagster.market.bars.impact_regression import impact_regression_day
from tickhandler_dagster.market.bars.quotes import TopTicks
from tickhandler_dagster.market.bars.realised import realised_day
from tickhandler_dagster.market.bars.roll_covariance import RollCovariance
from tickhandler_dagster.market.bars.second_grid import SECONDS, SecondGrid
from tickhandler_dagster.market.bars.ticks import TradeTicks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.bars.units import Sizes
from tickhandler_dagster.market.features.delayed_spreads import DELAYED_1S
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.features.information import IMPACT_REGRESSION
from tickhandler_dagster.market.features.realised import REALISED
from tickhandler_dagster.market.features.spreads import EFFECTIVE_SPREADS, ROLL_SPREAD
from tickhandler_dagster.market.timeframes import Timeframe

DAILY_VARIANCE = 0.04**2
HOURS = 24


def tops(slow, mids, half_spread=0.01, *, shift_us=-1):
    """One state just before each whole second of the day, both midnights included."""
    moments = slow.START + np.arange(len(mids), dtype=np.int64) * slow.SECOND + shift_us
    ones = np.ones(len(mids))
    return TopTicks(
        moments, moments + 5, mids - half_spread, mids + half_spread, ones, ones, ones < 0
    )


def trades(moments, side, price, amount):
    return TradeTicks(
        moments,
        moments + 7,
        None,
        side.astype(np.int8),
        price,
        np.broadcast_to(amount, price.shape),
    )


def grid_of(slow, mids):
    grid, states = SecondGrid(slow.START), tops(slow, mids)
    grid.prime_top(states.take(slice(0, 1)))
    grid.add_top(states.take(slice(1, None)))
    return grid


def diffusion(seed, jumps=None):
    """A day of one-second mids of a geometric Brownian motion, with jumps of these log sizes."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, np.sqrt(DAILY_VARIANCE / SECONDS), SECONDS)
    for second, size in (jumps or {}).items():
        returns[second] += size
    return 60_000 * np.exp(np.concatenate(([0.0], np.cumsum(returns))))


def realised(slow, mids, timeframe, reference=None):
    grid, bars = grid_of(slow, mids).finish(), DayGrid(slow.START)
    other = None if reference is None else grid_of(slow, reference).finish().returns
    return slow.with_columns(realised_day(grid, bars, reference=other), REALISED, timeframe)


def test_a_diffusion_gives_back_its_variance_and_its_volatility(slow):
    frame = realised(slow, diffusion(1), Timeframe.H24)
    assert frame["realized_variance"][0] == pytest.approx(DAILY_VARIANCE, rel=0.02)
    assert frame["bipower_variation"][0] == pytest.approx(DAILY_VARIANCE, rel=0.02)
    annual = np.sqrt(DAILY_VARIANCE * 365)
    assert frame["realized_volatility_annualised"][0] == pytest.approx(annual, rel=0.01)
    assert frame["relative_jump"][0] < 0.02


def test_bipower_variation_of_short_bars_is_unbiased(slow):
    frame = realised(slow, diffusion(2), Timeframe.S15)
    per_day = frame["bipower_variation"].sum()
    assert per_day == pytest.approx(DAILY_VARIANCE, rel=0.02)


def test_jumps_raise_the_jump_part_by_their_squares(slow):
    jumps = {second * 3_600 + 1_234: 0.006 * (-1) ** second for second in range(HOURS)}
    calm = realised(slow, diffusion(3), Timeframe.H24)
    jumpy = realised(slow, diffusion(3, jumps), Timeframe.H24)
    added = sum(size**2 for size in jumps.values())
    rise = jumpy["jump_variation"][0] - calm["jump_variation"][0]
    assert rise == pytest.approx(added, rel=0.05)
    assert jumpy["relative_jump"][0] > 0.25


def test_gaussian_returns_have_kurtosis_three_and_no_skew(slow):
    frame = realised(slow, diffusion(4), Timeframe.H24)
    assert frame["realized_kurtosis"][0] == pytest.approx(3, abs=0.06)
    assert frame["realized_skewness"][0] == pytest.approx(0, abs=0.05)
    assert frame["realized_quarticity"][0] == pytest.approx(DAILY_VARIANCE**2, rel=0.05)


def test_a_straight_line_is_efficient_and_a_zigzag_is_not(slow):
    steps = np.arange(SECONDS + 1)
    straight = realised(slow, 100 * np.exp(1e-6 * steps), Timeframe.M1)
    zigzag = realised(slow, 100 * np.exp(1e-4 * (steps % 2)), Timeframe.M1)
    assert straight["efficiency_ratio"].to_list() == pytest.approx([1.0] * 1_440)
    assert zigzag["efficiency_ratio"].to_list() == pytest.approx([0.0] * 1_440, abs=1e-9)


def test_correlated_diffusions_give_back_their_correlation(slow):
    rng = np.random.default_rng(5)
    common, own = rng.normal(0, 1e-4, (2, SECONDS))
    paths = [
        100 * np.exp(np.concatenate(([0.0], np.cumsum(returns))))
        for returns in (common, 0.6 * common + 0.8 * own)
    ]
    frame = realised(slow, paths[0], Timeframe.H24, reference=paths[1])
    assert frame["realized_correlation_btc"][0] == pytest.approx(0.6, abs=0.01)


def test_bounce_makes_trade_variance_larger_than_mid_variance(slow):
    mids, rng = diffusion(6), np.random.default_rng(6)
    grid, side = grid_of(slow, mids), rng.choice([-1, 1], SECONDS)
    moments = slow.START + np.arange(1, SECONDS + 1, dtype=np.int64) * slow.SECOND - 2
    price = mids[1:] * (1 + side * 1e-4)
    rows = trades(moments, side, price, 1.0)
    grid.add_trades(rows, slow.sizes_of(rows))
    frame = slow.with_columns(
        realised_day(grid.finish(), DayGrid(slow.START)), REALISED, Timeframe.H24
    )
    expected = 1 + 2 * 1e-4**2 * SECONDS / DAILY_VARIANCE
    assert frame["variance_ratio_trade_mid"][0] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("half_spread", [2e-4, 1e-3])
def test_roll_s_model_gives_back_its_spread(slow, half_spread):
    rng = np.random.default_rng(7)
    count = 400_000
    value = 100 * np.exp(np.cumsum(rng.normal(0, 5e-5, count)))
    side = rng.choice([-1, 1], count)
    moments = slow.START + np.sort(rng.integers(0, SECONDS * slow.SECOND, count))
    kernel = RollCovariance(DayGrid(slow.START))
    kernel.add(trades(moments, side, value * (1 + side * half_spread), 1.0))
    frame = slow.with_columns(kernel.finish(), ROLL_SPREAD, Timeframe.H24)
    assert frame["roll_spread_bps"][0] == pytest.approx(2e4 * half_spread, rel=0.01)


def test_prices_that_trend_or_rest_have_no_roll_spread(slow):
    moments = slow.START + np.arange(1_000, dtype=np.int64) * 86_000_000
    for price in (100 * 1.0001 ** np.arange(1_000), np.full(1_000, 100.0)):
        kernel = RollCovariance(DayGrid(slow.START))
        kernel.add(trades(moments, np.ones(1_000), price, 1.0))
        frame = slow.with_columns(kernel.finish(), ROLL_SPREAD, Timeframe.H24)
        assert frame["roll_pair_count"][0] == 998
        assert frame["roll_spread_bps"][0] is None


def test_a_planted_impact_is_found_by_kyle_s_regression(slow):
    rng = np.random.default_rng(8)
    planted = 2.5  # basis points per million
    flow = rng.normal(0, 0.4e6, SECONDS)
    returns = (planted * flow / 1e6 + rng.normal(0, 0.3, SECONDS)) / 1e4
    mids = 50_000 * np.exp(np.concatenate(([0.0], np.cumsum(returns))))
    grid = grid_of(slow, mids)
    moments = slow.START + np.arange(SECONDS, dtype=np.int64) * slow.SECOND + 500_000
    rows = trades(moments, np.sign(flow), mids[:-1], np.abs(flow) / mids[:-1])
    grid.add_trades(rows, Sizes(base=rows.amount, quote=np.abs(flow)))
    day = impact_regression_day(grid.finish(), DayGrid(slow.START))
    frame = slow.with_columns(day, IMPACT_REGRESSION, Timeframe.H24)
    assert frame["kyle_lambda"][0] == pytest.approx(planted, rel=0.01)
    explained = (planted * 0.4) ** 2 / ((planted * 0.4) ** 2 + 0.3**2)
    assert frame["kyle_lambda_r2"][0] == pytest.approx(explained, abs=0.01)


def test_equal_money_in_every_second_has_no_slope(slow):
    grid = grid_of(slow, diffusion(9))
    moments = slow.START + np.arange(SECONDS, dtype=np.int64) * slow.SECOND
    rows = trades(moments, np.ones(SECONDS), np.full(SECONDS, 100.1), 0.3)
    grid.add_trades(rows, slow.sizes_of(rows))
    day = impact_regression_day(grid.finish(), DayGrid(slow.START))
    for timeframe in Timeframe:
        frame = slow.with_columns(day, IMPACT_REGRESSION, timeframe)
        assert frame["kyle_sample_count"][0] >= 15
        assert frame["kyle_lambda"].null_count() == frame.height
        assert frame["kyle_lambda_sqrt"].null_count() == frame.height


def test_amihud_is_the_move_per_million(slow):
    grid = grid_of(slow, 100 * np.exp(1e-5 * np.arange(SECONDS + 1)))
    moments = slow.START + np.arange(0, SECONDS, 3, dtype=np.int64) * slow.SECOND
    rows = trades(moments, np.ones(len(moments)), np.full(len(moments), 100.0), 2_000.0)
    grid.add_trades(rows, slow.sizes_of(rows))
    day = impact_regression_day(grid.finish(), DayGrid(slow.START))
    frame = slow.with_columns(day, IMPACT_REGRESSION, Timeframe.S15)
    assert frame["amihud_count"].to_list() == [5] * frame.height
    assert frame["amihud"].to_list() == pytest.approx([1e-5 / 0.2] * frame.height)


def test_trades_at_the_touch_pay_the_quoted_spread_and_a_moving_mid_takes_some_back(slow):
    """Each trade moves the mid by a quarter of the spread for good, shortly after it."""
    rng = np.random.default_rng(10)
    count, spread = 20_000, 1e-3
    side = rng.choice([-1, 1], count)
    moments = slow.START + np.arange(count, dtype=np.int64) * 2 * slow.SECOND + slow.SECOND
    mids = 100 * np.cumprod(np.concatenate(([1.0], 1 + side * spread / 4)))
    ones = np.ones(count + 1)
    at = np.concatenate((moments[:1] - 500_000, moments + 100_000))
    states = TopTicks(
        at, at, mids * (1 - spread / 2), mids * (1 + spread / 2), ones, ones, ones < 0
    )
    price = mids[:-1] * (1 + side * spread / 2)
    rows = TradeTicks(moments, moments, None, side.astype(np.int8), price, ones[1:])
    kernel = TradeImpact(DayGrid(slow.START))
    kernel.add(rows, slow.sizes_of(rows), states)
    day = kernel.finish()
    now = slow.with_columns(day.spreads, EFFECTIVE_SPREADS, Timeframe.H24)
    later = slow.with_columns(day.delayed["1s"], DELAYED_1S, Timeframe.H24)
    assert now["effective_spread_bps"][0] == pytest.approx(10.0)
    assert now["mid_matched_share"][0] == 1.0
    assert later["price_impact_1s_bps"][0] == pytest.approx(5.0)
    assert later["realized_spread_1s_bps"][0] == pytest.approx(5.0)
