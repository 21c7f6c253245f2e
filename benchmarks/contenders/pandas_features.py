"""pandas as one would write it: a stated part of the features, vectorised, from three files.

What it computes: prices, volumes, imbalance and delays of trades; the book at the bar's end;
time-weighted spread; order flow imbalance; effective spread by `merge_asof`; realised variance of
one-second mids; the last derivative ticker. What it does not, and this project does: the other
five sixths of the columns, quantiles apart from the median of the delays, the total order of rows,
crossed and one-sided books, ages and gaps, the day's neighbours, when each bar was known, status,
provenance, versions and conservation.

Rows are taken to be in order, every book to be two-sided with five levels, and every state of the
book to hold until the next.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet  # noqa: F401  (pandas would load it inside the measured time)
from job import Job
from timeframes import COMPARED, SECONDS

LIBRARY = "pandas"

_LEVELS = range(1, 6)
_BASE = f"{min(SECONDS.values())}s"
_UNIT = "us"  # of the files; two units in one index cost pandas 2 its time type
_JOIN_AGE = pd.Timedelta(seconds=5)
_TICKER_AGE = pd.Timedelta(minutes=10)
_TRADES = ["timestamp", "local_timestamp", "side", "price", "amount"]
_BOOK = [
    "timestamp",
    "local_timestamp",
    *(
        f"{side}_{field}_{level}"
        for side in ("bid", "ask")
        for field in ("price", "volume")
        for level in _LEVELS
    ),
]
_TICKER = ["funding_rate", "open_interest", "index_price", "mark_price"]


def features(job: Job) -> None:
    """All timeframes, each from the ticks."""
    trades = pd.read_parquet(job.ticks, columns=_TRADES)
    book = pd.read_parquet(job.channels["book_snapshot_5"], columns=_BOOK)
    ticker = pd.read_parquet(
        job.channels["derivative_ticker"], columns=["timestamp", "local_timestamp", *_TICKER]
    )
    book = _states(book)
    trades = _with_spreads(_signed(trades), book)
    seconds = _second_returns(book)
    held = _held(book)
    for name, width in SECONDS.items():
        every = f"{width}s"
        bars = _trade_bars(trades, every).join(_book_bars(book, every))
        bars = bars.join(_held_bars(held, every)).join(_realised(seconds, every))
        bars = bars.join(_ticker_bars(ticker, bars.index, every))
        bars.rename_axis("ts_open").reset_index().to_parquet(
            job.folder / f"{name}.parquet", compression="zstd", index=False
        )


def result_features(job: Job) -> Path:
    """The bars of one minute."""
    return job.folder / f"{COMPARED}.parquet"


def _signed(trades: pd.DataFrame) -> pd.DataFrame:
    sign = np.select([trades["side"] == "buy", trades["side"] == "sell"], [1.0, -1.0], 0.0)
    amount = trades["amount"]
    return trades.assign(
        sign=sign,
        notional=trades["price"] * amount,
        buy=amount.where(sign > 0, 0.0),
        sell=amount.where(sign < 0, 0.0),
        delay_ms=(trades["local_timestamp"] - trades["timestamp"]).dt.total_seconds() * 1e3,
    )


def _states(book: pd.DataFrame) -> pd.DataFrame:
    bid, ask = book["bid_price_1"], book["ask_price_1"]
    bids, asks = book["bid_volume_1"], book["ask_volume_1"]
    came = (bid >= bid.shift()) * bids - (ask <= ask.shift()) * asks
    went = (bid <= bid.shift()) * bids.shift() - (ask >= ask.shift()) * asks.shift()
    mid = (bid + ask) / 2
    return book.assign(
        mid_price=mid,
        spread_bps=(ask - bid) / mid * 1e4,
        ofi_snap_1=came - went,
        total_bid_volume=book[[f"bid_volume_{level}" for level in _LEVELS]].sum(axis=1),
        total_ask_volume=book[[f"ask_volume_{level}" for level in _LEVELS]].sum(axis=1),
    )


def _with_spreads(trades: pd.DataFrame, book: pd.DataFrame) -> pd.DataFrame:
    """Trades with twice the signed distance from the last mid that arrived before them, in bps."""
    joined = pd.merge_asof(
        trades,
        book[["local_timestamp", "mid_price"]],
        on="local_timestamp",
        allow_exact_matches=False,
        tolerance=_JOIN_AGE,
    )
    mid = joined["mid_price"]
    spread = 2e4 * joined["sign"] * (joined["price"] - mid) / mid
    is_matched = spread.notna() & (joined["sign"] != 0)
    return joined.drop(columns="mid_price").assign(
        matched=joined["notional"].where(is_matched, 0.0),
        effective=(spread * joined["notional"]).where(is_matched, 0.0),
    )


def _second_returns(book: pd.DataFrame) -> pd.DataFrame:
    """Log returns of the mids at the ends of seconds, labelled by the second."""
    mids = book.set_index("timestamp")["mid_price"].resample("1s").last().ffill()
    returns = np.log(mids).diff()
    return pd.DataFrame({"square": returns**2, "known": returns.notna()})


def _held(book: pd.DataFrame) -> pd.DataFrame:
    """How long each state held, cut at the edges of the smallest bars."""
    spread = book.set_index("timestamp")["spread_bps"]
    spread = spread[~spread.index.duplicated(keep="last")]
    first, last = spread.index[0].ceil(_BASE), spread.index[-1].ceil(_BASE)
    edges = pd.date_range(first, last, freq=_BASE, unit=_UNIT)
    cut = spread.reindex(spread.index.union(edges)).ffill()
    held = pd.Series(cut.index, index=cut.index).diff().shift(-1).dt.total_seconds()
    return pd.DataFrame({"held": held, "area": cut * held}).iloc[:-1]


def _trade_bars(trades: pd.DataFrame, every: str) -> pd.DataFrame:
    bars = (
        trades.set_index("timestamp")
        .resample(every)
        .agg(
            open=("price", "first"),
            high=("price", "max"),
            low=("price", "min"),
            close=("price", "last"),
            trade_count=("price", "count"),
            volume=("amount", "sum"),
            notional=("notional", "sum"),
            buy_volume_sum=("buy", "sum"),
            sell_volume_sum=("sell", "sum"),
            delay_mean=("delay_ms", "mean"),
            delay_median=("delay_ms", "median"),
            delay_max=("delay_ms", "max"),
            delay_min=("delay_ms", "min"),
            matched=("matched", "sum"),
            effective=("effective", "sum"),
        )
    )
    buy, sell = bars["buy_volume_sum"], bars["sell_volume_sum"]
    return bars.assign(
        price_vwap=bars["notional"] / bars["volume"],
        size_avg=bars["volume"] / bars["trade_count"],
        trade_flow_imbalance=(buy - sell) / (buy + sell),
        effective_spread_bps=bars["effective"] / bars["matched"],
    ).drop(columns=["matched", "effective"])


def _book_bars(book: pd.DataFrame, every: str) -> pd.DataFrame:
    by_time = book.drop(columns="local_timestamp").set_index("timestamp")
    bars = by_time.resample(every)
    last = bars.last().ffill()
    bids, asks = last["total_bid_volume"], last["total_ask_volume"]
    return last.assign(
        ofi_snap_1=bars["ofi_snap_1"].sum(),
        spread_abs=last["ask_price_1"] - last["bid_price_1"],
        volume_imbalance=(bids - asks) / (bids + asks),
    )


def _held_bars(held: pd.DataFrame, every: str) -> pd.DataFrame:
    sums = held.resample(every).sum()
    return pd.DataFrame({"spread_tw_bps": sums["area"] / sums["held"]})


def _realised(seconds: pd.DataFrame, every: str) -> pd.DataFrame:
    bars = seconds.resample(every)
    return pd.DataFrame({"realized_variance": bars["square"].sum()})


def _ticker_bars(ticker: pd.DataFrame, opens: pd.Index, every: str) -> pd.DataFrame:
    """The last row that arrived before the bar's end."""
    ends = pd.DataFrame({"ends": (opens + pd.Timedelta(every)).as_unit(_UNIT)})
    last = pd.merge_asof(
        ends,
        ticker,
        left_on="ends",
        right_on="local_timestamp",
        allow_exact_matches=False,
        tolerance=_TICKER_AGE,
    )
    last.index = opens
    return last[_TICKER].assign(oi_change=last["open_interest"].diff())
