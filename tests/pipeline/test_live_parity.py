"""Live bars in a lake against the batch's, through the use case and through the asset."""

from __future__ import annotations

import datetime as dt
import warnings

import dagster as dg
import polars as pl
import pytest

from tickhandler_dagster.assets.live_parity import build_live_parity_asset
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE, LiveStage
from tickhandler_dagster.market.live.live_differences_table import LIVE_DIFFERENCES_TABLE
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES, live_ticks
from tickhandler_dagster.market.paths import (
    FindingsFile,
    LiveCandlesFile,
    LiveDifferencesFile,
    LiveTicksFile,
)
from tickhandler_dagster.market.quality.findings import findings_of
from tickhandler_dagster.market.quality.policy import QualityPolicy, parse_policy
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid
from tickhandler_dagster.pipeline.live_parity import compare_live_day

DAY = dt.date(2024, 8, 8)
VENUE = VenueId.BINANCE_FUTURES
CELL = VenueDay(DAY, VENUE)
KEY = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
BASE = (Timeframe.S15, Timeframe.H24)


@pytest.fixture(scope="module")
def built(new_lab, tmp_path_factory):
    """A lake with a day of ticks and its bars, and what ticks there are."""
    lab = new_lab(tmp_path_factory.mktemp("parity") / "lake")
    frames = lab.put_market(DAY)
    lab.build(DAY, timeframes=BASE)
    return lab, frames


def put_live(lab, bars, *, stage=LiveStage.COMPLETE, name="bars"):
    """Store bars as the sink does, by the hour in which they open."""
    live = bars.with_columns(
        pl.lit(2, dtype=pl.Int32).alias("revision"),
        pl.lit(stage.value).alias("stage"),
        pl.lit(0, dtype=pl.Int64).alias("rows_after_first"),
        pl.col("ts_close").alias("published_at"),
    ).select(LIVE_CANDLE_TABLE.names)
    for (timeframe, hour), some in live.group_by("timeframe", pl.col("ts_open").dt.hour()):
        item = LiveCandlesFile(DAY, Timeframe(timeframe), VENUE, f"{hour:02d}", name)
        lab.lake.write_table(item, some, LIVE_CANDLE_TABLE)
    return live


@pytest.fixture
def clean(built):
    """The lake, its live bars and differences taken away after the test."""
    lab, frames = built
    yield lab, frames
    for folder in ("live_candles", "live_ticks", "live_differences", "findings"):
        for path in list(lab.lake.store.list(f"{folder}/")):
            lab.lake.store.delete(path)


def all_bars(lab):
    return pl.concat([lab.bars(DAY, timeframe) for timeframe in BASE])


def test_bars_that_are_the_batchs_match_wholly_and_leave_an_empty_table(clean):
    lab, _ = clean
    put_live(lab, all_bars(lab))
    parity = compare_live_day(CELL, lake=lab.lake)
    assert (parity.match_rate, parity.equal_rate) == (1.0, 1.0)
    assert parity.bars == 5_761
    assert parity.by_timeframe == {Timeframe.S15: (5_760, 5_760), Timeframe.H24: (1, 1)}
    assert lab.lake.read_table(LiveDifferencesFile(DAY, VENUE)).is_empty()
    assert parity.findings == ()


def test_a_second_look_writes_the_same_bytes(clean):
    lab, _ = clean
    put_live(lab, all_bars(lab).with_columns(close=pl.col("close") + 1))
    first = compare_live_day(CELL, lake=lab.lake)
    again = compare_live_day(CELL, lake=lab.lake)
    assert first.content_sha256 == again.content_sha256
    assert first.match_rate < 1


def test_lost_trades_are_named_by_the_ticks_that_were_kept(clean):
    lab, frames = clean
    bars = lab.bars(DAY)
    victim = bars.filter(pl.col("trade_count") > 0)["ts_open"][7]
    put_live(
        lab,
        bars.with_columns(
            pl.when(pl.col("ts_open") == victim).then(99.0).otherwise("volume").alias("volume")
        ),
    )
    opened = pl.col("timestamp").dt.truncate("15s")
    kept = frames[DataType.TRADES].filter(opened != victim).with_columns(symbol=pl.lit("BTCUSDT"))
    ticks = live_ticks(kept, VENUE, DataType.TRADES, keys={"BTCUSDT": KEY}, first_sequence=5)
    item = LiveTicksFile(DAY, DataType.TRADES, VENUE, "00", 5)
    lab.lake.write_table(item, ticks, LIVE_TICK_TABLES[DataType.TRADES])
    parity = compare_live_day(CELL, lake=lab.lake)
    (row,) = parity.sample.to_dicts()
    assert (row["ts_open"], row["cause"], row["fields"]) == (victim, "lost", ["volume"])
    assert row["rows_of_trades"] >= 1
    assert parity.with_ticks == 1
    (stored,) = findings_of(lab.lake.read_table(FindingsFile(DAY, VENUE, "live")))
    assert stored.rule is RuleName.LIVE_LOST_ROWS


def put_differences(lab, day, *rows):
    """Differences of an earlier day: (time before its midnight, cause, columns)."""
    facts = {"date": day, "venue": VENUE.value, "timeframe": "15s", "instrument_key": KEY}
    end = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
    schema = LIVE_DIFFERENCES_TABLE.polars_schema
    found = [
        dict.fromkeys(schema.names())
        | facts
        | {"ts_open": end - dt.timedelta(seconds=before), "cause": cause, "fields": list(fields)}
        for before, cause, *fields in rows
    ]
    frame = pl.DataFrame(found, schema=schema)
    lab.lake.write_table(LiveDifferencesFile(day, VENUE), frame, LIVE_DIFFERENCES_TABLE)


def test_what_earlier_days_differed_in_explains_what_looks_back_at_them(clean):
    lab, _ = clean
    bars = lab.bars(DAY)
    first = pl.col("ts_open") == bars["ts_open"][0]
    put_live(
        lab,
        bars.with_columns(
            pl.when(first).then(9).otherwise(name).alias(name)
            for name in ("large_trade_threshold", "interarrival_sum_us", "volume")
        ),
    )

    def found():
        parity = compare_live_day(CELL, lake=lab.lake)
        return {row["cause"]: row["fields"] for row in parity.sample.to_dicts()}

    everything = ["volume", "interarrival_sum_us", "large_trade_threshold"]
    assert {name: sorted(fields) for name, fields in found().items()} == {
        "unexplained": sorted(everything)
    }
    put_differences(lab, DAY - dt.timedelta(days=1), (15, "lost", "gap_ms", "coverage"))
    assert found() == {
        "unexplained": ["volume"],
        "lost": ["interarrival_sum_us"],
        "memory": ["large_trade_threshold"],
    }
    lab.lake.delete(LiveDifferencesFile(DAY - dt.timedelta(days=1), VENUE))
    put_differences(lab, DAY - dt.timedelta(days=7), (15, "revised", "close"))
    assert found()["memory"] == ["large_trade_threshold"]
    assert sorted(found()["unexplained"]) == ["interarrival_sum_us", "volume"]


def test_a_day_without_live_bars_stores_nothing(clean):
    lab, _ = clean
    parity = compare_live_day(CELL, lake=lab.lake)
    assert not parity.has_live_bars
    assert parity.match_rate is None
    assert not lab.lake.exists(LiveDifferencesFile(DAY, VENUE))


def test_live_bars_without_the_batchs_say_what_to_run(clean, make_lab):
    lab, _ = clean
    other = make_lab("empty")
    put_live(other, lab.bars(DAY))
    with pytest.raises(MissingUpstream, match="group:candles"):
        compare_live_day(CELL, lake=other.lake)


def run(lab, policy=None):
    """The asset over the cell, in an instance of its own: (result, instance)."""
    with warnings.catch_warnings():  # partitioned checks are a preview of Dagster's
        warnings.simplefilter("ignore")
        grid = build_grid((VENUE,), DAY, DAY + dt.timedelta(days=1))
        asset = build_live_parity_asset(grid, policy or QualityPolicy())
    return dg.materialize(
        [asset],
        partition_key=str(CELL),
        resources={"lake": lab.lake, "progress": lambda _: None},
        raise_on_error=False,
    )


def test_the_asset_shows_rates_causes_and_a_sample_and_its_check_follows_the_policy(clean):
    lab, _ = clean
    bars = all_bars(lab)
    first = bars["ts_open"][100]
    put_live(
        lab,
        bars.with_columns(
            pl.when(pl.col("ts_open") == first)
            .then(pl.col("volume") + 1)
            .otherwise("volume")
            .alias("volume")
        ),
    )
    result = run(lab)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["match rate"].value == pytest.approx(5_760 / 5_761)
    assert "| unexplained | 1 |" in metadata["bars that differ by cause"].value
    assert "volume" in metadata["sample of differences"].value
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    tolerant = parse_policy([{"rules": "live_differs", "verdict": "ignore"}])
    (check,) = run(lab, tolerant).get_asset_check_evaluations()
    assert check.passed


def test_a_cell_without_live_bars_stays_empty_and_the_run_is_green(clean):
    lab, _ = clean
    result = run(lab)
    assert result.success
    assert result.get_asset_materialization_events() == []
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert check.metadata["bars compared"].value == 0
