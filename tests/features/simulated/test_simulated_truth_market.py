"""On simulated files spread, order flow and realised variance are what the market was made from."""

from __future__ import annotations

import numpy as np
import pytest

from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.quotes import top_in_order, top_ticks
from tickhandler_dagster.market.bars.realised import realised_day
from tickhandler_dagster.market.bars.second_grid import SECONDS, SecondGrid
from tickhandler_dagster.market.bars.ticks import trade_ticks
from tickhandler_dagster.market.bars.top_book import TopBook
from tickhandler_dagster.market.bars.trade_impact import TradeImpact
from tickhandler_dagster.market.bars.units import sizes
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.sandbox.book import grid_step, mean_spread

MARKETS = [
    ("binance", "BTCUSDT"),
    ("binance-futures", "BTCUSDT"),
    ("okex-swap", "BTC-USDT-SWAP"),
    ("deribit", "ETH-PERPETUAL"),
]
FIVE_SECONDS = 5 * US_PER_SECOND
every_market = pytest.mark.parametrize("market", MARKETS, ids=":".join)


class Rows:
    """The quotes and trades of an instrument's day, by exchange time inside the day."""

    def __init__(self, simulated, venue, symbol):
        self.grid = DayGrid(simulated.start_us)
        self.listing = simulated.listing(venue, symbol)
        self.terms = simulated.terms(venue, symbol)
        self.quotes = self._today(
            top_ticks(simulated.rows(venue, DataType.QUOTES, symbol), self.terms)
        )
        self.trades = self._today(
            trade_ticks(simulated.rows(venue, DataType.TRADES, symbol), has_dense_ids=False)
        )

    def _today(self, ticks):
        is_today = (ticks.timestamp >= self.grid.start_us) & (ticks.timestamp < self.grid.end_us)
        return ticks.take(is_today)

    def top_book(self):
        kernel = TopBook(self.grid, self.terms, is_quote_feed=True)
        kernel.add(self.quotes)
        return kernel.finish().statistics

    def seconds(self):
        kernel = SecondGrid(self.grid.start_us)
        kernel.add_top(top_in_order(self.quotes))
        return kernel.finish()


@pytest.fixture(scope="module")
def rows_of(simulated):
    return {market: Rows(simulated, *market) for market in MARKETS}


@every_market
def test_the_quoted_spread_is_the_one_that_books_are_made_with(rows_of, market):
    rows = rows_of[market]
    found = rows.top_book()
    mean = found["spread_abs_us"].sum() / found["quote_normal_us"].sum()
    # 7,500 to 14,000 independent draws of a spread as wide as its mean, weighted by their time.
    assert mean == pytest.approx(mean_spread(rows.listing), rel=0.03)


@every_market
def test_the_effective_spread_is_the_distance_of_the_fills_from_the_book_they_hit(
    simulated, rows_of, market
):
    rows = rows_of[market]
    trades = in_total_order(rows.trades)
    kernel = TradeImpact(rows.grid)
    kernel.add(trades, sizes(trades, rows.terms), rows.quotes)
    found = kernel.finish().spreads.statistics
    effective = found["effective_spread_sum"].sum() / found["mid_matched_notional"].sum()

    day = simulated.simulator.day(rows.listing, simulated.day)
    tape, book = day.tape, day.book
    state = np.searchsorted(book.times, tape.times, side="right") - 1
    middle = (book.bids[state] + book.asks[state]) / 2
    away = np.where(tape.is_buy, tape.levels - middle, middle - tape.levels)
    seen = rows.quotes.local_timestamp
    quote = seen[np.maximum(np.searchsorted(seen, tape.arrivals) - 1, 0)]
    counts = (tape.arrivals - quote <= FIVE_SECONDS) & (tape.arrivals > quote)
    counts &= (tape.times >= rows.grid.start_us) & (tape.times < rows.grid.end_us)
    amounts, prices = book.amounts(tape.lots), book.prices(tape.levels)
    money = (amounts if rows.terms.is_inverse else amounts * prices) * counts
    truth = (money * 2e4 * away / middle).sum() / money.sum()
    assert effective == pytest.approx(truth, rel=1e-6)
    # Never less than the quoted spread: each fill is at the best level or, in a sweep, behind it.
    quoted = 1e4 * mean_spread(rows.listing) / (grid_step(rows.listing) * np.median(middle))
    assert 0.97 * quoted < effective < 2 * quoted


@every_market
def test_order_flow_goes_with_the_price(rows_of, market):
    rows = rows_of[market]
    minutes = rows.top_book()["ofi"].reshape(-1, 4).sum(axis=1)
    moves = np.diff(np.log(rows.seconds().mids[::60]))
    known = ~np.isnan(moves) & (moves != 0) & (minutes != 0)
    assert known.sum() > 1_000
    flows, moves = minutes[known], moves[known]
    # Amounts at a level are drawn anew without regard to the price: the tie is not a perfect one.
    assert np.corrcoef(flows, moves)[0, 1] > 0.4
    assert (np.sign(flows) == np.sign(moves)).mean() > 0.7


@every_market
def test_realised_variance_is_that_of_the_hidden_path(simulated, rows_of, market):
    rows = rows_of[market]
    seconds = rows.seconds()
    found = realised_day(seconds, rows.grid).statistics["mid_return_square_sum"].sum()
    edges = rows.grid.start_us + np.arange(SECONDS + 1) * US_PER_SECOND
    base = rows.listing.base

    path = simulated.latent.log_price(base, edges)
    # The path is a straight line inside a second and the book moves every few seconds: an end
    # between two corners cuts a third of a second's variance off each of those spans.
    assert found == pytest.approx(np.square(np.diff(path)).sum(), rel=0.1)

    stamps = top_in_order(rows.quotes).timestamp
    before = np.searchsorted(stamps, edges) - 1
    seen = simulated.latent.log_price(base, stamps[np.maximum(before, 0)])
    # What is left is the price grid: each mid is rounded to half a step of half a basis point.
    assert found == pytest.approx(np.square(np.diff(seen)).sum(), rel=0.03)
