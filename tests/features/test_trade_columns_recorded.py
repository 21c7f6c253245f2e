"""The trade columns of recorded feeds against polars, which knows nothing of our kernels."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.base import bar_statistics
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.rollup import rolled_up
from tickhandler_dagster.market.bars.ticks import trade_ticks
from tickhandler_dagster.market.bars.trade_memory import TradeMemory
from tickhandler_dagster.market.bars.trade_quality import TradeQuality
from tickhandler_dagster.market.bars.units import ContractTerms, sizes
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.features.family import DayGrid, family_columns
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.features.latency import LATENCY
from tickhandler_dagster.market.features.trades import DENSE_TRADES, TRADES
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

FEEDS = [
    ("binance", "2024/08/08/BTCUSDT"),
    ("binance", "2024/08/09/BTCUSDT"),
    ("binance-futures", "2024/08/08/BTCUSDT"),
    ("binance-futures", "2024/08/08/ETHUSDT"),
]
UNIT = ContractTerms(1.0)


@pytest.fixture(scope="module", params=FEEDS, ids="/".join)
def trades(request, recorded, slow_reader):
    """The recorded trades of one UTC day, in the total order of a venue that counts its ids."""
    venue, name = request.param
    data = (recorded / venue / "trades" / f"{name}.csv.gz").read_bytes()
    rows = slow_reader(data, DataType.TRADES).sort("timestamp", pl.col("id").cast(pl.Int64))
    first_day = rows["timestamp"].dt.truncate("1d")[0]
    return rows.filter(pl.col("timestamp").dt.truncate("1d") == first_day)


@pytest.fixture(scope="module")
def columns(trades):
    """Every entry of the two families, per timeframe, for the bars that have trades.

    The day before is remembered as having had the same trades.
    """
    ticks = in_total_order(trade_ticks(trades, has_dense_ids=True))
    true_sizes = sizes(ticks, UNIT)
    start = int(ticks.timestamp[0]) // US_PER_DAY * US_PER_DAY
    eve = TradeQuality(DayGrid(start - US_PER_DAY), has_known_units=True)
    eve.add(dataclasses.replace(ticks, timestamp=ticks.timestamp - US_PER_DAY), true_sizes)
    memory = TradeMemory().with_day(eve.tally().day(start - US_PER_DAY))
    quality = TradeQuality(DayGrid(start), has_known_units=True, has_dense_ids=True, memory=memory)
    quality.add(ticks, true_sizes)
    day = quality.finish()
    base = bar_statistics(ticks, true_sizes, BASE_TIMEFRAME, previous_us=None)
    return {timeframe: traded_bars(day, base, start, timeframe) for timeframe in Timeframe}


def traded_bars(day, base, start, timeframe):
    sparse = rolled_up(base, timeframe).frame()
    dense = pl.DataFrame(
        list(family_columns(day, (*LATENCY, *DENSE_TRADES), timeframe).values())
    ).with_columns(
        ts_open=pl.Series(DayGrid(start, timeframe).opens).cast(sparse.schema["ts_open"])
    )
    bars = sparse.join(dense, on="ts_open", how="left", maintain_order="left").with_columns(
        ts_close=pl.col("ts_open") + pl.duration(microseconds=timeframe.us),
        covered_us=pl.lit(timeframe.us, pl.Int64),
        last_trade="close_time",
    )
    waiting = [entry for entry in (*TRADES, *LATENCY) if entry.merge is Merge.DERIVED]
    while waiting:
        ready = [
            entry
            for entry in waiting
            if set(entry.expression.meta.root_names()) <= set(bars.columns)
        ]
        bars = bars.with_columns(entry.expression.alias(entry.name) for entry in ready)
        waiting = [entry for entry in waiting if entry not in ready]
    return bars


def by_polars(trades, timeframe):
    """The columns as a data scientist would write them down."""
    base, at = pl.col("amount"), pl.col("timestamp")
    delay_us = (pl.col("local_timestamp") - at).dt.total_microseconds()
    is_buy, is_sell = pl.col("side") == "buy", pl.col("side") == "sell"
    rows = trades.with_columns(
        bar=at.dt.truncate(f"{timeframe.us // US_PER_SECOND}s"),
        gap_ms=at.diff().dt.total_microseconds() / 1_000,
        delay_ms=delay_us / 1_000,
        signed=pl.when(is_buy).then(base).when(is_sell).then(-base).otherwise(0.0),
        is_early=pl.col("local_timestamp").diff() < pl.duration(),
        skipped=pl.col("id").cast(pl.Int64).diff() - 1,
        direction=pl.col("price").diff().sign().replace(0.0, None).forward_fill(),
        side_sign=pl.when(is_buy).then(1).when(is_sell).then(-1),
    ).with_columns(
        running=pl.col("signed").cum_sum().over("bar"),
        sweep=pl.struct("timestamp", "side").rle_id().over("bar"),
        agrees=(pl.col("side_sign") * pl.col("direction")).replace(0.0, None) > 0,
    )
    size, delay, gap = base, pl.col("delay_ms"), pl.col("gap_ms")
    count, gaps = pl.len(), gap.count()
    vwap = (pl.col("price") * base).sum() / base.sum()
    buy, sell = base.filter(is_buy).sum(), base.filter(is_sell).sum()
    closes = pl.col("bar").first() + pl.duration(microseconds=timeframe.us)

    def from_(minimum, value, number=count):
        return pl.when(number >= minimum).then(value)

    return rows.group_by("bar", maintain_order=True).agg(
        open=pl.col("price").first(),
        high=pl.col("price").max(),
        low=pl.col("price").min(),
        close=pl.col("price").last(),
        open_time=at.first(),
        close_time=at.last(),
        last_arrival=pl.col("local_timestamp").max(),
        trade_count=count,
        volume=base.sum(),
        notional=(pl.col("price") * base).sum(),
        amount_sum=base.sum(),
        price_vwap=vwap,
        buy_volume_sum=buy,
        sell_volume_sum=sell,
        unknown_volume_sum=base.sum() - buy - sell,
        trade_flow_imbalance=(buy - sell) / (buy + sell),
        delta=pl.col("signed").sum(),
        delta_max=pl.max_horizontal(pl.col("running").max(), 0.0),
        delta_min=pl.min_horizontal(pl.col("running").min(), 0.0),
        sweep_count=pl.col("sweep").n_unique(),
        sweep_size_avg=base.sum() / pl.col("sweep").n_unique(),
        size_avg=size.mean(),
        size_std=from_(2, size.std(ddof=0)),
        size_p50=size.median(),
        size_p90=from_(10, size.quantile(0.9, "linear")),
        size_p99=from_(100, size.quantile(0.99, "linear")),
        size_max=size.max(),
        size_hhi=(size / size.sum()).pow(2).sum(),
        trade_intensity_per_s=count / (timeframe.us / US_PER_SECOND),
        interarrival_count=gaps,
        interarrival_mean_ms=from_(2, gap.mean(), gaps),
        interarrival_cv=from_(2, gap.std(ddof=0) / gap.mean(), gaps),
        burstiness=from_(10, (gap.std(ddof=0) - gap.mean()) / (gap.std(ddof=0) + gap.mean()), gaps),
        time_since_last_trade_ms=(closes - at.last()).dt.total_microseconds() / 1_000,
        vwap_close_gap=(pl.col("price").last() / vwap).log(),
        delay_min=delay.min(),
        delay_max=delay.max(),
        delay_mean=delay.mean(),
        delay_median=delay.median(),
        delay_p95=from_(20, delay.quantile(0.95, "linear")),
        delay_p99=from_(100, delay.quantile(0.99, "linear")),
        delay_count=count,
        negative_delay_count=(delay < 0).sum(),
        negative_delay_share=(delay < 0).mean(),
        out_of_order_count=pl.col("is_early").sum(),
        id_gap_count=pl.col("skipped").clip(lower_bound=0).sum(),
        tick_rule_agree_count=pl.col("agrees").sum(),
        tick_rule_disagree_count=(~pl.col("agrees")).sum(),
        tick_rule_agreement=pl.col("agrees").mean(),
        late_count=(pl.col("local_timestamp") > closes + pl.duration(milliseconds=200)).sum(),
    )


CANCELLING = {"delta", "delta_max", "delta_min", "unknown_volume_sum", "size_std"}


@pytest.mark.parametrize("timeframe", Timeframe)
def test_the_recorded_trades_give_what_polars_gives(trades, columns, timeframe):
    expected, bars = by_polars(trades, timeframe), columns[timeframe]
    assert bars["ts_open"].to_list() == expected["bar"].to_list()
    for name in expected.columns[1:]:
        wanted, found = expected[name], bars[name]
        assert wanted.is_null().equals(found.is_null()), name
        if wanted.dtype.is_float():
            scale = expected["volume"].max() if name in CANCELLING else 1.0
            np.testing.assert_allclose(
                found.to_numpy(), wanted.to_numpy(), rtol=1e-9, atol=1e-10 * scale, err_msg=name
            )
        else:
            assert found.to_list() == wanted.to_list(), name


def test_the_threshold_is_the_quantile_of_the_day_before(trades, columns):
    notional = np.sort((trades["price"] * trades["amount"]).to_numpy())
    quantile = notional[int((len(notional) - 1) * 0.99)]
    day = columns[Timeframe.H24]
    threshold = day["large_trade_threshold"].item()
    assert threshold <= quantile < threshold * (1 + 1 / 128)
    large = trades.filter(pl.col("price") * pl.col("amount") >= threshold)["amount"].sum()
    assert day["large_trade_volume_sum"].item() == pytest.approx(large, rel=1e-9)
    assert day["large_trade_share"].item() == pytest.approx(large / trades["amount"].sum())
    assert 0.01 < large / trades["amount"].sum() < 1


def test_every_recorded_trade_has_a_negative_delay(trades, columns):
    day = columns[Timeframe.H24]
    assert day["negative_delay_count"].to_list() == [trades.height]
    assert day["negative_delay_share"].to_list() == [1.0]
    assert day["delay_max"].item() < -1_000


def test_the_clock_skew_is_the_rolling_minimum_of_the_minute_before(trades, columns):
    bars = columns[Timeframe.S15].select("ts_close", "clock_skew_ms")
    for closed, skew in bars.iter_rows():
        window = trades.filter(
            (pl.col("timestamp") < closed)
            & (pl.col("timestamp") >= closed - pl.duration(seconds=60))
        )
        least = (window["local_timestamp"] - window["timestamp"]).dt.total_microseconds().min()
        minute_of_day = closed.hour * 60 + closed.minute
        assert skew == (None if minute_of_day == 0 and closed.second else least / 1_000)
