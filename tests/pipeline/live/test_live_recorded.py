"""Recorded feeds through the live engine: the batch's bars of the same files."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candle_state import read_candle_states
from tickhandler_dagster.streaming.completion import Completion
from tickhandler_dagster.streaming.venue import VenueOptions

BOOK, TICKER, TRADES = DataType.BOOK_SNAPSHOT_5, DataType.BOOK_TICKER, DataType.TRADES


def recorded_rows(folder, venue, data_type, day, symbol):
    path = folder / f"{venue}/{data_type}/{day:%Y/%m/%d}/{symbol}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).partition(b"\n")[2]
    grammar = TickCsv(table=RAW_TABLES[data_type], venue=venue, symbol=symbol, subject=str(path))
    return grammar.parse(lines)


def memory_of(lab):
    """What the lake's states of the day before say."""
    known = {}

    def memory(date, key):
        if date not in known:
            before = VenueDay(date, lab.venue).shifted(-1)
            known[date] = read_candle_states(lab.lake, before)
        state = known[date].get(key)
        return None if state is None else DayMemory.from_json(state.memory)

    return memory


@pytest.fixture
def futures(lab, live_lab, recorded):
    """Two perpetuals, one of which the other is measured against; recorded minutes of a day."""
    types = ["trades", "book_snapshot_5", "book_ticker"]
    eth = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
    lab.listed = [
        lab.instrument(data_types=types),
        lab.instrument(
            data_types=types,
            instrument_key=eth,
            symbol="ETH-USDT",
            tardis_symbol="ETHUSDT",
            base_asset="ETH",
            tick_size=0.01,
        ),
    ]
    for row in lab.listed:
        for data_type in (TRADES, BOOK, TICKER):
            symbol = row["tardis_symbol"]
            rows = recorded_rows(recorded, lab.venue, data_type, lab.one, symbol)
            lab.put(lab.one, data_type, rows, key=row["instrument_key"])
            live_lab.add(data_type, rows, symbol=symbol)
    return live_lab


def test_recorded_futures_give_the_batch_s_bars(futures, lab, differences):
    both = (Timeframe.S15, Timeframe.M1)
    completion = Completion(futures.root / "spool")
    engine = futures.engine(venue=VenueOptions(timeframes=both), completer=completion)
    futures.play(engine, step_us=3_000_000, tail_us=5_000_000)
    completion.close()
    lab.build(timeframes=both)
    # the batch has no file of the day after, so that the last half minute cannot look ahead
    end = lab.at(lab.one, 86_400 - 30)
    for timeframe, bars in ((Timeframe.S15, 20), (Timeframe.M1, 4)):
        live = futures.sink.latest(timeframe).filter(pl.col("stage") == LiveStage.COMPLETE)
        first = live["ts_open"].min()
        live = live.filter((pl.col("ts_close") <= end) & (pl.col("ts_open") > first))
        assert live.height == 2 * bars
        keys = [row["instrument_key"] for row in lab.listed]
        batch = pl.concat([lab.bars(timeframe=timeframe, key=key) for key in keys])
        assert differences(live, batch) == {}, timeframe


@pytest.mark.parametrize("lab", [VenueId.BINANCE], indirect=True)
def test_recorded_spot_goes_on_over_midnight(lab, live_lab, recorded, differences):
    key = "BINANCE:SPOT_PAIR:BTC-USDT"
    lab.listed = [
        lab.instrument(
            data_types=["trades", "book_snapshot_5"],
            instrument_key=key,
            venue="binance",
            instrument_type="SPOT_PAIR",
            tick_size=0.01,
            settle_asset="USDT",
        )
    ]
    for data_type in (TRADES, BOOK):
        for day in (lab.one, lab.two):
            rows = recorded_rows(recorded, lab.venue, data_type, day, "BTCUSDT")
            lab.put(day, data_type, rows, key=key)
            live_lab.add(data_type, rows)
    lab.build(lab.one, timeframes=(Timeframe.S15,))
    lab.build(lab.two, timeframes=(Timeframe.S15,))
    live_lab.play(live_lab.engine(memory=memory_of(lab)), step_us=3_000_000, tail_us=5_000_000)
    live = live_lab.sink.latest().filter(pl.col("stage") == LiveStage.COMPLETE)
    live = live.filter(pl.col("ts_open") > live["ts_open"].min())
    assert live.height > 38
    batch = pl.concat([lab.bars(day, key=key) for day in (lab.one, lab.two)])
    assert differences(live, batch) == {}
