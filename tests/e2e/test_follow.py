"""Ticks that came in by hand: seen once, and exactly what reads them and is older is planned."""

import datetime as dt
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.types import DaemonHeartbeat
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.automation.daily_jobs import DAY_TAG
from tickhandler_dagster.automation.follow import (
    JOB,
    OP,
    SENSOR,
    parse_ranges,
    plan_of_followers,
    ranges_text,
)
from tickhandler_dagster.definitions import build_definitions, repair_scope
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.repair import BrokenPartition
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import child_environment

CELL = "2024-08-08|upbit"
TRADES = dg.AssetKey(["raw_ticks", "trades"])
HERE = """
run_launcher: {module: doubles.run_launcher, class: ThreadRunLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
telemetry: {enabled: false}
"""
PATIENCE_S = 200


@pytest.fixture
def platform(make_platform, platform_over, tmp_path):
    found, _ = make_platform(
        Simulator(7, scale=0.01),
        (VenueId.UPBIT,),
        start="2024-08-07",
        more_settings={"download_data_types": ("trades",), "partition_end_date": "2024-08-09"},
    )
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(HERE)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield platform_over(found.settings, instance)


class Sensor:
    """The sensor, look after look."""

    def __init__(self, platform):
        self._instance = platform.instance
        repository = build_definitions(platform.settings).get_repository_def()
        self._sensor, self._repository = repository.get_sensor_def(SENSOR), repository
        self._cursor = None

    def job(self, ticks):
        """The run that the sensor asks for."""
        return self._repository.get_job(JOB).execute_in_process(
            instance=self._instance,
            run_config={"ops": {OP: {"config": {"ticks": ticks}}}},
            raise_on_error=False,
        )

    def look(self):
        with dg.build_sensor_context(
            instance=self._instance, cursor=self._cursor, repository_def=self._repository
        ) as context:
            data = self._sensor.evaluate_tick(context)
        self._cursor = data.cursor
        return [one.run_config["ops"][OP]["config"]["ticks"] for one in data.run_requests or ()]


def test_ticks_that_came_in_are_seen_once_and_only_when_nothing_else_runs(platform):
    instance, sensor = platform.instance, Sensor(platform)
    instance.report_runless_asset_event(dg.AssetMaterialization(TRADES, partition=CELL))
    assert sensor.look() == [], "what was there before is not news"
    for day in ("2024-08-08", "2024-08-09"):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(TRADES, partition=f"{day}|upbit")
        )
    run = instance.create_run_for_job(dg.job(name="busy")(lambda: None))
    assert sensor.look() == [], "something goes on"
    instance.report_run_canceled(run)
    assert sensor.look() == [["trades upbit 2024-08-08 2024-08-09"]]
    assert sensor.look() == []


def test_the_clocks_own_ticks_are_the_clocks(platform):
    sensor = Sensor(platform)
    sensor.look()
    platform.prepare("upbit", CELL)
    repository = build_definitions(platform.settings).get_repository_def()
    done = repository.get_job("daily_ticks").execute_in_process(
        instance=platform.instance,
        tags={DAY_TAG: "2024-08-08", "dagster/partition": CELL},
        partition_key=CELL,
    )
    assert done.success
    assert sensor.look() == []


def test_what_reads_the_ticks_and_is_older_is_planned_and_nothing_is_begun(platform):
    platform.prepare("upbit", CELL)
    assert platform.run("raw_ticks/trades", partition=CELL).success
    assert platform.run("candles/24h", partition=CELL).success
    layout = repair_scope(platform.settings).layout()
    came = [BrokenPartition(DataType.TRADES, VenueDay.parse(CELL), {})]

    def planned():
        plan = plan_of_followers(platform.instance, came, platform.lake, layout)
        return {item.asset: [str(cell) for cell in item.cells] for item in plan.items}

    assert planned() == {"completeness": [CELL]}, "the candle is younger than its ticks"
    assert platform.run("completeness", partition=CELL).success
    assert planned() == {}
    assert platform.run("raw_ticks/trades", partition=CELL).success
    assert planned() == {"candles/24h": [CELL], "completeness": [CELL]}


MODULE = LoadableTargetOrigin(
    executable_path=sys.executable, module_name="tickhandler_dagster.definitions"
)
LOCATION = InProcessCodeLocationOrigin(MODULE, location_name="tickhandler")


def beat(instance):
    """The daemon is alive, as it says itself."""
    heartbeat = DaemonHeartbeat(time.time(), "BACKFILL", "this process", [])
    instance.add_daemon_heartbeat(heartbeat)


def drive(instance, workspace, is_over):
    """What the daemon does about backfills, until something is over."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_over():
        assert time.monotonic() < deadline
        beat(instance)
        for trouble in execute_backfill_iteration(workspace, logging.getLogger("daemon")):
            assert trouble is None, trouble
        time.sleep(0.05)


# Of Dagster, which asks its own schedules for what it has given up.
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition:DeprecationWarning")
def test_ticks_that_came_in_by_hand_flow_on_to_candles_the_record_and_published_tables(
    platform, monkeypatch
):
    for name, text in child_environment(platform.settings).items():
        monkeypatch.setenv(name, text)
    platform.prepare("upbit", CELL)
    downstream = ("candles/24h", "completeness")
    assert platform.run("raw_ticks/trades", partition=CELL).success
    for asset in downstream:
        assert platform.run(asset, partition=CELL).success
    assert platform.run("warehouse/candles_24h", partition="2024-08-08").success
    sensor = Sensor(platform)
    assert sensor.look() == []

    def runs(asset):
        key = dg.AssetKey(asset.split("/"))
        records = platform.instance.fetch_materializations(key, limit=100).records
        return [(record.partition_key, record.run_id) for record in records]

    by_hand = platform.run("raw_ticks/trades", partition=CELL)
    before = {name: runs(name) for name in (*downstream, "warehouse/candles_24h")}
    (ticks,) = sensor.look()
    here = InProcessWorkspaceLoadTarget(LOCATION)
    with WorkspaceProcessContext(platform.instance, here) as workspace:
        beat(platform.instance)
        with ThreadPoolExecutor(1) as pool:
            followed = pool.submit(sensor.job, ticks)
            drive(platform.instance, workspace, followed.done)
    assert followed.result().success, platform.failures(followed.result())
    for name, earlier in before.items():
        cell = CELL if name in downstream else "2024-08-08"
        fresh = [one for one in runs(name) if one not in earlier]
        assert [key for key, _ in fresh] == [cell], name
    assert runs("raw_ticks/trades")[0] == (CELL, by_hand.run_id), "no tick was asked for again"
    assert sensor.look() == [], "what a run of its own made is no news"


@given(
    st.dictionaries(
        st.sampled_from(list(DataType)),
        st.frozensets(
            st.builds(
                VenueDay,
                st.dates(dt.date(2024, 1, 1), dt.date(2024, 2, 1)),
                st.sampled_from(VenueId),
            ),
            min_size=1,
        ),
    )
)
def test_the_runs_configuration_says_the_same_cells(found):
    back = parse_ranges(ranges_text(found))
    assert {(one.data_type, one.cell) for one in back} == {
        (data_type, cell) for data_type, cells in found.items() for cell in cells
    }
    assert len(back) == sum(map(len, found.values()))
