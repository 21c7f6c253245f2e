"""The assets `warehouse/*` as a user has them: the table is the lake, whatever happened before."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import random
import runpy
import shutil
import signal
import time
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from doubles.small_market import SmallMarket
from polars.testing import assert_frame_equal
from pydantic import AnyHttpUrl

from tickhandler_dagster.adapters.duckdb_warehouse import open_for_reading
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import TickGapsFile
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.resources.lake_store import build_store
from tickhandler_dagster.resources.warehouse import build_warehouse

VENUES = ("binance", "okex-swap")
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-USDT-SWAP")  # two objects of one venue, one of the other
HOURS = dict(zip(VENUES, (48, 24), strict=True))  # rows of a day in `candles_1h`
FIRST, SECOND, THIRD = DAYS = ("2024-08-01", "2024-08-02", "2024-08-03")
CANDLES = ("candles/1m", "candles/1h")
TABLES = ("candles_1m", "candles_1h")
ASSETS = tuple(f"warehouse/{name}" for name in TABLES)
KILLS = 4  # the warehouse alone is killed more often: tests/adapters/test_duckdb_processes.py
PROCESS = str(Path(__file__).with_name("warehouse_process.py"))
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def market(open_platform, tmp_path_factory):
    """Two days of candles of two venues, and the ticks of the day after, which came later."""
    with open_platform(
        tmp_path_factory.mktemp("warehouse"),
        SmallMarket(*MARKET, scale=0.01),
        VENUES,
        more_settings={"download_data_types": "trades"},
    ) as (platform, _):
        for venue in VENUES:
            platform.prepare(venue, *(f"{day}|{venue}" for day in DAYS))
            for day in (FIRST, SECOND):
                assert platform.run("raw_ticks/trades", partition=f"{day}|{venue}").success
            assert platform.run(*CANDLES, span=(f"{FIRST}|{venue}", f"{SECOND}|{venue}")).success
            assert platform.run("raw_ticks/trades", partition=f"{THIRD}|{venue}").success
        yield platform


@pytest.fixture(scope="module")
def published(market, tmp_path_factory):
    """What a first publication says, and its platform, which nothing changes."""
    with dg.DagsterInstance.ephemeral() as instance:
        platform = over(market, tmp_path_factory.mktemp("published"), instance)
        yield platform, publish(platform, *ASSETS, "warehouse/instruments")


@pytest.fixture
def copied(market, tmp_path):
    """The platform over a lake and a warehouse of the test's own."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield over(market, tmp_path, instance)


def over(market, root, instance, **more):
    """The same platform over a copy of the lake, and a home that other processes can share."""
    shutil.copytree(market.settings.lake_root, root / "lake")
    (root / "home").mkdir()
    shutil.copy(PROJECT / "dagster.yaml", root / "home")
    settings = market.settings.model_copy(
        update={"lake_root": root / "lake", "warehouse_folder": root / "warehouse", **more}
    )
    platform = type(market)(settings, instance)
    platform.root = root
    return platform


@pytest.fixture
def home(copied):
    """A home of Dagster's whose files are there before several processes open them."""
    with dg.DagsterInstance.from_config(str(copied.root / "home")):
        return copied.root / "home"


def publish(platform, *assets, days=(FIRST, SECOND)):
    """Publish days in a row in one run; gives what it said of each asset and day."""
    result = platform.run(*(assets or ASSETS), span=(days[0], days[-1]))
    assert result.success, platform.failures(result)
    records = platform.instance.get_records_for_run(
        result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    found = [record.event_log_entry.get_dagster_event() for record in records]
    return {
        (event.asset_key.path[-1], event.partition): {
            label: value.value for label, value in event.materialization.metadata.items()
        }
        for event in found
    }


def lake_rows(platform, table, *, days=(FIRST, SECOND), venues=VENUES):
    """What the table should hold, read from the lake's files without asking a manifest."""
    timeframe = table.partition("_")[2]
    bars = pl.concat([platform.bars(day, timeframe) for day in days])
    return bars.filter(pl.col("venue").is_in(venues)).sort("ts_open", "instrument_key")


def table_rows(platform, table):
    """What a user sees who opens the file and knows nothing of this project."""
    with duckdb.connect(
        platform.settings.warehouse_folder / "warehouse.duckdb", read_only=True
    ) as it:
        it.execute("SET TimeZone = 'UTC'")
        return it.table(table).pl().sort("ts_open", "instrument_key")


def assert_table_is_lake(platform, **of):
    for table in TABLES:
        assert_frame_equal(table_rows(platform, table), lake_rows(platform, table, **of))


def checks(result):
    return {
        (item.asset_key.path[-1], item.partition, item.check_name): item
        for item in result.get_asset_check_evaluations()
    }


def test_the_table_is_the_lake_row_for_row(published):
    platform, said = published
    assert_table_is_lake(platform)
    tables = (*TABLES, "instruments")
    assert set(said) == {(table, day) for table in tables for day in (FIRST, SECOND)}
    day = said["candles_1h", FIRST]
    rows = lake_rows(platform, "candles_1h", days=(FIRST,))
    assert day["dagster/partition_row_count"] == rows.height
    assert day["final rows"] == rows["is_final"].sum()
    assert day["provisional rows"] == rows.height - rows["is_final"].sum() > 0
    assert day["bytes loaded"] > 0
    by_venue = "\n".join(f"| {venue} | {rows} |" for venue, rows in HOURS.items())
    assert day["rows by venue"].endswith(by_venue)
    assert day["cost of loading in USD"] == 0.0


def test_instruments_and_days_without_any_data(copied):
    said = publish(copied, "warehouse/instruments", "warehouse/completeness", days=DAYS)
    assert set(said) == {("instruments", day) for day in DAYS}
    with open_for_reading(copied.settings.warehouse_folder) as connection:
        counts = connection.execute("SELECT date, count(*) FROM instruments GROUP BY 1").fetchall()
        assert [(str(day), rows) for day, rows in sorted(counts)] == [
            (day, said["instruments", day]["dagster/partition_row_count"]) for day in DAYS
        ]
        assert connection.execute("SELECT count(*) FROM completeness").fetchone() == (0,)


def test_the_query_to_try_gives_the_rows_by_venue_in_any_time_zone(published):
    platform, said = published
    said = said["candles_1m", SECOND]
    question = said["query to try"].removeprefix("```sql\n").removesuffix("\n```")
    with open_for_reading(platform.settings.warehouse_folder) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        answer = connection.execute(question).fetchall()
    assert [venue for venue, _, _ in answer] == list(VENUES)
    assert sum(rows for _, rows, _ in answer) == said["dagster/partition_row_count"]
    assert sum(final for _, _, final in answer) == said["final rows"]


def test_the_second_run_loads_nothing_and_says_what_is_there(published):
    platform, first = published
    before = {file: file.stat().st_mtime_ns for file in _day_files(platform)}
    second = publish(platform)
    assert {file: file.stat().st_mtime_ns for file in _day_files(platform)} == before
    for key, said in second.items():
        assert said["loaded in this run"] is False
        assert said["bytes loaded"] == 0
        assert said["rows by venue"] == first[key]["rows by venue"]
        assert said["final rows"] == first[key]["final rows"]


def _day_files(platform):
    return sorted((platform.settings.warehouse_folder / "days").rglob("*.parquet"))


def test_a_provisional_day_that_became_final_is_published_anew_and_no_other(copied):
    assert publish(copied)["candles_1m", SECOND]["provisional rows"] > 0
    for venue in VENUES:
        assert copied.run(*CANDLES, partition=f"{SECOND}|{venue}").success
        said = publish(copied)
        assert {key for key, of_day in said.items() if of_day["loaded in this run"]} == {
            (table, SECOND) for table in TABLES
        }
        assert_table_is_lake(copied)
    assert said["candles_1m", SECOND]["provisional rows"] == 0
    found = checks(copied.run(ASSETS[0], partition=SECOND))
    assert found["candles_1m", SECOND, "published"].passed
    final = copied.settings.warehouse_folder / "warehouse.duckdb"
    with duckdb.connect(final, read_only=True) as connection:
        wanted = lake_rows(copied, "candles_1m").filter("is_final").height
        assert connection.execute("SELECT count(*) FROM candles_1m_final").fetchone() == (wanted,)


def test_a_venue_that_arrives_later_joins_its_day(copied):
    for manifest in copied.settings.lake_root.rglob("processed_candles/**/okex-swap.parquet"):
        manifest.unlink()
    said = publish(copied)
    assert {of_day["venues"] for of_day in said.values()} == {1}
    assert_table_is_lake(copied, venues=VENUES[:1])
    assert copied.run(*CANDLES, partition=f"{FIRST}|okex-swap").success
    said = publish(copied)
    assert said["candles_1h", FIRST]["venues"] == 2
    assert said["candles_1h", SECOND]["loaded in this run"] is False
    for table in TABLES:
        found = table_rows(copied, table)
        assert_frame_equal(
            found.filter(pl.col("ts_open").dt.date().cast(pl.String) == FIRST),
            lake_rows(copied, table, days=(FIRST,)),
        )


def test_a_broken_object_keeps_back_its_own_day_alone_and_is_named(copied):
    objects = [
        copied.settings.lake_root
        / f"instrument_availability/by_date/day-{day}/venue-binance/instruments.parquet"
        for day in DAYS
    ]
    shutil.copy(objects[0], objects[1])
    result = copied.run("warehouse/instruments", span=(FIRST, THIRD))
    (text,) = copied.failures(result)
    assert text.startswith("1 of 3 cells failed")
    assert f"day-{SECOND}/venue-binance/instruments.parquet: has rows of another day" in text
    with open_for_reading(copied.settings.warehouse_folder) as connection:
        days = connection.execute("SELECT DISTINCT date FROM instruments ORDER BY 1").fetchall()
    assert [str(day) for (day,) in days] == [FIRST, THIRD]


def test_bigquery_holds_what_duckdb_holds(published, gcs, bigquery):
    of_duckdb, _ = published
    bucket = gcs.bucket()
    settings = of_duckdb.settings.model_copy(
        update={
            "gcs_bucket": bucket,
            "gcs_endpoint": AnyHttpUrl(gcs.endpoint),
            "warehouse": WarehouseKind.BIGQUERY,
            "bigquery_endpoint": AnyHttpUrl(bigquery.endpoint),
            "gcp_project_id": "tests-project",
        }
    )
    store, root = build_store(settings), of_duckdb.settings.lake_root
    for file in sorted(root.rglob("*.parquet")):
        if file.relative_to(root).parts[0] in {"processed_candles", "instrument_availability"}:
            store.write(str(file.relative_to(root)), file.read_bytes())
    platform = type(of_duckdb)(settings, of_duckdb.instance)
    first = publish(platform, *ASSETS, "warehouse/instruments")
    assert all(of_day["load job"] != "none" for of_day in first.values())
    again = publish(platform, *ASSETS, "warehouse/instruments")
    assert not any(of_day["loaded in this run"] for of_day in again.values())
    in_bigquery, in_duckdb = (
        build_warehouse(of, build_store(of)) for of in (settings, of_duckdb.settings)
    )
    minute = "ts_open, instrument_key, venue, open, close, volume, trade_count, status, is_final"
    for name, order, columns in (
        ("candles_1m", "ts_open", minute),  # all of its columns as JSON would take minutes
        ("candles_1h", "ts_open", "*"),
        ("instruments", "date", "*"),
    ):
        start, end = (f"{day} 00:00:00+00" if order == "ts_open" else day for day in (FIRST, THIRD))
        question = f"SELECT {columns} FROM {name} WHERE {order} >= '{start}' AND {order} < '{end}'"  # noqa: S608  (names of ours)
        here, there = (
            pl.DataFrame(it.query(question)).sort(order, "instrument_key")
            for it in (in_duckdb, in_bigquery)
        )
        assert here.height > 0
        assert_frame_equal(there.select(here.columns).cast(dict(here.schema)), here)


def test_bigquery_without_a_bucket_is_a_sentence_in_the_run(copied):
    settings = copied.settings.model_copy(update={"warehouse": WarehouseKind.BIGQUERY})
    settings = settings.model_copy(update={"bigquery_endpoint": AnyHttpUrl("http://127.0.0.1:9")})
    result = type(copied)(settings, copied.instance).run(ASSETS[0], partition=FIRST)
    assert not result.success
    (said,) = copied.failures(result)
    assert "Set GCS_BUCKET to keep the lake in a bucket" in said
    assert "resource" not in said


def test_a_cell_that_is_built_again_shows_its_day_as_out_of_date(market, tmp_path):
    copied = over(market, tmp_path, market.instance)  # which knows how the cells were built

    def statuses():
        graph = copied._repository.asset_graph
        resolver = CachingStaleStatusResolver(
            instance=copied.instance,
            asset_graph=graph,
            loading_context=LoadingContextForTest(copied.instance),
        )
        return {
            day: resolver.get_status(dg.AssetKey(["warehouse", "candles_1m"]), day)
            for day in (FIRST, SECOND)
        }

    assert copied.run("warehouse/candles_1m", span=(FIRST, SECOND)).success
    assert set(statuses().values()) == {StaleStatus.FRESH}
    cell = VenueDay.parse(f"{SECOND}|binance")
    key = copied.bars(SECOND, "1m", "BINANCE*BTC*")["instrument_key"][0]
    start = dt.datetime(2024, 8, 2, 12, tzinfo=dt.UTC)
    hole = Gap(
        date=cell.date,
        venue=cell.venue,
        data_type=DataType.TRADES,
        instrument_key=key,
        kind=GapKind.SILENCE,
        gap_start=start,
        gap_end=start + dt.timedelta(minutes=5),
        evidence="planted",
    )
    gaps = TickGapsFile(cell.date, DataType.TRADES, cell.venue)
    copied.lake.write_table(gaps, gaps_frame([hole]), GAPS_TABLE)
    assert copied.run("candles/1m", partition=str(cell)).success
    assert statuses() == {FIRST: StaleStatus.FRESH, SECOND: StaleStatus.STALE}
    assert copied.run("warehouse/candles_1m", partition=SECOND).success
    assert set(statuses().values()) == {StaleStatus.FRESH}


def child(context, **order):
    process = context.Process(
        target=runpy.run_path, args=(PROCESS, {"ORDER": order}, "child"), daemon=True
    )
    process.start()
    return process


@pytest.fixture(scope="module")
def processes():
    """New processes that need not load the platform first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tickhandler_dagster.definitions", "tickhandler_dagster.adapters.duckdb_warehouse"]
    )
    return context


def order_of(platform, *runs):
    return {
        "what": "run",
        "settings": platform.settings.model_dump(),
        "home": str(platform.root / "home"),
        "begun": platform.root / "begun",
        "runs": runs,
    }


def begun(platform, process):
    """Wait until the process has loaded everything and starts its runs."""
    file = platform.root / "begun"
    while not file.exists() and process.is_alive():
        time.sleep(0.005)
    file.unlink()
    return time.monotonic()


def test_killed_at_any_point_the_next_run_makes_the_table_the_lake(copied, home, processes):
    order = order_of(copied, (ASSETS[1:], FIRST, SECOND))
    whole = child(processes, **order)
    started = begun(copied, whole)
    whole.join(60)
    assert whole.exitcode == 0
    seconds = time.monotonic() - started
    wanted = lake_rows(copied, TABLES[1])
    chance, killed = random.Random(4), 0
    for place in range(KILLS):
        shutil.rmtree(copied.settings.warehouse_folder)
        process = child(processes, **order)
        begun(copied, process)
        process.join(seconds * (place + chance.random()) / KILLS)
        process.kill()
        process.join(60)
        killed += process.exitcode == -signal.SIGKILL
        assert all(pl.read_parquet(file).height for file in _day_files(copied))
        publish(copied, *ASSETS[1:])
        assert_frame_equal(table_rows(copied, TABLES[1]), wanted)
    assert killed >= KILLS // 2


def test_venues_and_days_built_and_published_side_by_side_end_as_the_lake(copied, home, processes):
    platform, tmp_path = copied, copied.root
    shutil.rmtree(platform.settings.lake_root / "processed_candles")
    assert platform.run(*ASSETS, partition=FIRST).success  # tables without a row, for the readers
    stop, asked = tmp_path / "stop", tmp_path / "asked"
    order = {
        "what": "read",
        "folder": platform.settings.warehouse_folder,
        "question": "SELECT COUNT(*), COUNT(DISTINCT venue) FROM candles_1h "  # noqa: S608  (ours)
        f"WHERE ts_open >= '{FIRST}' AND ts_open < '{SECOND}'",
        "answers": [(0, 0), *((rows, 1) for rows in HOURS.values()), (sum(HOURS.values()), 2)],
        "stop": stop,
        "asked": asked,
    }
    reader = child(processes, **order)
    publishers = [
        child(processes, **order_of(platform, (CANDLES, f"{day}|{venue}", ""), (ASSETS, day, "")))
        for day in (FIRST, SECOND)
        for venue in VENUES
    ]
    for process in publishers:
        process.join(200)
    stop.touch()
    reader.join(60)
    assert [process.exitcode for process in (*publishers, reader)] == [0] * 5
    assert int(asked.read_text()) > 1
    assert_table_is_lake(platform)
