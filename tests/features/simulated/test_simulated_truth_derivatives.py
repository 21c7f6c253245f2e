"""On simulated files the ticker's and the liquidations' columns are what the market was made from.

The simulator's functions of time are the truth: each is evaluated at the exchange time of the row a
bar's state stands on, so that only the venue's rounding is left between the two.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from tickhandler_dagster.market.bars.liquidations import LiquidationsDay
from tickhandler_dagster.market.bars.ticker import DerivativeKind, TickerDay
from tickhandler_dagster.market.bars.ticker_ticks import ticker_ticks
from tickhandler_dagster.market.bars.ticks import trade_ticks
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid, rolled_up_column
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.sandbox.derivative_state import FUNDING_PERIOD_US, funding_rate
from tickhandler_dagster.sandbox.listing import Kind

PERPETUALS = [
    ("binance-futures", "BTCUSDT"),
    ("okex-swap", "BTC-USDT-SWAP"),
    ("okex-swap", "BTC-USD-SWAP"),
    ("binance-delivery", "BTCUSD_PERP"),
    ("deribit", "BTC-PERPETUAL"),
    ("bitmex", "XBTUSD"),
    ("bybit", "ETHUSDT"),
    ("hyperliquid", "BTC"),
]
WITHOUT_FUNDING_TIME = {"deribit", "hyperliquid"}
CALENDARS = [
    ("deribit", "BTC-27SEP24", "BTC-27DEC24"),
    ("okex-futures", "BTC-USDT-240927", "BTC-USDT-241227"),
    ("binance-delivery", "BTCUSD_240927", "BTCUSD_241227"),
]
SETTLED = 240
"""From this bar on (01:00) no state is the day before's."""


class Ticker:
    """An instrument's ticker: what the kernel says, and when its rows are from."""

    def __init__(self, simulated, venue, symbol, near=None):
        self.listing = simulated.listing(venue, symbol)
        terms = simulated.terms(venue, symbol)
        kind = DerivativeKind(
            is_inverse=terms.is_inverse,
            is_perpetual=self.listing.kind is Kind.PERPETUAL,
            expiry_us=self.listing.expiry_us,
        )
        day = TickerDay(DayGrid(simulated.start_us), kind, near=near)
        before = simulated.day - dt.timedelta(days=1)
        rows = simulated.rows(venue, DataType.DERIVATIVE_TICKER, symbol)
        day.prime(
            ticker_ticks(simulated.rows(venue, DataType.DERIVATIVE_TICKER, symbol, before), terms)
        )
        day.add(ticker_ticks(rows, terms))
        self.kernel = day
        self.columns = {name: values[SETTLED:] for name, values in day.finish().statistics.items()}
        self.closes = DayGrid(simulated.start_us).closes[SETTLED:]
        stamps, arrivals = (
            rows[name].to_physical().to_numpy() for name in ("timestamp", "local_timestamp")
        )
        self.stamps = stamps[np.searchsorted(arrivals, self.closes) - 1]

    def near(self, name, truth, *, rtol):
        """The column is the truth wherever it is known, and it is known nearly always."""
        known = ~np.isnan(self.columns[name])
        assert known.mean() > 0.95, name
        np.testing.assert_allclose(self.columns[name][known], truth[known], rtol=rtol, err_msg=name)


def tickers_of(simulated, cases):
    return [Ticker(simulated, *case) for case in cases]


@pytest.fixture(scope="module")
def perpetuals(simulated):
    return tickers_of(simulated, PERPETUALS)


def test_index_and_premium_are_those_of_the_fair_prices(simulated, perpetuals):
    for one in perpetuals:
        index = simulated.fair.index(one.listing, one.stamps)
        basis = simulated.fair.basis(one.listing, one.stamps)
        # Without an exchange time the row is some 50 ms younger than its prices.
        rtol = 2e-4 if one.listing.venue == "hyperliquid" else 2e-6
        one.near("index_price", index, rtol=rtol)
        one.near("mark_price", index * np.exp(basis), rtol=rtol)
        assert np.nanmax(np.abs(one.columns["perp_premium"] - np.expm1(basis))) < 2e-6


def test_funding_is_the_rate_of_the_next_eighth_hour(simulated, perpetuals):
    for one in perpetuals:
        following = (one.stamps // FUNDING_PERIOD_US + 1) * FUNDING_PERIOD_US
        one.near("funding_rate", funding_rate(simulated.fair, one.listing, following), rtol=0)
        found = one.columns
        if one.listing.venue in WITHOUT_FUNDING_TIME:
            assert np.isnan(found["funding_interval_h"]).all()
            assert np.isnan(found["funding_settled"]).all()
            continue
        one.near("next_funding_time", following, rtol=0)
        assert set(found["funding_interval_h"]) == {8.0}
        passed = funding_rate(simulated.fair, one.listing, following - FUNDING_PERIOD_US)
        one.near("funding_settled", passed, rtol=0)
        assert len(set(passed)) == 3


def test_open_interest_is_worth_the_same_money_in_every_unit(simulated, perpetuals):
    for one in perpetuals:
        listing = one.listing
        index = simulated.fair.index(listing, one.stamps)
        drift = simulated.fair.wave(one.stamps, "interest", listing.venue, listing.raw_id)
        calm = listing.reference_usd / listing.unit_quote_usd
        usd = 3 * listing.activity.trades * listing.activity.level_usd
        money = usd * np.exp(0.1 * drift) * np.sqrt(index / calm)
        # A lot is at most 100 USD of hundreds of millions, and index and mark are a basis apart.
        one.near("open_interest_notional", money, rtol=1e-3)
        one.near("open_interest", money / index, rtol=1e-3)


@pytest.mark.parametrize(("venue", "near_symbol", "far_symbol"), CALENDARS)
def test_dated_futures_carry_eight_percent_a_year(simulated, venue, near_symbol, far_symbol):
    near = Ticker(simulated, venue, near_symbol)
    far = Ticker(simulated, venue, far_symbol, near.kernel.mark_state())
    for one in (near, far):
        years = simulated.fair.years_left(one.listing, one.stamps)
        wave = simulated.fair.wave(one.stamps, "carry", one.listing.base)
        carry = 0.08 + 0.02 * wave
        one.near("futures_basis", np.expm1(carry * years), rtol=1e-3)
        # The time left is counted from the end of the bar, the price is a few minutes older.
        one.near("futures_basis_annualised", np.expm1(carry * years) / years, rtol=1e-3)
        found = one.columns["futures_basis_annualised"]
        assert np.nanmean(found) == pytest.approx(0.08, abs=0.02)
        assert np.isnan(one.columns["perp_premium"]).all()
        assert np.isnan(one.columns["funding_rate"]).all()
    apart = (far.listing.expiry_us - near.listing.expiry_us) / (365 * US_PER_DAY)
    spread = far.columns["calendar_spread"]
    truth = np.expm1((0.08 + 0.02 * wave) * apart)
    # Near and far are rows of different seconds, up to ten minutes apart.
    assert np.nanmedian(np.abs(spread / truth - 1)) < 0.05
    assert np.nanmean(far.columns["roll_yield_per_day"]) * 365 == pytest.approx(0.08, abs=0.02)
    assert np.isnan(near.columns["calendar_spread"]).all()


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("binance-futures", "BTCUSDT"), ("okex-swap", "BTC-USDT-SWAP"), ("deribit", "BTC-PERPETUAL")],
)
def test_forced_orders_go_with_the_move_of_the_minute(simulated, venue, symbol):
    kernel = LiquidationsDay(DayGrid(simulated.start_us), simulated.terms(venue, symbol))
    ticks = trade_ticks(simulated.rows(venue, DataType.LIQUIDATIONS, symbol), has_dense_ids=False)
    start, end = simulated.start_us, simulated.start_us + US_PER_DAY
    ticks = ticks.take((ticks.timestamp >= start) & (ticks.timestamp < end))
    kernel.add(ticks)
    found = kernel.finish().statistics
    listing = simulated.listing(venue, symbol)
    opens = DayGrid(simulated.start_us).opens
    # A forced order follows the minute before it; the bar's middle stands for its time.
    middle = opens + Timeframe.S15.us // 2
    move = simulated.fair.index(listing, middle) - simulated.fair.index(
        listing, middle - 60 * 10**6
    )
    net = found["liquidation_buy_volume"] - found["liquidation_sell_volume"]
    forced = net != 0
    assert forced.sum() > 40
    assert ((net > 0) == (move > 0))[forced].mean() > 0.9
    assert not found["liquidation_unknown_volume"].any()
    daily = rolled_up_column(found["liquidation_count"], Merge.SUM, Timeframe.H24)
    assert daily.tolist() == [len(ticks)]
