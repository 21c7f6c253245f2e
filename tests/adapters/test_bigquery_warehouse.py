"""The warehouse in BigQuery, against a stand-in that the official client talks to."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from doubles.bigquery.errors import Refused
from doubles.bigquery.small import PROJECT, rows_of, small_table, warehouse

from tickhandler_dagster.adapters import bigquery_jobs
from tickhandler_dagster.adapters.bigquery_errors import Calls
from tickhandler_dagster.adapters.warehouse import TableDay
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    QuotaExhausted,
)
from tickhandler_dagster.market.tables import Column

DAY = dt.date(2024, 8, 8)
NEXT = DAY + dt.timedelta(days=1)
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def store(bigquery, small_lake):
    made = warehouse(bigquery.endpoint, small_lake.uri)
    made.ensure(small_table())
    return made


@pytest.fixture
def table():
    return small_table()


def publisher(bigquery, lake, days, tmp_path):
    file = tmp_path / f"days-{len(list(tmp_path.iterdir()))}.pickle"
    file.write_bytes(pickle.dumps(days))
    paths = [str(TESTS), str(TESTS.parent)]
    command = [sys.executable, "-m", "doubles.bigquery.small", bigquery.endpoint, lake.uri, file]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [str(part) for part in command], env=environment, stderr=subprocess.PIPE, text=True
    )


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_published_day_is_in_the_table_as_it_is_in_the_lake(store, table, small_lake):
    day = small_lake.day(DAY, {"binance": 6, "deribit": 3})
    (receipt,) = store.publish(table, [day])
    found = rows_of(store)
    assert (receipt.day, receipt.rows, receipt.bytes, receipt.is_new) == (DAY, 9, day.bytes, True)
    assert "20240808" in receipt.job_id
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6, (DAY, "deribit"): 3}
    assert found["ts_open"].dtype == pl.Datetime("us", "UTC")
    assert found["ts_open"].max() == dt.datetime(2024, 8, 8, 0, 5, tzinfo=dt.UTC)
    assert found["close"].null_count() == 1
    assert found["sources"].to_list() == [["a", "b"]] * 9


def test_a_day_is_not_loaded_again_until_its_content_changes(store, table, small_lake, bigquery):
    first = small_lake.day(DAY, {"binance": 6})
    store.publish(table, [first])
    (again,) = store.publish(table, [first])
    assert (again.rows, again.bytes, again.is_new) == (6, 0, False)
    other = small_lake.day(DAY, {"binance": 6}, trades=pl.lit(7))
    assert store.publish(table, [other])[0].is_new
    assert rows_of(store)["trades"].to_list() == [7] * 6
    assert len(bigquery.jobs.of_table("candles_1m")) == 2


def test_content_that_comes_back_is_loaded_again(store, table, small_lake):
    first = small_lake.day(DAY, {"binance": 6})
    store.publish(table, [first])
    store.publish(table, [small_lake.day(DAY, {"binance": 6}, trades=pl.lit(7))])
    (receipt,) = store.publish(table, [small_lake.day(DAY, {"binance": 6})])
    assert receipt.is_new
    assert receipt.job_id.endswith("-1")
    assert rows_of(store)["trades"].to_list() == list(range(6))


def test_what_was_published_before_the_list_of_jobs_begins_is_found_by_name(
    store, table, small_lake, monkeypatch
):
    memory = dt.timedelta(seconds=2)
    monkeypatch.setattr(bigquery_jobs, "_SLACK", dt.timedelta(0))
    first = small_lake.day(DAY, {"binance": 6})
    names = [store.publish(table, [first])[0].job_id]
    with monkeypatch.context() as later:
        later.setattr(bigquery_jobs, "MEMORY", dt.timedelta(0))
        assert not store.publish(table, [first])[0].is_new
    store.publish(table, [small_lake.day(DAY, {"binance": 6}, trades=pl.lit(7))])
    first = small_lake.day(DAY, {"binance": 6})
    time.sleep(memory.total_seconds() + 0.2)
    monkeypatch.setattr(bigquery_jobs, "MEMORY", memory)
    names.append(store.publish(table, [first])[0].job_id)
    assert [name[-2:] for name in names] == ["-0", "-1"]
    assert rows_of(store)["trades"].to_list() == list(range(6))


@pytest.mark.parametrize("reason", ["duplicate", "conditionNotMet"])
def test_a_table_that_another_process_makes_at_this_moment_asks_for_another_try(
    bigquery, small_lake, store, monkeypatch, reason
):
    refused = Refused(reason, "as the test asked")

    def refuse(*_):
        raise refused

    monkeypatch.setattr(bigquery.catalog, "update_table", refuse)
    wider = small_table(Column("more", pl.Int64(), "More.", is_nullable=True))
    with pytest.raises(ConcurrentWrite, match="another process"):
        store.ensure(wider)


def test_a_venue_that_vanished_and_a_day_that_is_empty_leave_the_table(store, table, small_lake):
    both = {"binance": 2, "deribit": 2}
    store.publish(table, [small_lake.day(DAY, both), small_lake.day(NEXT, both)])
    store.publish(table, [small_lake.day(DAY, {"binance": 2}), TableDay(NEXT, ())])
    assert store.counts(table, [DAY, NEXT]) == {(DAY, "binance"): 2}
    (receipt,) = store.publish(table, [TableDay(NEXT, ())])
    assert (receipt.rows, receipt.is_new) == (0, False)


def test_rows_changed_by_others_are_noticed_and_loaded_again(store, table, small_lake, bigquery):
    day = small_lake.day(DAY, {"binance": 6})
    store.publish(table, [day])
    bigquery.client().query(
        "DELETE FROM market.candles_1m WHERE ts_open > '2024-08-08 00:02:00'"
    ).result()
    assert len(rows_of(store)) == 3
    assert store.publish(table, [day])[0].is_new
    assert len(rows_of(store)) == 6


def test_a_row_of_another_day_is_refused_and_the_old_day_stays(store, table, small_lake):
    good = small_lake.day(DAY, {"binance": 6})
    store.publish(table, [good])
    moved = pl.col("ts_open").dt.offset_by("1d")
    with pytest.raises(CorruptData, match="different partitions"):
        store.publish(table, [small_lake.day(DAY, {"binance": 7}, ts_open=moved)])
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6}


def test_a_lake_written_meanwhile_is_noticed(store, table, small_lake):
    day = small_lake.day(DAY, {"binance": 6})
    small_lake.day(DAY, {"binance": 9})
    with pytest.raises(ConcurrentWrite, match="manifests say"):
        store.publish(table, [day])


def test_an_object_that_went_away_asks_for_another_try(store, table, small_lake, gcs):
    day = small_lake.day(DAY, {"binance": 6})
    for file in gcs.folder.rglob("binance.parquet"):
        file.unlink()
    with pytest.raises(ConcurrentWrite, match="went away"):
        store.publish(table, [day])


def test_a_year_takes_a_load_job_per_month_and_free_copies(store, table, small_lake, bigquery):
    first = dt.date(2023, 1, 1)
    days = [
        small_lake.day(first + dt.timedelta(days=n), {"binance": 1 + n % 3}) for n in range(365)
    ]
    receipts = store.publish(table, days)
    loads = [job for job in bigquery.jobs.all.values() if "load" in job["configuration"]]
    assert len(loads) <= 13
    assert len(bigquery.jobs.of_table("candles_1m", "copy")) == 365
    assert [receipt.day for receipt in receipts] == [day.day for day in days]
    found = store.counts(table, [day.day for day in days])
    assert sum(found.values()) == sum(day.rows for day in days)
    assert not [key for key in bigquery.catalog.tables if "staging" in key[2]]
    assert not any(receipt.is_new for receipt in store.publish(table, days[100:110]))


def test_when_the_loads_of_a_day_are_used_up_days_go_in_by_copies(
    store, table, small_lake, bigquery, monkeypatch
):
    monkeypatch.setattr("tickhandler_dagster.adapters.bigquery_loads.LOADS_PER_DAY", 3)
    for count in range(1, 7):
        store.publish(table, [small_lake.day(DAY, {"binance": count})])
    assert len(bigquery.jobs.of_table("candles_1m")) == 3
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6}


def test_more_objects_than_a_job_may_name_go_in_by_several_jobs(
    store, table, small_lake, bigquery, monkeypatch
):
    monkeypatch.setattr("tickhandler_dagster.adapters.bigquery_loads.OBJECTS_PER_JOB", 2)
    venues = dict.fromkeys(("binance", "deribit", "coinbase", "bybit", "okex"), 3)
    store.publish(table, [small_lake.day(DAY, venues)])
    assert store.counts(table, [DAY]) == {(DAY, name): 3 for name in venues}
    assert len(bigquery.jobs.of_table("candles_1m")) == 0


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "backendError", "quotaExceeded"])
def test_refusals_for_the_moment_are_waited_out(store, table, small_lake, bigquery, reason):
    bigquery.fail("load", reason, times=2)
    bigquery.fail("http", reason, times=2)
    (receipt,) = store.publish(table, [small_lake.day(DAY, {"binance": 6})])
    assert (receipt.rows, receipt.is_new) == (6, True)


def test_a_quota_that_stays_used_up_is_said(store, table, small_lake, bigquery):
    bigquery.fail("load", "quotaExceeded", times=9)
    with pytest.raises(QuotaExhausted, match="refills over 24 hours") as caught:
        store.publish(table, [small_lake.day(DAY, {"binance": 6})])
    assert caught.value.retry_after_s > 0


def test_waits_grow_and_differ():
    waits = []
    calls = Calls((1.0, 2.0, 4.0), sleep=waits.append)
    for tried in (1, 2, 3, 4):
        calls.pause(tried)
    assert [1.0 <= w / e <= 1.5 for w, e in zip(waits, (1, 2, 4, 4), strict=True)] == [True] * 4
    assert len({w / e for w, e in zip(waits, (1, 2, 4, 4), strict=True)}) == 4


def test_a_copy_that_fails_for_the_moment_is_repeated(store, table, small_lake, bigquery):
    bigquery.fail("copy", "backendError", times=1)
    store.publish(table, [small_lake.day(day, {"binance": 2}) for day in (DAY, NEXT)])
    assert store.counts(table, [DAY, NEXT]) == {(DAY, "binance"): 2, (NEXT, "binance"): 2}


def test_a_job_whose_answer_was_lost_is_found_by_its_name(
    store, table, small_lake, bigquery, monkeypatch
):
    insert, lost = bigquery.jobs.insert, []

    def losing(project, body):
        job = insert(project, body)
        if "load" in body["configuration"] and not lost:
            lost.append(job["jobReference"]["jobId"])
            bigquery.fail("http", "backendError")
            raise bigquery._answers.pop()
        return job

    monkeypatch.setattr(bigquery.jobs, "insert", losing)
    (receipt,) = store.publish(table, [small_lake.day(DAY, {"binance": 6})])
    assert [receipt.job_id] == lost
    assert len(bigquery.jobs.of_table("candles_1m")) == 1


def test_a_publisher_killed_while_its_job_runs_leaves_the_day_whole(
    bigquery, small_lake, store, table, tmp_path
):
    day = small_lake.day(DAY, {"binance": 6})
    bigquery.seconds["load"] = 0.5
    process = publisher(bigquery, small_lake, [day], tmp_path)
    until(lambda: bigquery.jobs.of_table("candles_1m"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (receipt,) = store.publish(table, [day])
    assert receipt.rows == 6
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6}
    assert len(bigquery.jobs.of_table("candles_1m")) == 1


class Crash(BaseException):
    """The process ends here."""


class DyingCalls(Calls):
    """Calls of a process that ends before or after its n-th."""

    def __init__(self, left, *, is_done):
        super().__init__(())
        self.left, self.is_done = left, is_done

    def __call__(self, subject, call):
        self.left -= 1
        if self.left == 0 and not self.is_done:
            raise Crash
        answer = super().__call__(subject, call)
        if self.left == 0:
            raise Crash
        return answer


@pytest.mark.parametrize("is_done", [False, True])
def test_a_publisher_that_ends_at_any_call_leaves_old_or_new_days_and_a_whole_table_after_the_next(
    bigquery, small_lake, store, table, is_done
):
    days = [DAY, NEXT, dt.date(2024, 9, 1)]
    counts = {}
    for number in range(1, 40):
        older = {day: counts.get((day, "binance"), 0) for day in days}
        wanted = [small_lake.day(day, {"binance": number}) for day in days]
        dying = DyingCalls(number, is_done=is_done)
        try:
            warehouse(bigquery.endpoint, small_lake.uri, calls=dying).publish(table, wanted)
            break
        except Crash:
            pass
        for (day, _), found in store.counts(table, days).items():
            assert found in {older[day], number}
        store.publish(table, wanted)
        counts = store.counts(table, days)
        assert counts == {(day, "binance"): number for day in days}
    assert number > 8


def test_two_processes_with_two_views_of_a_day_end_with_the_whole_day(
    bigquery, small_lake, store, table, tmp_path
):
    one = small_lake.day(DAY, {"binance": 6})
    both = small_lake.day(DAY, {"binance": 6, "deribit": 4})
    bigquery.seconds["load"] = 0.3
    running = [publisher(bigquery, small_lake, [day], tmp_path) for day in (one, both)]
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0 or "ConcurrentWrite" in errors
    store.publish(table, [both])
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6, (DAY, "deribit"): 4}
    assert len(rows_of(store)) == 10


def test_loads_that_overlapped_with_others_are_repeated(store, table, small_lake, bigquery):
    one, two = (small_lake.day(DAY, {name: 6}) for name in ("binance", "deribit"))
    store.publish(table, [one])
    job = bigquery.jobs.of_table("candles_1m")[0]
    twin = {**job, "jobReference": {**job["jobReference"]}}
    name = twin["jobReference"]["jobId"].replace(one.digest[:16], two.digest[:16])
    twin["jobReference"]["jobId"] = name
    bigquery.jobs.all[PROJECT, name] = twin
    assert store.publish(table, [one])[0].is_new
    assert store.counts(table, [DAY]) == {(DAY, "binance"): 6}
