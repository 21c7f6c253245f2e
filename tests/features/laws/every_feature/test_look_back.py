"""Rows further back than a column says it looks do not matter to it: live stands on that."""

from __future__ import annotations

import dataclasses
from functools import cache

import polars as pl
import pytest

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.live.parity_columns import BY_LOOK_BACK, COMPARED
from tickhandler_dagster.market.timeframes import Timeframe

# Seconds of the day from and up to which rows are lost: up to a bar's open in a busy stretch, in a
# burst, before a calm of fifteen minutes, and where one trade comes in about 25 s.
LOST = ((41_700.4, 41_760), (42_290, 42_371.017), (45_930.5, 46_000), (57_000, 57_610))
SOME = (Timeframe.S15, Timeframe.M1, Timeframe.M15, Timeframe.H1)


@pytest.fixture(scope="module")
def lossy(bars):
    """Bars of a market that rows of a stretch are missing from."""

    @cache
    def build(start_s, end_s):
        start, end = (bars.start_us + round(one * US_PER_SECOND) for one in (start_s, end_s))
        moment = pl.col("local_timestamp").to_physical()
        lost = moment.is_between(start, end, closed="left") & (
            pl.col("timestamp").to_physical() < end
        )
        markets = dataclasses.replace(
            bars.markets, own=bars.markets.own.changed(lambda frame: frame.filter(~lost))
        )
        return bars.of(markets, timeframes=SOME)

    return build


def joined(whole, lossy, end_us):
    """Bars of both that open after the loss, how long after, and the trades since."""
    names = [name for name in COMPARED if name in whole.columns]
    since = pl.col("ts_open").to_physical() - end_us
    return (
        whole.select("ts_open", *names)
        .join(lossy.select("ts_open", pl.col(names).name.suffix(" lossy")), on="ts_open")
        .filter(since >= 0)
        .with_columns(
            since_us=since,
            trades_since=pl.col("trade_count").fill_null(0).cum_sum().shift(1, fill_value=0),
        )
    )


def reaches(timeframe, column):
    """Whether the loss is near enough to matter to the column."""
    found = pl.lit(value=False)
    for look_back, names in BY_LOOK_BACK.items():
        if column in names:
            limit = max(look_back.us, look_back.bars * timeframe.us)
            found = found | look_back.is_unlimited | (pl.col("since_us") < limit)
            found = found | (pl.col("trades_since") < look_back.trades)
    return found


def out_of_reach(both, timeframe):
    """Columns that differ where they do not look as far back as the loss, with the first bar."""
    found = {}
    for name in COMPARED:
        if name in both.columns:
            differs = pl.col(name).ne_missing(pl.col(f"{name} lossy"))
            wrong = both.filter(differs & ~reaches(timeframe, name))
            if wrong.height:
                found[name] = wrong.select("ts_open", name, f"{name} lossy").row(0)
    return found


@pytest.mark.parametrize("lost", LOST, ids=str)
@pytest.mark.parametrize("timeframe", SOME, ids=str)
def test_what_was_lost_further_back_than_a_column_looks_does_not_change_it(
    bars, lossy, timeframe, lost
):
    end_us = bars.start_us + round(lost[1] * US_PER_SECOND)
    both = joined(bars.plain()[timeframe], lossy(*lost)[timeframe], end_us)
    assert both.height > 3
    assert out_of_reach(both, timeframe) == {}


def test_the_losses_show_in_columns_of_every_look_back(bars, lossy):
    """The law would prove nothing of a look-back that no loss reaches."""
    seen = set()
    for lost in LOST:
        end_us = bars.start_us + round(lost[1] * US_PER_SECOND)
        for timeframe, frame in lossy(*lost).items():
            both = joined(bars.plain()[timeframe], frame, end_us)
            names = [name for name in COMPARED if name in both.columns]
            differ = both.select(pl.col(n).ne_missing(pl.col(f"{n} lossy")).any() for n in names)
            seen |= {name for name, does in differ.row(0, named=True).items() if does}
    # the option surface is made elsewhere and given to the bars
    made = {name for name, one in FEATURES.items() if Channel.OPTIONS not in one.inputs}
    unseen = [one.text for one, names in BY_LOOK_BACK.items() if names & made and not names & seen]
    assert unseen == []
