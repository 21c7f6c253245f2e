"""An engine that is stopped anywhere publishes, when started again, what one never stopped does."""

from __future__ import annotations

import random

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType

KEYS = ("BINANCE-FUTURES:PERPETUAL:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:ETH-USDT")
KEY = ["instrument_key", "ts_open", "revision"]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the engine may catch it."""


class FatalSink:
    """Passes bars on and dies at the n-th call of anything."""

    def __init__(self, sink, calls):
        self.sink, self.calls = sink, calls

    def _count(self):
        self.calls -= 1
        if self.calls == 0:
            raise Killed

    def publish(self, batches):
        self._count()
        self.sink.publish(batches)
        self._count()

    def flush(self):
        self._count()
        self.sink.flush()


def values(bars):
    """What a publication says, without when; each key once, however often it came."""
    rows = bars.drop("published_at", "source_sha256").unique().sort(KEY)
    assert rows.select(KEY).is_duplicated().sum() == 0
    return rows


def play_with_kills(lab, seed):
    """Play a feed while engines die; every one after them takes over."""
    chance = random.Random(seed)
    lives = 0

    def engine():
        nonlocal lives
        lives += 1
        sink = FatalSink(lab.sink, chance.randrange(1, 12)) if lives < 9 else lab.sink
        return lab.engine(sink=sink)

    arrivals = [rows["local_timestamp"].to_physical() for rows in lab.rows.values()]
    now, end = min(one.min() for one in arrivals) - 1, max(one.max() for one in arrivals)
    alive = engine()
    while now < end + 200_000_000:  # a restart waits anew for a feed that is silent
        later = now + 2_500_000
        lab.append(now, later)
        now = lab.clock.us = later
        try:
            alive.step()
        except Killed:
            alive = engine()
            lab.clock.us += chance.randrange(0, 400_000)
    return lives


@pytest.mark.parametrize("seed", range(4))
def test_kills_change_nothing(live_lab, make_live_lab, seed):
    live_lab.trade(*KEYS, length=100)
    live_lab.play(live_lab.engine(), step_us=2_500_000, tail_us=70_000_000)
    other = make_live_lab("killed")
    other.rows = live_lab.rows
    assert play_with_kills(other, seed) > 3
    # after the feed's end only the clock closes bars, and a restart waits for it anew
    end = other.rows[DataType.TRADES]["timestamp"].max()
    expected, found = (
        values(one.sink.bars().filter(pl.col("ts_close") <= end)) for one in (live_lab, other)
    )
    complete = pl.col("stage") == "complete"
    assert expected.select(KEY).equals(found.select(KEY))
    assert (
        expected.filter(complete)
        .drop("rows_after_first")
        .equals(found.filter(complete).drop("rows_after_first"), null_equal=True)
    )


def test_bars_of_a_silent_feed_close_over_a_restart_as_without_one(live_lab):
    live_lab.trade(*KEYS, length=40)
    live_lab.play(live_lab.engine(), step_us=1_000_000, tail_us=5_000_000)
    live_lab.clock.us += 120_000_000
    engine = live_lab.engine()
    engine.step()
    newest = live_lab.sink.bars()["ts_close"].to_physical().max()
    assert 0 <= live_lab.clock.us - 1_000_000 - newest < 15_000_000
    assert engine.status().feeds[0].watermark_us <= live_lab.clock.us


def test_a_clock_that_was_set_closes_no_bars(live_lab):
    live_lab.trade(*KEYS, length=40)
    live_lab.play(live_lab.engine(), step_us=1_000_000, tail_us=5_000_000)
    before = live_lab.sink.bars()["ts_close"].max()
    live_lab.clock.us += 86_400_000_000
    live_lab.engine().step()
    assert live_lab.sink.bars()["ts_close"].max() == before


def test_clocks_that_disagree_are_said_once_and_told(live_lab, caplog):
    live_lab.trade(*KEYS, length=40)
    ahead = pl.col("timestamp") + pl.duration(milliseconds=400)
    live_lab.rows = {name: rows.with_columns(ahead) for name, rows in live_lab.rows.items()}
    engine = live_lab.engine()
    live_lab.play(engine)
    assert engine.status().feeds[0].skew_us == -400_000
    said = [record.message for record in caplog.records if "clock of this host" in record.message]
    assert len(said) == 1
    assert said[0].startswith("binance-futures: rows arrive 400 ms before they happen")
