"""The same rows, the same bytes: however they are cut and stored, and what else counts as a row."""

from __future__ import annotations

import gzip
import io
import random

import polars as pl
import pytest

from tickhandler_dagster.adapters import parquet
from tickhandler_dagster.market.bars.versions import with_versions
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    CandleStateFile,
    QuarantinedRows,
)
from tickhandler_dagster.market.quality.row_rules import quarantine_table
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline import channel_reading
from tickhandler_dagster.sandbox.simulator import Simulator

TRADES, QUOTES = DataType.TRADES, DataType.QUOTES
FEW = (Timeframe.S15, Timeframe.H24)
COARSE = (Timeframe.H1, Timeframe.H24)


def candle_files(lab):
    """Bytes of the candle files alone; manifests name the raw files, which differ."""
    return {
        path: data
        for path, data in lab.written().items()
        if "timeframe-" in path and "_manifests" not in path
    }


@pytest.mark.parametrize(("group_rows", "cells"), [(20, 200), (50, 3_000_000)])
def test_however_the_day_is_cut_the_files_are_the_same(make_lab, monkeypatch, group_rows, cells):
    whole, cut = make_lab("whole"), make_lab("cut")
    for lab, rows in ((whole, 1_000_000), (cut, group_rows)):
        with monkeypatch.context() as patch:
            patch.setattr(parquet, "row_group_rows", lambda _, rows=rows: rows)
            for day in (lab.one, lab.two):
                lab.put_market(day, trades=400)
    for day in (whole.one, whole.two):
        whole.build(day)
    monkeypatch.setattr(channel_reading, "_SLICE_CELLS", cells)
    for day in (cut.one, cut.two):
        cut.build(day)
    assert candle_files(cut) == candle_files(whole)
    for day in (cut.one, cut.two):
        assert cut.state(day)["state_sha256"].equals(whole.state(day)["state_sha256"])
        assert cut.state(day)["memory"].equals(whole.state(day)["memory"])


def with_wild_clocks(frame, seed):
    """The rows with exchange times that lag, lead and jump by up to an hour."""
    chance = random.Random(seed)
    lags = [
        chance.choice((0.01, 0.01, 0.01, -1.3, chance.uniform(-30, 30), chance.uniform(-3e3, 3e3)))
        for _ in range(frame.height)
    ]
    lag = pl.Series([round(seconds * 1_000_000) for seconds in lags])
    return frame.with_columns(timestamp=pl.col("local_timestamp") - pl.duration(microseconds=lag))


@pytest.mark.parametrize("seed", [1, 2])
def test_however_wild_the_clocks_are_the_cut_of_the_day_leaves_no_trace(
    make_lab, monkeypatch, seed
):
    whole, cut = make_lab("whole"), make_lab("cut")
    for day in (whole.one, whole.two):
        for data_type, frame in whole.market(day, seed=seed, trades=300).items():
            wild = with_wild_clocks(frame, f"{seed} {day} {data_type}")
            whole.put(day, data_type, wild)
            with monkeypatch.context() as patch:
                patch.setattr(parquet, "row_group_rows", lambda _: 3 + 9 * seed)
                cut.put(day, data_type, wild)
    for day in (whole.one, whole.two):
        whole.build(day)
    monkeypatch.setattr(channel_reading, "_SLICE_CELLS", 100)
    for day in (cut.one, cut.two):
        cut.build(day)
    assert candle_files(cut) == candle_files(whole)
    used = sum(whole.day_bar(day)["trade_count"] for day in (whole.one, whole.two))
    assert 500 < used <= 600  # of 600 trades some are stamped on days before and after


@pytest.mark.parametrize("timeframe", [Timeframe.H24, Timeframe.H4])
def test_a_timeframe_alone_has_the_bytes_it_has_beside_the_others(make_lab, timeframe):
    alone, together = make_lab("alone"), make_lab("together")
    for lab in (alone, together):
        lab.put_market(lab.one)
    alone.build(timeframes=(timeframe,))
    together.build(timeframes=tuple(Timeframe))
    assert len(candle_files(alone)) == 1
    assert candle_files(alone).items() <= candle_files(together).items()


def test_two_lakes_hold_the_same_bytes(make_lab):
    labs = make_lab("first"), make_lab("second")
    for lab in labs:
        for day in (lab.one, lab.two):
            lab.put_market(day)
            lab.build(day)
    first, second = (lab.written() for lab in labs)
    assert len(first) == 2 * (2 * len(FEW) + 1)
    assert first == second


REPEATED = {"price": 100.0, "amount": 1.0, "side": "buy"}


def quarantine(lab, day, *moments, reason="duplicate_id"):
    """Rows kept out, as ingestion stores them, beside those that are there."""
    item, table = QuarantinedRows(day, TRADES, lab.key), quarantine_table(RAW_TABLES[TRADES])
    rows = [{"t": t, "arrival": arrival, "id": "7", **REPEATED} for t, arrival in moments]
    frame = lab.frame(TRADES, day, rows)
    frame = frame.with_columns(reason=pl.lit(reason), symbol=pl.lit("BTCUSDT")).select(table.names)
    there = lab.lake.read_table(item)
    lab.lake.write_table(item, frame if there is None else pl.concat([there, frame]), table)


def test_repeats_that_were_kept_out_are_counted_in_the_bar_they_are_stamped_in(lab):
    frame = lab.trades(lab.one, (10, 100, 1), (50, 100, 1))
    quarantine(lab, lab.one, (10, 10.5), (11, 40), (50, 50.1))
    quarantine(lab, lab.one, (12, 12.1), reason="not_positive")
    lab.put(lab.one, TRADES, frame, duplicate_rows=3, quarantined_rows=4)
    lab.build()
    bars = lab.bars()
    assert bars["duplicate_id_count"][:5].to_list() == [2, 0, 0, 1, 0]
    assert lab.day_bar()["duplicate_id_count"] == 3
    assert bars["available_at"][0] == lab.at(lab.one, 40.2)  # when the repeat came
    assert lab.day_bar()["trade_count"] == 2


def test_repeats_in_the_files_of_the_neighbours_count_on_their_own_day(lab):
    lab.put(lab.one, TRADES, lab.trades(lab.one, (10, 100, 1)))
    quarantine(lab, lab.two, (-0.5, 0.3), (5, 5.1))
    late = lab.trades(lab.two, (-0.5, 100, 1, {"arrival": 0.2}), (5, 100, 1), start=2_000)
    lab.put(lab.two, TRADES, late, duplicate_rows=2)
    for day in (lab.one, lab.two):
        lab.build(day)
    assert lab.bars()["duplicate_id_count"][-1] == 1
    assert lab.day_bar(lab.one)["duplicate_id_count"] == 1
    assert lab.day_bar(lab.two)["duplicate_id_count"] == 1


def test_other_repeats_beside_the_same_rows_give_new_bars(lab):
    frame = lab.trades(lab.one, (10, 100, 1))
    lab.put(lab.one, TRADES, frame)
    lab.build()
    quarantine(lab, lab.one, (10, 10.5))
    lab.put(lab.one, TRADES, frame, duplicate_rows=1)
    assert lab.build().built == 1
    assert lab.day_bar()["duplicate_id_count"] == 1
    assert lab.build().is_no_op


EARLIER = [*CANDLE_TABLE.names[:14], "late_count", "open", "high", "low", "close", "volume"]
EARLIER_MANIFEST = [
    name
    for name in CANDLE_MANIFEST_TABLE.names
    if not name.startswith(("book_", "quote_", "ticker_", "liquidation", "carried_", "surface_"))
]


def part_of(table, names):
    return Table(
        name=table.name,
        grain=table.grain,
        key=table.key,
        columns=tuple(column for column in table.columns if column.name in names),
        sorted_by=table.sorted_by,
    )


def make_old(lab):
    """Turn the lake into one of the project's first form: fewer columns, no states."""
    for timeframe in FEW:
        item = CandleFile(lab.one, timeframe, lab.key)
        bars = lab.lake.read_table(item).with_columns(kernel_version=pl.lit("1"))
        lab.lake.write_table(item, bars, part_of(CANDLE_TABLE, EARLIER))
        item = CandleManifest(lab.one, timeframe, lab.venue)
        manifest = lab.lake.read_table(item).with_columns(kernel_version=pl.lit("1"))
        lab.lake.write_table(item, manifest, part_of(CANDLE_MANIFEST_TABLE, EARLIER_MANIFEST))
    lab.lake.delete(CandleStateFile(lab.one, lab.venue))


def test_a_lake_of_the_first_form_is_rebuilt_as_second_versions(lab):
    lab.put_market(lab.one)
    lab.build()
    fresh = lab.written()
    bars = lab.bars()
    make_old(lab)
    assert lab.bars().width == len(EARLIER)
    result = lab.build()
    assert (result.built, result.changes.changed) == (1, 5_761)
    again = lab.bars()
    assert again["bar_version"].unique().to_list() == [2]
    assert again.drop("bar_version").equals(bars.drop("bar_version"))
    assert set(lab.written()) == set(fresh)
    assert lab.build().is_no_op


def test_a_column_of_another_type_counts_as_another_column(lab):
    lab.put_market(lab.one, TRADES)
    lab.build()
    bars = lab.bars()
    stored = bars.with_columns(pl.col("trade_count").cast(pl.Float64))
    versioned, changes = with_versions(bars, stored)
    assert changes.changed == bars.height
    assert versioned["bar_version"].unique().to_list() == [2]
    assert with_versions(bars, bars)[1].changed == 0


def as_stored(body, data_type):
    """A vendor's file as the rows that ingestion stores."""
    table = RAW_TABLES[data_type]
    text = pl.read_csv(io.BytesIO(gzip.decompress(body)), infer_schema=False)
    names = {column.csv_name: column.stored.name for column in table.columns}
    frame = text.select(list(names)).rename(names)
    return frame.with_columns(
        pl.col(name).cast(pl.Int64).cast(dtype) if dtype.is_temporal() else pl.col(name).cast(dtype)
        for name, dtype in table.stored.polars_schema.items()
    )


def test_the_simulated_market_fills_every_channel_and_keeps_every_rule(make_lab, monkeypatch):
    simulator = Simulator(scale=0.05)
    types = (TRADES, QUOTES, DataType.BOOK_SNAPSHOT_5, DataType.LIQUIDATIONS)
    types += (DataType.DERIVATIVE_TICKER,)
    whole, cut = make_lab("whole"), make_lab("cut")
    rows = {}
    for day in (whole.one, whole.two):
        for data_type in types:
            body = simulator.dataset("binance-futures", data_type, day, "BTCUSDT")
            frame = as_stored(body, data_type)
            rows[day, data_type] = frame.height
            whole.put(day, data_type, frame)
            with monkeypatch.context() as patch:
                patch.setattr(parquet, "row_group_rows", lambda _: 500)
                cut.put(day, data_type, frame)
    for day in (whole.one, whole.two):
        result = whole.build(day, timeframes=(Timeframe.M1, *COARSE))
        frames = [(str(one), whole.bars(day, one)) for one in (Timeframe.M1, *COARSE)]
        assert not SchemaCheck(CANDLE_TABLE).run(frames).failures
        manifests = [(str(one), frame) for one, frame in result.manifests.items()]
        assert not SchemaCheck(CANDLE_MANIFEST_TABLE).run(manifests).failures
        row = result.manifests[Timeframe.H24].row(0, named=True)
        assert row["ticker_rows"] == rows[day, DataType.DERIVATIVE_TICKER]
        assert row["own_file_rows"] == rows[day, TRADES]
    monkeypatch.setattr(channel_reading, "_SLICE_CELLS", 4_000)
    for day in (cut.one, cut.two):
        cut.build(day, timeframes=(Timeframe.M1, *COARSE))
    assert candle_files(cut) == candle_files(whole)
    bars = whole.bars(whole.two, Timeframe.M1)
    filled = (
        *("realized_variance_trade", "ofi", "ofi_snap_1", "effective_spread_bps"),
        *("price_impact_30s_bps", "open_interest", "funding_rate", "mark_price", "weighted_mid"),
        *("large_trade_threshold", "liquidation_count", "spread_tw_bps", "bid_price_5"),
    )
    assert [name for name in filled if not bars[name].count()] == []
    assert bars["has_memory"].all()
