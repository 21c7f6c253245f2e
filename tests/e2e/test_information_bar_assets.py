"""Information-driven bars as a user makes them: cells, ranges, the grid's edge, recorded feeds."""

from __future__ import annotations

import datetime as dt
import gzip

import dagster as dg
import polars as pl
import pytest

from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.market.paths import CandleFile, InformationBarFile, InformationBarManifest
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.simulator import Simulator

BARS = tuple(f"bars/{kind}" for kind in BarKind)
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
CORE = ("instruments", "raw_ticks/trades", *CANDLES)
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10")
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"


def cell(day, venue="binance"):
    return f"{day}|{venue}"


def date(day):
    return dt.date.fromisoformat(day)


def manifest(platform, day, kind, venue="binance"):
    return platform.lake.read_table(InformationBarManifest(date(day), kind, VenueId(venue)))


def bars(platform, day, kind, key=KEY):
    return platform.lake.read_table(InformationBarFile(date(day), kind, key))


def materialized(result):
    return {
        (event.asset_key.to_user_string(), event.partition)
        for event in result.get_asset_materialization_events()
    }


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    """Three days of the sandbox's spot venue, candles and bars of the range in one run."""
    root = tmp_path_factory.mktemp("bars")
    with open_platform(root, Simulator(1, scale=0.1), ["binance"], start=DAYS[0]) as (platform, _):
        assert platform.run("exchange_catalog", partition="binance").success
        result = platform.run(*CORE, *BARS, span=(cell(DAYS[0]), cell(DAYS[2])))
        assert result.success, platform.failures(result)
        assert materialized(result) == {
            (asset, cell(day)) for asset in (*CORE, *BARS) for day in DAYS
        }
        yield platform


def test_one_cell_has_bars_of_every_kind_and_passes_its_checks(platform):
    result = platform.run(*BARS, partition=cell(DAYS[1]))
    assert result.success, platform.failures(result)
    checks = platform.checks(result)
    assert len(checks) == 2 * len(BARS)
    assert all(checks.values()), checks
    assert materialized(result) == {(asset, cell(DAYS[1])) for asset in BARS}
    for kind in BarKind:
        stored = manifest(platform, DAYS[1], kind)
        fixed = stored.filter(pl.col("threshold_state") == "fixed")
        assert fixed.height
        assert (fixed["trades"] == fixed["day_rows"]).all()
        yesterday = platform.lake.read_table(CandleFile(date(DAYS[0]), Timeframe.H24, KEY))
        day = bars(platform, DAYS[1], kind)
        share = yesterday[kind.measure][0] / BARS_PER_DAY
        assert 0 <= day["threshold"][0] - share < (1e-9 * share if kind.has_size else 1)


def test_the_first_day_of_the_grid_has_no_threshold_and_says_so(platform):
    result = platform.run(*BARS, partition=cell(DAYS[0]))
    assert result.success, platform.failures(result)
    assert all(platform.checks(result).values())
    stored = manifest(platform, DAYS[0], BarKind.TICK)
    assert stored["threshold_state"].unique().to_list() == ["no_candle"]
    assert stored["bars"].sum() == 0
    assert stored["reason"][0].startswith("no 24h candle of the day before is in the lake (2024-08")
    assert not platform.lake.exists(InformationBarFile(date(DAYS[0]), BarKind.TICK, KEY))


def test_a_range_makes_its_candles_before_its_bars(platform):
    states = {day: manifest(platform, day, BarKind.DOLLAR)["threshold_state"] for day in DAYS}
    assert "fixed" in states[DAYS[1]]
    assert "fixed" in states[DAYS[2]]


def test_a_cell_alone_has_the_bars_of_the_range(platform):
    before = platform.bytes()
    for kind in BarKind:
        platform.lake.delete(InformationBarFile(date(DAYS[2]), kind, KEY))
    assert platform.run(*BARS, partition=cell(DAYS[2])).success
    assert platform.bytes() == before


def test_bars_of_a_range_alone_are_recorded_per_cell(platform):
    result = platform.run(*BARS, span=(cell(DAYS[0]), cell(DAYS[2])))
    assert result.success, platform.failures(result)
    assert materialized(result) == {(asset, cell(day)) for asset in BARS for day in DAYS}


def test_a_kind_alone_and_a_second_run_leave_every_byte(platform):
    assert platform.run(*BARS, partition=cell(DAYS[1])).success
    before = platform.bytes()
    result = platform.run("bars/volume", partition=cell(DAYS[1]))
    assert materialized(result) == {("bars/volume", cell(DAYS[1]))}
    assert platform.run(*BARS, partition=cell(DAYS[1])).success
    assert platform.bytes() == before


def test_candles_and_bars_of_a_day_are_one_run(platform):
    result = platform.run(*CORE, *BARS, partition=cell(DAYS[2]))
    assert result.success, platform.failures(result)
    assert {asset for asset, _ in materialized(result)} == {*CORE, *BARS}


def test_a_backfill_asks_for_the_chosen_days_and_no_other(platform):
    graph = build_definitions(platform.settings).get_repository_def().asset_graph
    for asset in BARS:
        key = dg.AssetKey(asset.split("/"))
        parents = graph.get(key).parent_keys
        assert {parent.to_user_string() for parent in parents} == {
            "raw_ticks/trades",
            "candles/24h",
        }
        for parent in parents:
            below = graph.get_child_partition_keys_of_parent(cell(DAYS[1]), parent, key)
            assert list(below) == [cell(DAYS[1])]


def spread_over_the_day(data, day):
    """The file's rows with their arrival spread evenly over the day and every latency as it was."""
    rows = pl.read_csv(data, schema_overrides={"id": pl.String})
    arrival = pl.col("local_timestamp")
    midnight = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * US_PER_SECOND
    stretch = US_PER_DAY / (rows["local_timestamp"].max() - rows["local_timestamp"].min() + 1)
    spread = midnight + ((arrival - arrival.min()) * stretch).floor().cast(pl.Int64)
    latency = pl.col("timestamp") - arrival
    moved = rows.with_columns(timestamp=spread + latency, local_timestamp=spread)
    return gzip.compress(moved.write_csv().encode(), mtime=0)


@pytest.fixture(scope="module")
def recorded_days(recorded, tmp_path_factory):
    """Recorded trades, five minutes a file, made whole days: less is no measure of one."""
    folder = tmp_path_factory.mktemp("recorded_days")
    for day in DAYS[:2]:
        name = f"binance/trades/{day.replace('-', '/')}/BTCUSDT.csv.gz"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(spread_over_the_day((recorded / name).read_bytes(), date(day)))
    return folder


def bars_of_two_days(platform):
    platform.prepare("binance", *map(cell, DAYS[:2]))
    for asset in ("raw_ticks/trades", "candles/24h"):
        for day in DAYS[:2]:
            result = platform.run(asset, partition=cell(day))
            assert result.success, platform.failures(result)
    result = platform.run(*BARS, partition=cell(DAYS[1]))
    assert result.success, platform.failures(result)
    assert all(platform.checks(result).values())


@pytest.fixture(scope="module")
def recorded_platform(open_platform, tmp_path_factory, recorded_days):
    root = tmp_path_factory.mktemp("recorded_bars")
    with open_platform(root, FolderSource(recorded_days), ["binance"]) as (platform, _):
        bars_of_two_days(platform)
        yield platform


def test_five_recorded_minutes_of_yesterday_measure_no_day(
    open_platform, tmp_path_factory, recorded
):
    root = tmp_path_factory.mktemp("recorded_minutes")
    with open_platform(root, FolderSource(recorded), ["binance"]) as (platform, _):
        bars_of_two_days(platform)
        for kind in BarKind:
            stored = manifest(platform, DAYS[1], kind)
            assert stored["threshold_state"].to_list() == ["not_observed"]
            assert stored["bars"].sum() == 0


@pytest.mark.parametrize("kind", BarKind)
def test_recorded_trades_fill_bars_of_yesterdays_share(recorded_platform, kind):
    first, second = (
        recorded_platform.lake.read_table(CandleFile(date(day), Timeframe.H24, KEY))
        for day in DAYS[:2]
    )
    day = bars(recorded_platform, DAYS[1], kind)
    assert first["coverage"][0] == 1.0
    share = first[kind.measure][0] / BARS_PER_DAY
    assert day["threshold"].unique().to_list() == [pytest.approx(share, abs=1 if share > 1 else 0)]
    assert day["trade_count"].sum() == second["trade_count"][0]
    assert day["volume"].sum() == pytest.approx(second["volume"][0], rel=1e-9)
    assert day["notional"].sum() == pytest.approx(second["notional"][0], rel=1e-9)
    assert (day["high"].max(), day["low"].min()) == (second["high"][0], second["low"][0])
    assert (day["open"][0], day["close"][-1]) == (second["open"][0], second["close"][0])
    floats = day.select(pl.selectors.float())
    assert not floats.select(pl.all().is_nan().any()).row(0).count(True)
    sums = {BarKind.TICK: "trade_count"}.get(kind, kind.measure)
    complete = day.filter("is_complete")
    assert (complete[sums] >= complete["threshold"] * (1 - 1e-12)).all()
    assert complete.height >= day.height - 1
