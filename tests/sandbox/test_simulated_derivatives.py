"""Laws of funding, open interest, liquidations and the option chain."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.options.black76 import (
    OptionState,
    greeks,
    implied_volatility,
    premium,
)

EIGHT_HOURS = US_PER_DAY // 3
PERPETUALS = [
    ("binance-futures", "BTCUSDT"),
    ("binance-delivery", "BTCUSD_PERP"),
    ("bybit", "BTCUSD"),
    ("okex-swap", "ETH-USDT-SWAP"),
    ("bitmex", "XBTUSD"),
]


def _state(forward, strike, years, *, is_call):
    return OptionState(*(np.array([value]) for value in (forward, strike, years, is_call)))


OPTIONS = st.tuples(st.floats(0.7, 1.4), st.floats(0.01, 1.0), st.floats(0.3, 1.5))


@given(OPTIONS)
def test_put_and_call_are_a_forward_apart(terms):
    moneyness, years, volatility = terms
    states = [_state(60_000.0, 60_000.0 * moneyness, years, is_call=flag) for flag in (True, False)]
    call, put = (premium(state, np.array([volatility]))[0] for state in states)
    assert call - put == pytest.approx(60_000 * (1 - moneyness), abs=1e-6)
    deltas = [greeks(state, np.array([volatility])).delta[0] for state in states]
    assert deltas[0] - deltas[1] == pytest.approx(1)


@given(OPTIONS)
def test_the_implied_volatility_of_a_premium_gives_the_premium_back(terms):
    moneyness, years, volatility = terms
    state = _state(1.0, moneyness, years, is_call=True)
    price = premium(state, np.array([volatility]))
    implied = implied_volatility(state, price)
    if np.isnan(implied[0]):
        assert price[0] - state.intrinsic[0] < 1e-6
    else:
        assert premium(state, implied)[0] == pytest.approx(price[0], abs=1e-9)


@pytest.mark.parametrize(("venue", "percent"), [("deribit", 100.0), ("okex-options", 1.0)])
def test_marks_are_the_formula_at_the_marked_volatility(market, day, venue, percent):
    chain = market.rows(venue, DataType.OPTIONS_CHAIN, day, "OPTIONS")
    chain = chain.filter(~pl.col("symbol").str.starts_with("XRP"))
    state = OptionState(
        forward=chain["underlying_price"].to_numpy(),
        strike=chain["strike_price"].to_numpy(),
        years=(chain["expiration"] - chain["timestamp"]).to_numpy() / (365 * US_PER_DAY),
        is_call=(chain["type"] == "call").to_numpy(),
    )
    model = premium(state, chain["mark_iv"].to_numpy() / percent) / state.forward
    assert np.abs(model - chain["mark_price"].to_numpy()).max() < 5e-5
    assert chain["mark_iv"].is_between(0.15 * percent, 2 * percent).all()


def test_the_chain_quotes_each_options_own_book(market, day):
    chain = market.rows("deribit", DataType.OPTIONS_CHAIN, day, "OPTIONS")
    quotes = market.rows("deribit", DataType.QUOTES, day, "OPTIONS")
    names = ["bid_price", "bid_amount", "ask_price", "ask_amount"]
    joined = quotes.join(
        chain.select("symbol", "local_timestamp", *names),
        on=["symbol", "local_timestamp"],
        how="left",
        suffix="_chain",
    )
    for name in names:
        assert joined[name].equals(joined[f"{name}_chain"].alias(name), null_equal=True)


def test_volatilities_are_ordered_like_the_quotes(market, day):
    chain = market.rows("deribit", DataType.OPTIONS_CHAIN, day, "OPTIONS").drop_nulls(
        ["bid_iv", "ask_iv"]
    )
    assert chain.height > 100
    assert (chain["bid_iv"] < chain["ask_iv"]).all()


def test_only_deribit_gives_rho_and_deribit_alone_counts_percent(market, day):
    deribit, okex = (
        market.rows(venue, DataType.OPTIONS_CHAIN, day, "OPTIONS")
        for venue in ("deribit", "okex-options")
    )
    assert deribit["rho"].null_count() == 0
    assert okex["rho"].null_count() == okex.height
    assert deribit["mark_iv"].min() > 5 > okex["mark_iv"].max()
    assert set(okex["underlying_index"]) == {"BTC-USD", "ETH-USD"}


def test_the_forward_of_options_is_the_price_of_the_future(market, day):
    future = market.listing("deribit", "BTC-27SEP24")
    fair = market.simulator._days.fair
    times = np.arange(1_723_100_000_000_000, 1_723_110_000_000_000, 10**9)
    basis = np.log(fair.mid(future, times) / fair.index(future, times))
    assert (basis > 0).all()
    near_expiry = np.array([future.expiry_us - 3_600_000_000])
    at_end = np.log(fair.mid(future, near_expiry) / fair.index(future, near_expiry))
    assert at_end[0] < basis.min() / 100


@pytest.mark.parametrize(("venue", "symbol"), PERPETUALS)
def test_funding_is_due_at_the_next_eighth_hour(market, day, venue, symbol):
    ticker = market.rows(venue, DataType.DERIVATIVE_TICKER, day, symbol)
    due = ticker["funding_timestamp"]
    assert (due % EIGHT_HOURS == 0).all()
    assert (due - ticker["timestamp"]).is_between(0, EIGHT_HOURS).all()
    assert ticker["funding_rate"].abs().max() < 0.01
    assert (
        ticker.group_by("funding_timestamp")
        .agg(pl.col("funding_rate").n_unique())["funding_rate"]
        .to_list()
        == [1] * due.n_unique()
    )
    assert (ticker["open_interest"].drop_nulls() > 0).all()
    assert ((ticker["mark_price"] / ticker["index_price"]).log().abs() < 0.002).all()


def test_tickers_of_hyperliquid_have_no_exchange_time(market, day):
    ticker = market.rows("hyperliquid", DataType.DERIVATIVE_TICKER, day, "BTC")
    assert ticker.height > 10
    assert ticker["timestamp"].equals(ticker["local_timestamp"].alias("timestamp"))


def test_each_venue_leaves_out_what_it_does_not_publish(market, day):
    def empty(venue, symbol):
        ticker = market.rows(venue, DataType.DERIVATIVE_TICKER, day, symbol)
        return {name for name in ticker.columns[4:8] if ticker[name].null_count() == ticker.height}

    predicted = "predicted_funding_rate"
    assert empty("deribit", "BTC-PERPETUAL") == {"funding_timestamp", predicted}
    assert empty("hyperliquid", "BTC") == {"funding_timestamp", predicted}
    assert empty("okex-swap", "BTC-USDT-SWAP") == set()
    assert empty("bybit", "BTCUSDT") == {predicted}
    assert empty("okex-futures", "BTC-USD-240927") == {
        "funding_timestamp",
        "funding_rate",
        predicted,
    }


def test_longs_are_liquidated_in_falls_and_shorts_in_rises(market, day):
    forced = market.rows("okex-swap", DataType.LIQUIDATIONS, day, "BTC-USDT-SWAP")
    fair = market.simulator._days.fair
    listing = market.listing("okex-swap", "BTC-USDT-SWAP")
    times = forced["timestamp"].to_numpy()
    moves = fair.index(listing, times) - fair.index(listing, times - 60_000_000)
    assert forced.height > 3
    assert set(forced["id"]) == {None}
    agrees = (moves > 0) == (forced["side"] == "buy").to_numpy()
    assert agrees.mean() > 0.9


def test_deribits_liquidations_are_trades_of_its_tape(market, day):
    trades = market.rows("deribit", DataType.TRADES, day, "BTC-PERPETUAL")
    forced = market.rows("deribit", DataType.LIQUIDATIONS, day, "BTC-PERPETUAL")
    assert forced.height > 3
    assert forced.join(trades, on=forced.columns, how="semi").height == forced.height
