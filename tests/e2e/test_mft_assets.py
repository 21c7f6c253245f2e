"""Mid-frequency features as a user makes them: a range, a cell, a set, a day that is missing."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.loader import LoadingContextForTest

from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.paths import CandleManifest, MftFile, MftManifest, MftSetFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.simulator import Simulator

DAYS = ("2024-08-08", "2024-08-09", "2024-08-10")
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)
MFT = tuple(f"mft_features/{timeframe}" for timeframe in MFT_TIMEFRAMES)
SET = "mft_sets/alpha_core"
CORE = ("instruments", "raw_ticks/trades", *CANDLES)
SETTINGS = {
    "mft_sets": {"alpha_core": {"features": ["log_return_*", "rsi_14"], "timeframes": ["1h"]}}
}


def cell(day):
    return f"{day}|binance"


def date(day):
    return dt.date.fromisoformat(day)


def rows(platform, day, timeframe, key=KEY):
    return platform.lake.read_table(MftFile(date(day), timeframe, key))


def manifest(platform, day, timeframe):
    return platform.lake.read_table(MftManifest(date(day), timeframe, VenueId.BINANCE))


def materialized(result):
    return {
        (event.asset_key.to_user_string(), event.partition)
        for event in result.get_asset_materialization_events()
    }


def metadata(result, asset):
    (event,) = (
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == asset
    )
    return event.step_materialization_data.materialization.metadata


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    """Three days of the sandbox's spot venue, from raw ticks to a set in one run over the range."""
    root = tmp_path_factory.mktemp("mft")
    options = {"start": DAYS[0], "more_settings": SETTINGS}
    with open_platform(root, Simulator(1, scale=0.05), ["binance"], **options) as (platform, _):
        assert platform.run("exchange_catalog", partition="binance").success
        result = platform.run(*CORE, *MFT, SET, span=(cell(DAYS[0]), cell(DAYS[2])))
        assert result.success, platform.failures(result)
        assert materialized(result) == {
            (asset, cell(day)) for asset in (*CORE, *MFT, SET) for day in DAYS
        }
        yield platform


def test_the_first_day_of_the_grid_is_cold_and_says_why(platform):
    result = platform.run("mft_features/1h", partition=cell(DAYS[0]))
    assert result.success, platform.failures(result)
    assert all(platform.checks(result).values()), "days before the grid are not missing"
    stored = manifest(platform, DAYS[0], Timeframe.H1)
    assert stored["null_history"].min() > 0
    assert stored["halo_partitions"].unique().to_list() == [0]
    text = metadata(result, "mft_features/1h")["warm-up"].md_str
    assert "its window begins before the first bar in the lake" in text


def test_later_days_are_warmer_and_their_windows_reach_into_the_days_before(platform):
    warm = [manifest(platform, day, Timeframe.H1)["features_with_values"].sum() for day in DAYS[:2]]
    assert warm[0] < warm[1]
    second = rows(platform, DAYS[1], Timeframe.H1)
    assert second["log_return_1"].null_count() == 0
    first = rows(platform, DAYS[0], Timeframe.H1)
    # The first bar of all stays provisional: what a day before the grid holds of it never comes.
    assert first["is_final"].to_list() == [False] + [True] * 23
    assert first["log_return_1"].is_null().to_list() == [True, True] + [False] * 22


def test_provisional_bars_have_rows_without_values(platform):
    last = rows(platform, DAYS[2], Timeframe.H1)
    assert last.height == 24
    provisional = last.filter(~pl.col("is_final"))
    assert provisional.height
    names = last.columns[11:]
    assert provisional.select(pl.col(names).count()).row(0) == (0,) * len(names)


def test_a_cell_alone_and_a_second_run_leave_every_byte(platform):
    before = platform.bytes()
    platform.lake.delete(MftFile(date(DAYS[1]), Timeframe.H1, KEY))
    result = platform.run(*MFT, SET, partition=cell(DAYS[1]))
    assert result.success, platform.failures(result)
    assert all(platform.checks(result).values())
    assert platform.bytes() == before
    again = platform.run(*MFT, SET, partition=cell(DAYS[1]))
    assert metadata(again, "mft_features/1h")["files built, all timeframes"].value == 0
    assert metadata(again, SET)["files written"].value == 0
    assert platform.bytes() == before


def test_a_set_has_its_columns_for_its_timeframes_alone(platform):
    file = MftSetFile("alpha_core", date(DAYS[1]), Timeframe.H1, KEY)
    chosen = platform.lake.read_table(file)
    assert chosen.columns[11:] == [
        *(f"log_return_{horizon}" for horizon in (1, 5, 15, 60)),
        "rsi_14",
    ]
    assert chosen.equals(rows(platform, DAYS[1], Timeframe.H1).select(chosen.columns))
    assert list(platform.lake.store.list("mft_sets/alpha_core/by_date/day-2024-08-09")) == [
        "mft_sets/alpha_core/by_date/day-2024-08-09/_manifests/binance.parquet",
        *(
            f"mft_sets/alpha_core/by_date/day-2024-08-09/timeframe-1h/{key}.parquet"
            for key in manifest(platform, DAYS[1], Timeframe.H1)["instrument_key"]
        ),
    ]


@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")
def test_a_backfill_of_everything_asks_for_the_chosen_days_and_no_other(platform):
    graph = build_definitions(platform.settings).get_repository_def().asset_graph
    chosen = [cell(day) for day in DAYS[:2]]
    asked = AssetBackfillData.from_asset_partitions(
        graph,
        partition_names=chosen,
        asset_selection=[dg.AssetKey(asset.split("/")) for asset in (*CORE, *MFT, SET)],
        dynamic_partitions_store=platform.instance,
        backfill_start_timestamp=dt.datetime(2024, 9, 1, tzinfo=dt.UTC).timestamp(),
        all_partitions=False,
    ).target_subset
    for asset in (*CORE, *MFT, SET):
        subset = asked.get_partitions_subset(dg.AssetKey(asset.split("/")))
        assert sorted(subset.get_partition_keys()) == chosen, asset


def stale_days(platform, asset):
    """Days whose features the page shows as out of date."""
    graph = build_definitions(platform.settings).get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(
        platform.instance, graph, LoadingContextForTest(platform.instance)
    )
    key = dg.AssetKey(asset.split("/"))
    return [day for day in DAYS if resolver.get_status(key, cell(day)) is StaleStatus.STALE]


def test_the_page_shows_which_days_are_out_of_date(platform):
    for day in DAYS:
        assert platform.run(*CANDLES, partition=cell(day)).success
        assert platform.run(*MFT, partition=cell(day)).success
    assert stale_days(platform, "mft_features/1h") == []
    assert platform.run(*CANDLES, partition=cell(DAYS[1])).success, "nothing changed"
    assert stale_days(platform, "mft_features/1h") == []
    platform.instance.report_runless_asset_event(
        dg.AssetObservation(
            dg.AssetKey(["candle_history", "1h"]),
            partition=cell(DAYS[1]),
            tags={"dagster/data_version": "another"},
        )
    )
    assert stale_days(platform, "mft_features/1h") == list(DAYS[1:])
    assert stale_days(platform, "mft_features/5m") == []


def test_a_missing_day_is_a_warning_that_names_it(platform):
    day = CandleManifest(date(DAYS[1]), Timeframe.H1, VenueId.BINANCE)
    kept = platform.lake.store.read(day.path)
    platform.lake.delete(day)
    result = platform.run("mft_features/1h", partition=cell(DAYS[2]))
    assert result.success, platform.failures(result)
    (check,) = (
        item
        for item in result.get_asset_check_evaluations()
        if item.check_name == "halo_is_complete"
    )
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert f"candles/1h {DAYS[1]}" in check.metadata["missing partitions"].md_str
    assert rows(platform, DAYS[2], Timeframe.H1)["log_return_1"][0] is None
    platform.lake.store.write(day.path, kept)
    assert platform.run("mft_features/1h", partition=cell(DAYS[2])).success
    assert rows(platform, DAYS[2], Timeframe.H1)["log_return_1"][0] is not None


def test_features_of_recorded_feeds_obey_their_table(open_platform, tmp_path, recorded):
    with open_platform(tmp_path, FolderSource(recorded), ["binance"]) as (platform, _):
        platform.prepare("binance", *map(cell, DAYS[:2]))
        for assets in (("raw_ticks/trades",), CANDLES, MFT):
            for day in DAYS[:2]:
                result = platform.run(*assets, partition=cell(day))
                assert result.success, platform.failures(result)
        checks = platform.checks(result)
        assert all(checks[asset, "schema_holds"] for asset in MFT)
        minutes = rows(platform, DAYS[1], Timeframe.M1)
        # Minutes were recorded, not the day: what came before and after them is a hole.
        assert minutes["log_return_5"].drop_nulls().len() > 0
        assert minutes["log_return_60"].drop_nulls().len() == 0
