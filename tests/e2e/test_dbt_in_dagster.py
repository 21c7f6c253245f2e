"""Marts through Dagster: a real warehouse, a real dbt process, what the instance says of them."""

from __future__ import annotations

import shutil

import dagster as dg
import duckdb
import pytest
from doubles.small_market import SmallMarket

from tickhandler_dagster.dbt_assets.after_tables import NAME
from tickhandler_dagster.dbt_assets.location import build_marts_definitions
from tickhandler_dagster.definitions import build_definitions

VENUE = "binance"
BEFORE, FIRST, SECOND, AFTER = DAYS = ("2024-08-01", "2024-08-02", "2024-08-03", "2024-08-04")
CANDLES = ("candles/1m", "candles/1h", "candles/24h")
TABLES = ("candles_1m", "candles_1h", "candles_24h", "instruments", "completeness")
BY_DAY = (
    *("basis_history", "completeness_days", "daily_bars", "funding_history"),
    *("liquidation_days", "spread_depth_days", "venue_share"),
)
WHOLE = "instrument_history"
ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
SOURCES = {
    "basis_history": {"warehouse/candles_1h", "warehouse/instruments"},
    "completeness_days": {"warehouse/completeness"},
    "daily_bars": {"warehouse/candles_24h", "warehouse/instruments"},
    "funding_history": {"warehouse/candles_1h", "warehouse/instruments"},
    "instrument_history": {"warehouse/instruments"},
    "liquidation_days": {"warehouse/candles_1m"},
    "spread_depth_days": {"warehouse/candles_1m", "warehouse/instruments"},
    "venue_share": {"marts/daily_bars"},
}


class MartsLocation:
    """The second location over the settings of a platform and its instance."""

    def __init__(self, settings, instance):
        self.settings = settings
        self.instance = instance
        self.repository = build_marts_definitions(settings).get_repository_def()

    def key(self, name):
        return dg.AssetKey(["marts", name])

    def run(self, *names, days=None):
        keys = [self.key(name) for name in names]
        return self.repository.get_implicit_job_def_for_assets(keys).execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            tags=dict(zip(ENDS, days, strict=True)) if days else {},
            raise_on_error=False,
        )

    def look(self, cursor):
        """What the sensor asks for."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=cursor, repository_def=self.repository
        ) as context:
            data = self.repository.get_sensor_def(NAME).evaluate_tick(context)
        self.cursor, self.said = data.cursor, data.skip_message
        return list(data.run_requests or ())

    def made(self, result):
        """Events of partitions: the result of a run in this process has one for all of them."""
        records = self.instance.get_records_for_run(
            result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        found = [record.event_log_entry.get_dagster_event() for record in records]
        return {(event.asset_key.path[-1], event.partition): event for event in found}

    def rows(self, name):
        file = self.settings.warehouse_folder / "marts.duckdb"
        with duckdb.connect(file, read_only=True) as marts:
            marts.execute("SET TimeZone = 'UTC'")
            return marts.table(name).order("ALL").fetchall()


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    """Two days of a venue in the warehouse, final: the ticks of the days beside them are in."""
    root = tmp_path_factory.mktemp("marts")
    with open_platform(
        root,
        SmallMarket("BTCUSDT", "ETHUSDT", scale=0.01),
        (VENUE,),
        more_settings={"download_data_types": "trades", "warehouse_folder": root / "warehouse"},
    ) as (platform, _):
        platform.prepare(VENUE, *(f"{day}|{VENUE}" for day in DAYS))
        for day in DAYS:
            assert platform.run("raw_ticks/trades", partition=f"{day}|{VENUE}").success
        cells = (f"{FIRST}|{VENUE}", f"{SECOND}|{VENUE}")
        assert platform.run(*CANDLES, span=cells).success
        assert platform.run("completeness", span=cells).success
        tables = [f"warehouse/{name}" for name in TABLES]
        assert platform.run(*tables, span=(FIRST, SECOND)).success
        yield platform


@pytest.fixture(scope="module")
def location(platform):
    return MartsLocation(platform.settings, platform.instance)


@pytest.fixture(scope="module")
def finished(location):
    """Two days of every mart, made in the one run that the sensor asks for."""
    (request,) = location.look("0")
    keys = request.asset_selection
    assert {key.path[-1] for key in keys} == {*BY_DAY, WHOLE}
    result = location.repository.get_job(NAME).execute_in_process(
        instance=location.instance, asset_selection=keys, tags=request.tags
    )
    assert result.success
    return result


def test_a_range_is_one_dbt_process_and_each_day_is_a_partition(location, finished):
    made = location.made(finished)
    expected = {(name, day) for name in BY_DAY for day in (FIRST, SECOND)}
    assert made.keys() == expected | {(WHOLE, None)}
    calls = {event.materialization.metadata["invocation_id"].value for event in made.values()}
    assert len(calls) == 1


def test_marts_are_made_once_for_tables_that_changed(location, finished, platform):
    assert location.look(None) == []
    end = location.cursor
    assert location.look(end) == []
    assert location.said == "No table is new."
    # Published again and not changed: Dagster has an event of it, the marts have nothing to do.
    assert platform.run("warehouse/candles_24h", partition=SECOND).success
    assert location.look(end) == []
    assert int(location.cursor) > int(end)


def test_a_backfill_of_days_is_one_run(location):
    marts = location.repository.assets_defs_by_key[location.key("daily_bars")]
    assert marts.backfill_policy == dg.BackfillPolicy.single_run()
    assert marts.op.pool == "marts_writer"


def test_days_have_the_rows_of_the_warehouse(location, finished):
    days = {str(row[0]) for row in location.rows("daily_bars")}
    assert days == {FIRST, SECOND}
    with duckdb.connect(location.settings.warehouse_folder / "warehouse.duckdb") as warehouse:
        (final,) = warehouse.execute("SELECT count(*) FROM candles_24h WHERE is_final").fetchone()
    assert len(location.rows("daily_bars")) == final > 0


def test_every_dbt_test_is_a_check_that_was_evaluated(location, finished):
    expected = {
        (key.asset_key, key.name)
        for key in location.repository.asset_graph.asset_check_keys
        if key.asset_key.path[0] == "marts"
    }
    told = finished.get_asset_check_evaluations()
    assert {(item.asset_key, item.check_name) for item in told} == expected
    assert len(expected) > 50
    assert all(item.passed for item in told)


def test_a_mart_follows_the_tables_of_the_other_location(platform, location):
    graph = location.repository.asset_graph
    found = {
        name: {key.to_user_string() for key in graph.get(location.key(name)).parent_keys}
        for name in SOURCES
    }
    assert found == SOURCES
    published = build_definitions(platform.settings).get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        if key.path[0] == "warehouse":
            assert published.get(key).is_materializable
            assert not graph.get(key).is_materializable
    days = graph.get(location.key("daily_bars")).partitions_def
    assert days == published.get(dg.AssetKey(["warehouse", "candles_24h"])).partitions_def


def test_a_mart_says_who_keeps_it_and_what_its_columns_are(location):
    node = location.repository.asset_graph.get(location.key("daily_bars"))
    assert node.owners
    assert "One row per UTC day, venue and instrument" in node.description
    columns = {item.name: item for item in node.metadata["dagster/column_schema"].columns}
    assert columns["close"].type == "double"
    assert columns["close"].description


def test_columns_are_traced_to_columns_of_the_warehouse_over_views(location, finished):
    made = location.made(finished)

    def origins(mart, column, day=FIRST):
        lineage = made[mart, day].materialization.metadata["dagster/column_lineage"].value
        return {
            f"{dep.asset_key.to_user_string()}.{dep.column_name}"
            for dep in lineage.deps_by_column[column]
        }

    assert origins("daily_bars", "high") == {"warehouse/candles_24h.high"}
    assert origins("daily_bars", "base_asset") == {"warehouse/instruments.base_asset"}
    assert origins("venue_share", "volume") == {"marts/daily_bars.volume"}
    assert origins("spread_depth_days", "spread_bps") == {
        "warehouse/candles_1m.spread_bps_us",
        "warehouse/candles_1m.quote_normal_us",
    }
    assert origins(WHOLE, "tick_size", None) == {"warehouse/instruments.tick_size"}


def test_the_same_day_again_alone_leaves_every_table_as_it_was(location, finished):
    before = {name: location.rows(name) for name in (*BY_DAY, WHOLE)}
    result = location.run("daily_bars", "venue_share", days=(SECOND, SECOND))
    assert result.success
    assert set(location.made(result)) == {("daily_bars", SECOND), ("venue_share", SECOND)}
    assert {name: location.rows(name) for name in before} == before


def test_a_broken_identity_is_a_red_check_and_a_failed_run(location, finished, tmp_path):
    shutil.copytree(location.settings.warehouse_folder, tmp_path / "warehouse")
    with duckdb.connect(tmp_path / "warehouse" / "warehouse.duckdb") as warehouse:
        warehouse.execute("ALTER VIEW candles_24h RENAME TO honest")
        warehouse.execute(
            "CREATE VIEW candles_24h AS SELECT * REPLACE (low / 2 AS high) FROM honest"
        )
    with dg.DagsterInstance.ephemeral() as instance:
        settings = location.settings.model_copy(update={"warehouse_folder": tmp_path / "warehouse"})
        broken = MartsLocation(settings, instance)
        result = broken.run("daily_bars", days=(FIRST, SECOND))
        failed = {
            item.check_name
            for item in result.get_asset_check_evaluations()
            if not item.passed and item.severity is dg.AssetCheckSeverity.ERROR
        }
        assert "daily_bars_high_is_highest" in failed
        assert not result.success
        assert instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.FAILURE
        # What was made is said to be made: the check beside it is what is red.
        assert ("daily_bars", FIRST) in broken.made(result)


def test_without_a_warehouse_the_answer_is_the_step_before(location, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        settings = location.settings.model_copy(update={"warehouse_folder": tmp_path / "none"})
        result = MartsLocation(settings, instance).run("daily_bars", days=(FIRST, FIRST))
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "nothing was published yet" in (failure.step_failure_data.user_failure_data.description)
