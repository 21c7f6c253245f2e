"""A backlog is made round by round: the same bars, and an end that does not wait for all of it."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming import venue as venue_module
from tickhandler_dagster.streaming.venue import VenueOptions

BTC = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
ETH = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
KEY = ["instrument_key", "timeframe", "ts_open", "revision"]
FEW = VenueOptions(moments=3, timeframes=(Timeframe.S15, Timeframe.M1))
LENGTH = 200


def publications(lab):
    """What was published of moments that rows alone closed."""
    end = lab.lab.at(lab.lab.one, 3_600 + LENGTH - 60)
    bars = pl.concat([batch.bars for batch in lab.sink.batches])
    return bars.filter(pl.col("ts_close") <= end).drop("published_at").sort(KEY)


def moments(batches, stage):
    small = [one.bars for one in batches if one.timeframe is Timeframe.S15]
    return {
        moment
        for bars in small
        for moment in bars.filter(pl.col("stage") == stage)["ts_open"].to_list()
    }


@pytest.fixture
def paced(make_live_lab):
    live = make_live_lab("paced")
    live.trade(BTC, length=LENGTH)
    live.play(live.engine(venue=FEW))
    return publications(live)


@pytest.fixture
def backlog(make_live_lab):
    """A feed all of whose rows are there before the engine is."""
    live = make_live_lab("backlog")
    live.trade(BTC, length=LENGTH)
    live.append(0, 2**60)
    return live


def finish(engine):
    """Let an engine make all that is due."""
    engine.step()
    while engine.is_behind:
        engine.step()


def test_a_round_makes_so_many_moments_and_all_rounds_make_what_was_due(paced, backlog):
    engine = backlog.engine(venue=FEW)
    rounds = 0
    while rounds == 0 or engine.is_behind:
        before = len(backlog.sink.batches)
        engine.step()
        rounds += 1
        made = backlog.sink.batches[before:]
        assert len(moments(made, "provisional")) <= 3
        assert len(moments(made, "complete")) <= 3
    assert rounds >= LENGTH / 15 / 3
    assert_frame_equal(publications(backlog), paced)


def test_nothing_more_is_read_while_a_backlog_is_made(backlog):
    engine = backlog.engine(venue=FEW)
    rows = engine.step().feeds[0].rows
    assert engine.is_behind
    late = {name: frame.tail(1) for name, frame in backlog.rows.items()}
    for data_type, frame in late.items():
        backlog.writer.append(backlog.lab.venue, data_type, frame)
    assert engine.step().feeds[0].rows == rows
    finish(engine)
    assert engine.step().feeds[0].rows == {name: count + 1 for name, count in rows.items()}


def test_time_that_a_backlog_takes_closes_no_bar_whose_rows_are_not_read(backlog):
    engine = backlog.engine(venue=FEW)
    rounds = 1
    while engine.step() and engine.is_behind:
        backlog.clock.us += 20_000_000
        rounds += 1
    assert rounds > 3
    rows = backlog.rows.values()
    newest = max(frame["timestamp"].max() for frame in rows)
    assert backlog.sink.bars()["ts_close"].max() <= newest


def test_the_more_instruments_the_fewer_moments_a_round_makes(make_live_lab, monkeypatch):
    monkeypatch.setattr(venue_module, "WINDOWS", 5)
    live = make_live_lab("two")
    live.trade(BTC, ETH, length=80)
    live.append(0, 2**60)
    engine = live.engine(venue=FEW)
    engine.step()
    assert len(moments(live.sink.batches, "provisional")) == 2
    assert engine.is_behind


def test_who_is_told_to_end_in_a_backlog_ends_after_the_round_and_the_next_goes_on(paced, backlog):
    stop = threading.Event()
    publish = backlog.sink.publish

    def stopping(batches):
        stop.set()
        publish(batches)

    backlog.sink.publish = stopping
    engine = backlog.engine(venue=FEW)
    engine.run(stop)
    assert engine.is_behind
    assert len(moments(backlog.sink.batches, "provisional")) == 3
    assert backlog.sink.flushes == 1
    backlog.sink.publish = publish
    finish(backlog.engine(venue=FEW))
    assert_frame_equal(publications(backlog), paced)
