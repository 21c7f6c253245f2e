"""What the clock reads of its own runs: attempts, failures, restarts, what a person cancelled."""

import datetime as dt

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent
from dagster._core.execution.backfill import BulkActionStatus

from tickhandler_dagster.automation.backfills import start_partitions
from tickhandler_dagster.automation.daily import Memory
from tickhandler_dagster.automation.daily_jobs import (
    ATTEMPT_TAG,
    DAY_TAG,
    WORK_TAG,
    DailyJob,
    parse_work,
    run_requests,
    work_text,
)
from tickhandler_dagster.automation.daily_look import look_at
from tickhandler_dagster.market.daily import MAX_ATTEMPTS, DailyStage, Start, Work, WorkStatus
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

DAY = dt.date(2024, 8, 8)
TICKS = Work(DailyStage.TICKS, DAY, VenueId.BINANCE)
TABLES = Work(DailyStage.TABLES, DAY, None, 3)
GRID = build_grid([VenueId.BINANCE], dt.date(2024, 8, 1), DAY)
JOBS = (
    DailyJob("daily_ticks", DailyStage.TICKS, (dg.AssetKey(["raw_ticks", "trades"]),), GRID.core),
    DailyJob(
        "daily_ticks_more", DailyStage.TICKS, (dg.AssetKey(["raw_ticks", "quotes"]),), GRID.core
    ),
    DailyJob("daily_tables", DailyStage.TABLES, (dg.AssetKey(["warehouse", "x"]),), GRID.days),
)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def _run(instance, name, *, attempt=1, work=TICKS, more=None):
    job = dg.JobDefinition(name=name, graph_def=dg.GraphDefinition(name=name))
    tags = {
        DAY_TAG: DAY.isoformat(),
        WORK_TAG: work_text(work),
        ATTEMPT_TAG: str(attempt),
        **(more or {}),
    }
    return instance.create_run_for_job(job, tags=tags)


def _progress(instance):
    return look_at(instance, JOBS, [DAY]).progress[TICKS]


def test_work_is_over_when_the_newest_run_of_each_of_its_jobs_succeeded(instance):
    first, second = _run(instance, "daily_ticks"), _run(instance, "daily_ticks_more")
    assert _progress(instance).status is WorkStatus.UNDER_WAY
    _succeed(instance, first)
    assert _progress(instance).status is WorkStatus.UNDER_WAY
    instance.report_run_failed(second)
    found = _progress(instance)
    assert (found.status, found.attempts) == (WorkStatus.FAILED, 1)
    start = Start(TICKS, 2, 40)
    assert [job.name for job in look_at(instance, JOBS, [DAY]).to_run(start)] == [
        "daily_ticks_more"
    ]
    third = _run(instance, "daily_ticks_more", attempt=2)
    assert _progress(instance).status is WorkStatus.UNDER_WAY
    _succeed(instance, third)
    assert (_progress(instance).status, _progress(instance).attempts) == (WorkStatus.OVER, 2)


def _succeed(instance, run):
    kind = dg.DagsterEventType.RUN_SUCCESS
    instance.report_dagster_event(DagsterEvent(kind.value, run.job_name), run.run_id)


def test_a_backfill_that_has_no_runs_yet_is_making_its_cells_until_it_is_over(instance):
    start = Start(TICKS, 1, 40)
    assert look_at(instance, JOBS, [DAY]).of_others([start]) == {}
    trades = JOBS[0].keys[0]
    name = start_partitions(
        instance, {trades: ["2024-08-08|binance"]}, {trades: GRID.core}, tags={}, title="by hand"
    )
    found = look_at(instance, JOBS, [DAY]).of_others([start])
    assert found[TICKS].status is WorkStatus.UNDER_WAY
    day_before = Start(Work(DailyStage.TICKS, dt.date(2024, 8, 7), VenueId.BINANCE), 1, 40)
    assert look_at(instance, JOBS, [DAY]).of_others([day_before]) == {}
    backfill = instance.get_backfill(name)
    instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    assert look_at(instance, JOBS, [DAY]).of_others([start]) == {}


def test_a_run_that_dagster_starts_again_is_under_way(instance):
    instance.report_run_failed(_run(instance, "daily_ticks", more={"dagster/will_retry": "true"}))
    assert _progress(instance).status is WorkStatus.UNDER_WAY
    _succeed(instance, _run(instance, "daily_ticks"))
    found = _progress(instance)
    assert (found.status, found.attempts) == (WorkStatus.OVER, 1)


def test_what_a_person_cancelled_is_given_up(instance):
    instance.report_run_canceled(_run(instance, "daily_ticks"))
    found = _progress(instance)
    assert found.attempts == MAX_ATTEMPTS
    assert found.is_given_up


def test_the_tag_of_a_work_is_read_back():
    for work in (TICKS, TABLES):
        assert parse_work(work_text(work)) == work


def test_tables_are_closed_with_the_day_before_where_it_was_published():
    for was_made, first in ((True, "2024-08-07"), (False, None)):
        (request,) = run_requests(Start(TABLES, 1, 40), JOBS[2:], {"daily_tables": was_made})
        assert request.tags.get("dagster/asset_partition_range_start") == first
        assert request.partition_key == (None if was_made else "2024-08-08")


def test_the_memory_is_read_back():
    memory = Memory(
        since=DAY,
        closed=frozenset({DAY}),
        exported={VenueId.BINANCE: DAY},
        asked={VenueId.UPBIT: dt.datetime(2024, 8, 9, 8, tzinfo=dt.UTC)},
    )
    assert Memory.parse(memory.text()) == memory
    assert Memory.parse(Memory().text()) == Memory()
