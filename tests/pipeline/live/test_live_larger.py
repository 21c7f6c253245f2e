"""Larger live bars: provisional at their end, complete from ticks, the batch's in the end."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.completion import Completion
from tickhandler_dagster.streaming.engine import CandleEngine, EngineOptions
from tickhandler_dagster.streaming.instruments import live_instruments

KEY = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"


def test_a_minute_is_published_twice_and_ends_as_the_batch_s(live_lab, differences):
    live_lab.trade(KEY, length=150)
    completion = Completion(live_lab.root / "spool")
    engine = CandleEngine(
        live_instruments(live_lab.lab.universe, live_lab.lab.venue, live_lab.types),
        live_lab.reader,
        [live_lab.sink],
        live_lab.clock,
        EngineOptions(checkpoints=live_lab.root / "state"),
        completer=completion,
    )
    live_lab.play(engine)
    completion.close()
    minutes = live_lab.sink.bars(Timeframe.M1)
    assert minutes.group_by("stage").len().sort("stage").rows() == [
        ("complete", 2),
        ("provisional", 3),
    ]
    complete = minutes.filter(pl.col("stage") == "complete")
    live_lab.lab.build(timeframes=(Timeframe.M1,))
    assert differences(complete, live_lab.lab.bars(timeframe=Timeframe.M1, key=KEY)) == {}


def test_a_backlog_is_published_as_it_would_have_been_at_the_time(make_live_lab):
    found = {}
    for name, step_us in (("paced", 5_000_000), ("at once", 2_000_000_000)):
        live = make_live_lab(name.replace(" ", "-"))
        live.trade(KEY, length=600)
        engine = live.engine()
        live.play(engine, step_us=step_us)
        live.clock.us += 60_000_000
        engine.step()
        publications = pl.concat([batch.bars for batch in live.sink.batches])
        key = ["instrument_key", "timeframe", "ts_open", "revision"]
        assert not publications.select(key).is_duplicated().any(), name
        bars = publications.filter(
            (pl.col("timeframe") != Timeframe.S15)
            & (pl.col("ts_close") <= live.lab.at(live.lab.one, 4_200))
        )
        found[name] = bars.drop("published_at").sort(key)
    assert found["paced"]["timeframe"].n_unique() >= 2
    assert_frame_equal(found["paced"], found["at once"])
