"""An instance on a real Postgres: Dagster's own answers, the status of checks in linear time."""

from __future__ import annotations

import datetime as dt
import warnings
from collections import Counter

import dagster as dg
import pytest
import yaml
from dagster import DagsterEventType
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.asset_check_state import AssetCheckState
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)
from dagster_postgres.event_log import PostgresEventLogStorage

from tickhandler_dagster.instance.pools import INITIAL_LIMITS, TARDIS, WAREHOUSE_WRITER
from tickhandler_dagster.instance.postgres import LinearPostgresEventLog
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
KEY = dg.AssetKey("ticks")
CHECK = dg.AssetCheckKey(KEY, "complete")
GRID = build_grid(
    (VenueId("binance"), VenueId("deribit")), dt.date(2024, 1, 1), dt.date(2024, 1, 3)
).core
CELLS = ("2024-01-01|binance", "2024-01-01|deribit", "2024-01-02|binance")
BAD = "2024-01-02|deribit"
REPOSITORY = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="nothing")), "repository"
)


def ticks_of_two_days():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check = dg.AssetCheckSpec("complete", asset="ticks", partitions_def=GRID)

    @dg.asset(partitions_def=GRID, check_specs=[check])
    def ticks(context):
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=context.partition_key != BAD)]
        )

    return ticks


@pytest.fixture
def instance(make_home, monkeypatch):
    home, environment = make_home("deploy/dagster.postgres.yaml")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def parts(state):
    return state.latest_storage_id, state.subsets, state.in_progress_runs


def test_the_project_s_postgres_file_reaches_every_process_with_linear_statuses(instance):
    assert type(instance.event_log_storage) is LinearPostgresEventLog
    sent = InstanceRef.from_dict(instance.get_ref().to_dict())
    with dg.DagsterInstance.from_ref(sent) as other:
        assert type(other.event_log_storage) is LinearPostgresEventLog


def test_storages_named_one_by_one_as_the_helm_chart_does_have_linear_statuses_too(
    make_home, monkeypatch
):
    home, environment = make_home("deploy/dagster.postgres.yaml")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = home / "dagster.yaml"
    config = yaml.safe_load(file.read_text())
    database = config.pop("storage")["postgres"]
    for part, module in (
        ("run_storage", "PostgresRunStorage"),
        ("event_log_storage", "PostgresEventLogStorage"),
        ("schedule_storage", "PostgresScheduleStorage"),
    ):
        folder = part.removesuffix("_storage")
        name = "event_log" if folder == "event_log" else part
        config[part] = {
            "module": f"dagster_postgres.{name}",
            "class": module,
            "config": database,
        }
    file.write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(home)) as opened:
        assert type(opened.event_log_storage) is LinearPostgresEventLog


@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_after_real_runs_our_status_of_every_cell_is_dagster_s_own(instance):
    ticks = ticks_of_two_days()
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    for cell in (*CELLS, BAD):
        run = dg.materialize([ticks], instance=instance, run_config=config, partition_key=cell)
        assert run.success
    theirs = PostgresEventLogStorage(instance.event_log_storage.postgres_url)
    theirs.register_instance(instance)
    states = [
        storage.get_asset_check_state([(CHECK, GRID)])[CHECK]
        for storage in (instance.event_log_storage, theirs)
    ]
    assert parts(states[0]) == parts(states[1])
    assert type(states[1]) is AssetCheckState
    by_status = {
        status.value: set(map(str, subset.subset_value.get_partition_keys()))
        for status, subset in states[0].subsets.items()
    }
    assert by_status["FAILED"] == {BAD}
    assert by_status["SUCCEEDED"] == set(CELLS)


def test_a_plan_without_a_making_is_found_as_dagster_finds_it(instance):
    ours, key = instance.event_log_storage, dg.AssetKey("planned")
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=CELLS[0]))
    for cell in CELLS[:2]:
        data = AssetMaterializationPlannedData(key, partition=cell)
        event = dg.DagsterEvent(PLANNED.value, "job", event_specific_data=data)
        now = dt.datetime.now(dt.UTC).timestamp()
        ours.store_event(dg.EventLogEntry(None, "info", "", "run", now, dagster_event=event))
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=CELLS[1]))
    name = "get_latest_asset_partition_materialization_attempts_without_materializations"
    found = getattr(ours, name)(key)
    assert found == getattr(PostgresEventLogStorage, name)(ours, key)
    assert set(found) == {CELLS[0]}


def test_pools_begin_with_their_own_limits_on_postgres_too(instance):
    assert instance.event_log_storage.get_concurrency_keys() == set(INITIAL_LIMITS)
    for pool, limit in INITIAL_LIMITS.items():
        assert instance.event_log_storage.get_concurrency_info(pool).slot_count == limit


def test_on_postgres_the_queue_lets_no_more_runs_of_a_pool_begin_than_its_limit(instance):
    @dg.asset(pool=TARDIS)
    def fetched():
        pass

    @dg.asset(pool=WAREHOUSE_WRITER)
    def published():
        pass

    definitions = dg.Definitions(assets=[fetched, published])
    queued = {}
    for asset, count in (("fetched", 6), ("published", 3)):
        job = definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={dg.AssetKey(asset)}
        )
        queued[asset] = [
            instance.create_run_for_job(
                job,
                status=dg.DagsterRunStatus.QUEUED,
                remote_job_origin=RemoteJobOrigin(REPOSITORY, job.name),
            )
            for _ in range(count)
        ]
    of_run = {run.run_id: asset for asset, runs in queued.items() for run in runs}
    limits = instance.get_concurrency_config()
    roomy = type(limits)(
        pool_config=limits.pool_config,
        run_queue_config=limits.run_queue_config._replace(max_concurrent_runs=25),
    )
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    def begin():
        """Let those that may begin, as the daemon does at a look."""
        chosen = daemon._get_runs_to_dequeue(instance, roomy, fixed_iteration_time=None)
        for run in chosen:
            instance.report_dagster_event(
                DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name), run.run_id
            )
        return Counter(of_run[run.run_id] for run in chosen), chosen

    counts, begun = begin()
    assert counts == {"fetched": INITIAL_LIMITS[TARDIS], "published": 1}
    assert begin()[0] == {}, "a second look lets none more begin"
    over = next(run for run in begun if of_run[run.run_id] == "published")
    instance.report_run_canceled(over)
    assert begin()[0] == {"published": 1}, "the place of a run that is over is free"
