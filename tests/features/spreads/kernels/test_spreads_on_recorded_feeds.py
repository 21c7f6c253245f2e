"""Spreads, impact and realised measures of real feeds against the slow reference."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.flow_toxicity import FlowToxicity
from tickhandler_dagster.market.bars.impact_regression import impact_regression_day
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import TOP_COLUMNS, top_in_order, top_ticks
from tickhandler_dagster.market.bars.realised import realised_day
from tickhandler_dagster.market.bars.roll_covariance import RollCovariance
from tickhandler_dagster.market.bars.second_grid import SecondGrid
from tickhandler_dagster.market.bars.ticks import trade_ticks
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.days import day_start_us
from tickhandler_dagster.market.features.delayed_spreads import DELAYED_1S, DELAYED_5S, DELAYED_30S
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.features.information import FLOW_TOXICITY, IMPACT_REGRESSION
from tickhandler_dagster.market.features.realised import REALISED
from tickhandler_dagster.market.features.spreads import EFFECTIVE_SPREADS, ROLL_SPREAD
from tickhandler_dagster.market.timeframes import Timeframe

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY)
TERMS = ContractTerms(1.0)
DELAYED = {"1s": DELAYED_1S, "5s": DELAYED_5S, "30s": DELAYED_30S}
FEEDS = [
    ("binance-futures", "BTCUSDT", "book_ticker"),
    ("binance-futures", "BTCUSDT", "book_snapshot_5"),
    ("binance", "BTCUSDT", "book_ticker"),
    ("binance", "BTCUSDT", "book_snapshot_5"),
]
BAR_TIMES = {
    Timeframe.S15: ["23:54:15", "23:56:30", "23:59:30", "23:59:45"],
    Timeframe.M1: ["23:54:00", "23:57:00", "23:59:00"],
}
FIRST_LEVEL = {
    "bids[0].price": "bid_price", "bids[0].amount": "bid_amount",
    "asks[0].price": "ask_price", "asks[0].amount": "ask_amount",
}  # fmt: skip
MOMENTS = ("timestamp", "local_timestamp")


def read(folder, venue, data_type, symbol):
    path = folder / venue / data_type / f"{DAY:%Y/%m/%d}" / f"{symbol}.csv.gz"
    return pl.read_csv(path).rename(FIRST_LEVEL, strict=False)


def inside_day(frame):
    return frame.filter(
        pl.col("timestamp").is_between(START, START + 86_400_000_000, closed="left")
    )


class Feed:
    """What the kernels say of an instrument's last minutes, and the rows for the reference."""

    def __init__(self, slow, trades, states):
        self.slow = slow
        ticks = in_total_order(trade_ticks(inside_day(trades), has_dense_ids=True))
        money = sizes(ticks, TERMS)
        top = top_ticks(states.select(TOP_COLUMNS), TERMS)
        kernels = TradeImpact(DayGrid(START)), RollCovariance(DayGrid(START)), SecondGrid(START)
        impact, roll, grid = kernels
        impact.add(ticks, money, top.take(top.is_normal))
        roll.add(ticks)
        grid.add_trades(ticks, money)
        grid.add_top(top_in_order(top_ticks(inside_day(states).select(TOP_COLUMNS), TERMS)))
        seconds, found = grid.finish(), impact.finish()
        self.days = [
            (found.spreads, EFFECTIVE_SPREADS),
            *((found.delayed[tag], features) for tag, features in DELAYED.items()),
            (roll.finish(), ROLL_SPREAD),
            (impact_regression_day(seconds, DayGrid(START)), IMPACT_REGRESSION),
            (realised_day(seconds, DayGrid(START)), REALISED),
        ]
        self.ticks, self.money = ticks, money
        columns = ticks.timestamp, ticks.local_timestamp, ticks.side, ticks.price, ticks.amount
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.trades = [slow.Trade(*row) for row in rows]
        columns = top.timestamp, top.local_timestamp, top.bid, top.ask
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.states = [slow.State(*row) for row in rows]
        self.in_time = sorted(self.states, key=lambda one: (one.at, one.arrived))

    def frame(self, timeframe):
        parts = [self.slow.with_columns(day, features, timeframe) for day, features in self.days]
        return pl.concat(parts, how="horizontal")

    def expected(self, low, high):
        slow = self.slow
        inside = [one for one in self.trades if low <= one.at < high]
        moments = range(low - slow.SECOND, high + 1, slow.SECOND)
        mids = slow.second_returns([slow.mid_at_second(self.in_time, moment) for moment in moments])
        prices = [slow.price_at_second(self.trades, moment) for moment in moments]
        seconds = [
            [one for one in inside if moment <= one.at < moment + slow.SECOND]
            for moment in range(low, high, slow.SECOND)
        ]
        return (
            slow.impact_columns(inside, self.states)
            | slow.roll_columns(inside, [one for one in self.trades if one.at < low])
            | slow.moment_columns(mids[1:], mids[0])
            | slow.trade_grid_columns(slow.second_returns(prices)[1:], mids[1:])
            | slow.joint_columns([], [])
            | slow.information_columns(mids[1:], seconds)
        )


@pytest.fixture(scope="module", params=FEEDS, ids="-".join)
def feed(request, slow, recorded):
    venue, symbol, book = request.param
    rows = (read(recorded, venue, data_type, symbol) for data_type in ("trades", book))
    return Feed(slow, *rows)


@pytest.mark.parametrize("timeframe", BAR_TIMES)
def test_bars_are_those_of_the_slow_reference(slow, feed, timeframe):
    frame = feed.frame(timeframe)
    for text in BAR_TIMES[timeframe]:
        time = dt.time.fromisoformat(text)
        second = time.hour * 3_600 + time.minute * 60 + time.second
        low = START + second * slow.SECOND
        expected = feed.expected(low, low + timeframe.us)
        slow.assert_row(frame, second * slow.SECOND // timeframe.us, expected)
        assert expected["effective_spread_bps"] is not None


def test_no_value_is_nan_and_the_numbers_make_sense(feed):
    frame = feed.frame(Timeframe.M1)[-5:]
    assert not any(
        frame[name].is_nan().any() for name in frame.columns if frame[name].dtype.is_float()
    )
    assert (frame["mid_matched_share"] > 0.99).all()
    # Spot's book ticker often overtakes the trade that changed the book: by arrival the mid has
    # then moved with the trade already, and the spread paid comes out small or negative.
    assert frame["effective_spread_bps"].is_between(-2, 8).all()
    assert frame["realized_volatility_annualised"].is_between(0.05, 3).all()
    # It has no exchange time either but the recorder's, whose clock is off by a second here: flow
    # and return are not of the same second, and the slope of single minutes can be negative.
    assert frame["kyle_lambda"].median() > 0


def test_toxicity_of_real_flow_is_that_of_the_slow_reference(slow, feed):
    volume = float(feed.money.base.sum()) / 130.37
    kernel = FlowToxicity(DayGrid(START), volume)
    kernel.add(feed.ticks, feed.money)
    found = slow.with_columns(kernel.finish(), FLOW_TOXICITY, Timeframe.S15)[FLOW_TOXICITY[0].name]
    expected = slow.toxicity(feed.trades, volume)
    np.testing.assert_allclose(found[-1], expected, rtol=1e-6)
