"""An instrument that is not listed has no bar live, as in the batch, and stops nobody else's."""

from __future__ import annotations

import time

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.completion import Completion

BTC = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
ETH = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
TRADES, BOOK, TICKER = DataType.TRADES, DataType.BOOK_SNAPSHOT_5, DataType.DERIVATIVE_TICKER
START = 3_600
LENGTH = 200
EXPIRED = {"expiry": 1_800}
LATER = {"available_from": 7_200}
"""Seconds after the day's start; rows come from `START` on."""


@pytest.fixture
def list_between(live_lab):
    """Let both trade, one of them listed as told: `list_between(expiry=..., trades=...)`."""
    lab = live_lab.lab

    def do(*, trades=(), **listed):
        live_lab.trade(BTC, start=START, length=LENGTH)
        moments = {name: lab.at(lab.one, seconds) for name, seconds in listed.items()}
        types = [name.value for name in (TRADES, BOOK, TICKER)]
        names = {"instrument_key": ETH, "tardis_symbol": "ETHUSDT", "base_asset": "ETH"}
        lab.listed.append(lab.instrument(data_types=types, **names, **moments))
        times = [START + 0.3 + number * 1.7 for number in range(int(LENGTH / 1.7))]
        frames = {
            TRADES: lab.trades(lab.one, *((t, 50 + t % 3, 2.0) for t in trades)),
            BOOK: lab.book(lab.one, *((t, 50 + t % 4) for t in times)),
            TICKER: lab.ticker(lab.one, *((t, 50 + t % 2) for t in times)),
        }
        for data_type, frame in frames.items():
            lab.put(lab.one, data_type, frame, key=ETH)
            live_lab.add(data_type, frame, symbol="ETHUSDT")
        return live_lab

    return do


def wait_for(completion, engine):
    """Take what other processes build until all of it is there."""
    end = time.monotonic() + 120
    while completion.pending and time.monotonic() < end:
        time.sleep(0.05)
        engine.step()
    engine.step()


def bars_of(live, key, timeframe=Timeframe.S15):
    found = live.sink.latest(timeframe)
    return found.filter(pl.col("instrument_key") == key)


@pytest.mark.parametrize("listed", [EXPIRED, LATER], ids=["expired", "listed later"])
def test_who_is_not_listed_has_no_bar_and_stops_nobody(list_between, differences, listed):
    live = list_between(**listed)
    completion = Completion(live.root / "spool")
    engine = live.engine(completer=completion)
    live.play(engine)
    wait_for(completion, engine)
    completion.close()
    for timeframe in (Timeframe.S15, Timeframe.M1):
        assert bars_of(live, ETH, timeframe).is_empty()
        assert bars_of(live, BTC, timeframe).height >= 3
    complete = bars_of(live, BTC).filter(pl.col("stage") == LiveStage.COMPLETE)
    assert complete.height >= 10
    assert differences(complete, live.batch(complete)) == {}


@pytest.mark.parametrize("restarts", [(), (3_610, 3_655, 3_710)], ids=["whole", "restarted"])
@pytest.mark.parametrize("listed", [{"expiry": 3_700}, {"available_from": 3_705}])
def test_bars_begin_and_end_with_the_listing_and_stand_on_what_was_before(
    list_between, differences, listed, restarts
):
    live = list_between(**listed)
    lab, since = live.lab, None
    for restart in (*restarts, None):
        until = None if restart is None else round(lab.at(lab.one, restart).timestamp()) * 10**6
        live.play(live.engine(), since_us=since, until_us=until)
        since = until
    complete = live.sink.latest().filter(pl.col("stage") == LiveStage.COMPLETE)
    batch = live.batch(complete)
    assert differences(complete, batch) == {}
    assert complete.height == batch.height
    assert 3 <= complete.filter(pl.col("instrument_key") == ETH).height < complete.height / 2


def test_who_trades_outside_the_listing_has_a_bar_where_it_trades(list_between, differences):
    live = list_between(**EXPIRED, trades=(3_650, 3_651, 3_652))
    completion = Completion(live.root / "spool")
    engine = live.engine(completer=completion)
    live.play(engine)
    wait_for(completion, engine)
    completion.close()
    complete = live.sink.latest().filter(pl.col("stage") == LiveStage.COMPLETE)
    assert complete.filter(pl.col("instrument_key") == ETH).height == 1
    assert differences(complete, live.batch(complete)) == {}
    (minute,) = bars_of(live, ETH, Timeframe.M1).rows(named=True)
    assert (minute["trade_count"], minute["revision"]) == (3, 2)


@pytest.mark.parametrize(("late_s", "stage"), [(12, LiveStage.COMPLETE), (100, LiveStage.AMENDED)])
def test_a_late_trade_outside_the_listing_makes_a_bar(list_between, late_s, stage):
    live = list_between(**EXPIRED, trades=(3_655,))
    arrival = pl.col("local_timestamp")
    later = arrival + pl.duration(seconds=late_s)
    is_late = pl.col("symbol") == "ETHUSDT"
    trades = live.rows[TRADES].with_columns(pl.when(is_late).then(later).otherwise(arrival))
    live.rows[TRADES] = trades.sort("local_timestamp")
    completion = Completion(live.root / "spool")
    engine = live.engine(completer=completion)
    live.play(engine)
    wait_for(completion, engine)
    completion.close()
    (bar,) = bars_of(live, ETH).rows(named=True)
    assert (bar["trade_count"], bar["revision"], bar["stage"]) == (1, 1, stage)
    (minute,) = bars_of(live, ETH, Timeframe.M1).rows(named=True)
    assert (minute["trade_count"], minute["revision"]) == (1, 1)
    assert minute["stage"] == LiveStage.COMPLETE
