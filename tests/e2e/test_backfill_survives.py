"""A backfill in blocks through the real daemon: killed in the middle, cancelled, and finished."""

import signal
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from doubles.installation import new_home, settings_over

from tickhandler_dagster.automation.backfill_blocks import blocks_of
from tickhandler_dagster.automation.backfills import start_partitions, state_of
from tickhandler_dagster.automation.jobs import partitions_of
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator
from tickhandler_dagster.settings import child_environment

VENUE = "upbit"
DAYS = tuple(f"2024-08-0{day}" for day in range(1, 9))
ASSETS = (dg.AssetKey("instruments"), dg.AssetKey(["raw_ticks", "trades"]))
LIMIT_S = 480


class Installation:
    """An instance, its settings, and the cells of a backfill."""

    def __init__(self, settings, instance):
        self.settings, self.instance = settings, instance
        repository = build_definitions(settings).get_repository_def()
        self.partitions = partitions_of(repository.assets_defs_by_key.values())

    def start(self, assets, days_per_run, days=DAYS):
        keys = {key: tuple(f"{day}|{VENUE}" for day in days) for key in assets}
        return [
            start_partitions(
                self.instance, block.keys, self.partitions, tags={"who": "test"}, title=block.first
            )
            for block in blocks_of(keys, days_per_run)
        ]

    def made(self, key):
        """How often every cell was materialized."""
        records = self.instance.fetch_materializations(key, limit=1000).records
        return Counter(record.partition_key for record in records)

    def process_starts(self, run_id):
        """How many processes were started for a run."""
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        return sum("Started process for run" in (event.message or "") for event in events if event)

    def wait(self, is_enough):
        deadline = time.monotonic() + LIMIT_S
        while not is_enough():
            assert time.monotonic() < deadline, [
                (run.status, run.tags.get("dagster/backfill")) for run in self.instance.get_runs()
            ]
            time.sleep(0.3)

    def objects(self):
        return [file for file in Path(self.settings.lake_root).rglob("*") if file.is_file()]


@pytest.fixture
def installation(tmp_path):
    with SandboxServer(Simulator(7, scale=0.01)) as server:
        settings = settings_over(
            server,
            tmp_path,
            (VENUE,),
            days=DAYS,
            download_data_types=("trades",),
            dagster_home=new_home(tmp_path),
        )
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            yield Installation(settings, instance)


def test_a_killed_daemon_leaves_a_backfill_that_ends_with_every_cell_once(
    installation, platform_over, open_services, tmp_path
):
    instance = installation.instance
    platform = platform_over(installation.settings, instance)
    assert platform.run("exchange_catalog", partition=VENUE).success
    days = DAYS[:4]
    names = installation.start(ASSETS, 2, days)
    assert len(names) == 2
    with open_services(child_environment(installation.settings), tmp_path) as services:
        location = services.start_code("-m", "tickhandler_dagster.definitions")
        daemon = services.start_daemon(location)
        installation.wait(lambda: len(instance.get_runs()) > 1)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)
        services.stop(daemon)
        services.start_daemon(location)
        installation.wait(lambda: all(state_of(instance, name).is_over for name in names))
    assert all(state_of(instance, name).is_whole for name in names)
    cells = {f"{day}|{VENUE}": 1 for day in days}
    assert {str(key): installation.made(key) for key in ASSETS} == {
        str(key): cells for key in ASSETS
    }
    runs = [run for run in instance.get_runs() if "dagster/backfill" in run.tags]
    assert len(runs) == 2, "days of a block are one run"
    assert [installation.process_starts(run.run_id) for run in runs] == [1, 1]
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert limits["tardis"] == 4


def test_a_backfill_that_is_cancelled_leaves_a_lake_that_the_next_completes(
    installation, platform_over, open_services, tmp_path
):
    instance = installation.instance
    platform = platform_over(installation.settings, instance)
    assert platform.run("exchange_catalog", partition=VENUE).success
    (name,) = installation.start(ASSETS, 30)
    ticks = ASSETS[1]
    with open_services(child_environment(installation.settings), tmp_path) as services:
        location = services.start_code("-m", "tickhandler_dagster.definitions")
        services.start_daemon(location)
        installation.wait(
            lambda: any("data_type-trades" in str(file) for file in installation.objects())
        )
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": name}))
        asked = instance.get_backfill(name)  # as the page's button does:
        instance.update_backfill(asked.with_status(BulkActionStatus.CANCELING))
        installation.wait(lambda: state_of(instance, name).is_over)
        installation.wait(lambda: instance.get_run_by_id(run.run_id).is_finished)
        visible = [file for file in installation.objects() if "_scratch" not in file.parts]
        assert not [file for file in visible if file.suffix not in {".parquet", ".json"}]
        (again,) = installation.start(ASSETS, 30)
        installation.wait(lambda: state_of(instance, again).is_over)
        assert state_of(instance, again).is_whole
    assert not [file for file in installation.objects() if "_scratch" in file.parts]
    assert set(installation.made(ticks)) == {f"{day}|{VENUE}" for day in DAYS}
