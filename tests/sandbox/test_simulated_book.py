"""Laws of the simulated book: all views are of one book, and trades happen inside it."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType

BOOKS = [
    ("binance", "BTCUSDT"),
    ("binance-futures", "XRPUSDT"),
    ("deribit", "BTC-PERPETUAL"),
    ("deribit", "BTC-16AUG24-62000-C"),
    ("upbit", "KRW-BTC"),
    ("hyperliquid", "KPEPE"),
    ("bitmex", "ETHUSD"),
    ("coinbase", "ETH-USD"),
]


def _sides(row, depth):
    return {
        side: [
            (row[f"{side}s[{level}].price"], row[f"{side}s[{level}].amount"])
            for level in range(depth)
            if row[f"{side}s[{level}].price"] is not None
        ]
        for side in ("ask", "bid")
    }


def _replayed(updates):
    """The book after each message: a snapshot starts afresh, an amount of zero removes."""
    book = {"bid": {}, "ask": {}}
    was_snapshot = None
    for (arrival,), message in updates.group_by(["local_timestamp"], maintain_order=True):
        for flag, side, price, amount in message.select(
            "is_snapshot", "side", "price", "amount"
        ).iter_rows():
            if flag == "true" and was_snapshot != arrival:
                book, was_snapshot = {"bid": {}, "ask": {}}, arrival
            if amount:
                book[side][price] = amount
            else:
                del book[side][price]
        yield arrival, book


def _best(book, depth):
    return {
        "ask": sorted(book["ask"].items())[:depth],
        "bid": sorted(book["bid"].items(), reverse=True)[:depth],
    }


@pytest.mark.parametrize(("venue", "symbol"), BOOKS)
def test_replayed_updates_are_the_snapshots(market, day, venue, symbol):
    updates = market.rows(venue, DataType.INCREMENTAL_BOOK_L2, day, symbol)
    snapshots = market.rows(venue, DataType.BOOK_SNAPSHOT_25, day, symbol)
    by_arrival = {row["local_timestamp"]: row for row in snapshots.iter_rows(named=True)}
    assert len(by_arrival) == snapshots.height > 2
    current = None
    for arrival, book in _replayed(updates):
        current = by_arrival.pop(arrival, current)
        assert _best(book, 25) == _sides(current, 25)
    assert not by_arrival


@pytest.mark.parametrize(("venue", "symbol"), BOOKS)
def test_shallow_views_are_cut_from_the_deep_one(market, day, venue, symbol):
    deep = market.rows(venue, DataType.BOOK_SNAPSHOT_25, day, symbol)
    shallow = market.rows(venue, DataType.BOOK_SNAPSHOT_5, day, symbol)
    assert shallow.equals(
        deep.join(shallow, on="local_timestamp", how="semi").select(shallow.columns)
    )
    quotes = market.rows(venue, DataType.QUOTES, day, symbol)
    tops = quotes.join(deep, on="local_timestamp", how="left", maintain_order="left")
    for side in ("ask", "bid"):
        for field in ("price", "amount"):
            assert tops[f"{side}_{field}"].equals(
                tops[f"{side}s[0].{field}"].alias(f"{side}_{field}"), null_equal=True
            )


@pytest.mark.parametrize(("venue", "symbol"), BOOKS)
def test_books_are_ordered_and_never_crossed(market, day, venue, symbol):
    for row in market.rows(venue, DataType.BOOK_SNAPSHOT_25, day, symbol).iter_rows(named=True):
        sides = _sides(row, 25)
        asks, bids = ([price for price, _ in sides[side]] for side in ("ask", "bid"))
        assert asks == sorted(set(asks))
        assert bids == sorted(set(bids), reverse=True)
        assert not (asks and bids) or asks[0] > bids[0]
        assert all(amount > 0 for side in sides.values() for _, amount in side)


@pytest.mark.parametrize(("venue", "symbol"), BOOKS)
def test_a_trade_takes_what_the_book_before_it_shows(market, day, venue, symbol):
    trades = market.rows(venue, DataType.TRADES, day, symbol)
    books = market.rows(venue, DataType.BOOK_SNAPSHOT_5, day, symbol)
    joined = trades.join_asof(
        books.drop("exchange", "symbol", "timestamp"), on="local_timestamp", strategy="backward"
    )
    for row in joined.iter_rows(named=True):
        sides = _sides(row, 5)
        hit = {"buy": sides["ask"], "sell": sides["bid"]}
        shown = dict(hit[row["side"]] if row["side"] in hit else sides["ask"] + sides["bid"])
        assert row["price"] in shown, row
        assert 0 < row["amount"] <= shown[row["price"]] * (1 + 1e-12)


def test_a_sweep_walks_down_the_book_at_one_time(market, day):
    trades = market.rows("okex-swap", DataType.TRADES, day, "BTC-USDT-SWAP")
    sweeps = trades.group_by("local_timestamp", "side", maintain_order=True).agg(
        "price", "timestamp"
    )
    sweeps = sweeps.filter(pl.col("price").list.len() > 1)
    assert sweeps.height > 20
    for side, prices in sweeps.select("side", "price").iter_rows():
        assert prices == sorted(set(prices), reverse=side == "sell")
    assert (sweeps["timestamp"].list.n_unique() == 1).all()


def test_many_trades_share_a_millisecond_with_another_order(market, day):
    trades = market.rows("binance", DataType.TRADES, day, "BTCUSDT")
    assert trades["timestamp"].n_unique() < 0.8 * trades.height


def test_takers_lean_the_way_the_price_goes(market, day):
    trades = market.rows("binance", DataType.TRADES, day, "BTCUSDT")
    quotes = market.rows("binance", DataType.QUOTES, day, "BTCUSDT").with_columns(
        mid=(pl.col("ask_price") + pl.col("bid_price")) / 2, seen=pl.col("local_timestamp")
    )
    after = trades.with_columns(
        sign=pl.when(pl.col("side") == "buy").then(1).otherwise(-1),
        later=pl.col("local_timestamp") + 60_000_000,
    )
    now = after.join_asof(quotes.select("seen", "mid"), left_on="local_timestamp", right_on="seen")
    then = now.join_asof(
        quotes.select("seen", next_mid="mid"), left_on="later", right_on="seen", suffix="_next"
    )
    moves = then.select((pl.col("next_mid") / pl.col("mid")).log() * pl.col("sign")).to_series()
    assert moves.mean() > 0


def test_a_reconnect_shows_the_whole_book_again(market, day):
    updates = market.rows("binance", DataType.INCREMENTAL_BOOK_L2, day, "BTCUSDT")
    full = updates.filter(pl.col("is_snapshot") == "true")
    assert full["local_timestamp"].n_unique() == 2
    assert full["local_timestamp"][0] == updates["local_timestamp"][0]


def test_venues_without_updates_send_only_whole_books(market, day):
    for venue, symbol, depth in (("upbit", "KRW-BTC", 15), ("hyperliquid", "BTC", 20)):
        updates = market.rows(venue, DataType.INCREMENTAL_BOOK_L2, day, symbol)
        assert (updates["is_snapshot"] == "true").all()
        deep = market.rows(venue, DataType.BOOK_SNAPSHOT_25, day, symbol)
        assert deep[f"asks[{depth - 1}].price"].null_count() == 0
        assert deep[f"asks[{depth}].price"].null_count() == deep.height


def test_cheap_options_have_books_without_bids(market, day):
    quotes = market.rows("deribit", DataType.QUOTES, day, "OPTIONS")
    assert 0 < quotes["bid_price"].null_count() < quotes.height
    assert quotes["ask_price"].null_count() == 0


def test_spot_tickers_of_binance_have_no_exchange_time(market, day):
    ticker = market.rows("binance", DataType.BOOK_TICKER, day, "BTCUSDT")
    assert ticker["timestamp"].equals(ticker["local_timestamp"].alias("timestamp"))


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [
        ("okex-swap", "BTC-USDT-SWAP"),
        ("okex-swap", "BTC-USD-SWAP"),
        ("binance-delivery", "ETHUSD_PERP"),
        ("bitmex", "ETHUSD"),
        ("bitmex", "XBTUSDT"),
        ("deribit", "ETH-PERPETUAL"),
        ("upbit", "KRW-BTC"),
        ("hyperliquid", "BTC"),
    ],
)
def test_levels_are_worth_the_same_money_in_every_unit(market, day, venue, symbol):
    listing = market.listing(venue, symbol)
    book = market.rows(venue, DataType.BOOK_SNAPSHOT_5, day, symbol)
    usd = (
        listing.unit_usd(book["asks[0].price"].to_numpy(), day) * book["asks[0].amount"].to_numpy()
    )
    assert 0.25 < np.median(usd) / listing.activity.level_usd < 2


def test_amounts_change_with_the_terms_of_a_contract(market, day, event_day):
    listing = market.listing("okex-swap", "DOGE-USDT-SWAP")
    medians = [
        market.rows("okex-swap", DataType.QUOTES, one, "DOGE-USDT-SWAP")["ask_amount"].median()
        for one in (day, event_day)
    ]
    assert listing.multiplier_on(event_day) == 10 * listing.multiplier_on(day)
    assert 5 < medians[0] / medians[1] < 20


def test_prices_of_one_underlying_agree_everywhere(market, day):
    noon = 1_723_118_400_000_000
    mids = []
    for venue, symbol in (
        ("binance", "BTCUSDT"),
        ("deribit", "BTC-PERPETUAL"),
        ("bitmex", "XBTUSD"),
    ):
        quotes = market.rows(venue, DataType.QUOTES, day, symbol)
        last = quotes.filter(pl.col("local_timestamp") < noon).tail(1)
        mids.append((last["ask_price"][0] + last["bid_price"][0]) / 2)
    assert max(mids) / min(mids) < 1.004
    assert not any(math.isnan(mid) for mid in mids)
