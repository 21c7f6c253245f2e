"""Live bars are the batch's bars of the same ticks."""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.candle_table import PROVENANCE
from tickhandler_dagster.market.live.live_candle_table import (
    LIVE_CANDLE_TABLE,
    NOT_COMPARABLE,
    LiveStage,
)
from tickhandler_dagster.market.live.parity_columns import provisional_nulls
from tickhandler_dagster.market.timeframes import Timeframe


def test_complete_bars_are_the_batch_s_in_every_column(lab, live_lab, differences):
    live_lab.trade(lab.key)
    live_lab.play(live_lab.engine())
    live = live_lab.sink.latest()
    assert live.height >= 10
    assert set(live["stage"]) == {"provisional", "complete"}
    complete = live.filter(pl.col("stage") == LiveStage.COMPLETE)
    assert complete.height >= 10
    # the same arrivals here: elsewhere each recorder has its own, and publication hangs on them
    assert differences(complete, live_lab.batch(complete), "available_at") == {}


def test_all_that_is_not_compared_names_files_or_hangs_on_the_recorder():
    assert {*NOT_COMPARABLE} == {*PROVENANCE, "available_at"} - {"kernel_version"}


def test_provisional_bars_are_the_complete_ones_but_for_what_looks_ahead(lab, live_lab):
    live_lab.trade(lab.key)
    live_lab.play(live_lab.engine())
    bars = live_lab.sink.bars()
    ahead = provisional_nulls(Timeframe.S15)
    own = ["revision", "stage", "published_at", "rows_after_first", "bar_version"]
    same = [name for name in bars.columns if name not in {*ahead, *own}]
    first = bars.filter(pl.col("stage") == "provisional")
    last = bars.filter(pl.col("stage") == "complete").sort("ts_open")
    first = first.filter(pl.col("ts_open").is_in(last["ts_open"].implode())).sort("ts_open")
    assert first.select(same).equals(last.select(same), null_equal=True)
    assert (
        first.select(name for name in ahead if name in bars.columns)
        .null_count()
        .sum_horizontal()[0]
    )
    assert bars.schema == LIVE_CANDLE_TABLE.polars_schema
