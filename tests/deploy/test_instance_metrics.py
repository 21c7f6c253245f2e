"""Numbers of an instance against what was done to it."""

from __future__ import annotations

import datetime as dt
import json
import threading
import warnings
from http.server import ThreadingHTTPServer

import dagster as dg
import pytest
import requests
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from tickhandler_dagster.automation.alert_store import store_memory
from tickhandler_dagster.automation.alert_watch import Watch
from tickhandler_dagster.automation.instance_metrics import Watched, instance_metrics
from tickhandler_dagster.cli.metrics import LastLook, _handler
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

NOW = dt.datetime(2024, 1, 5, 8, tzinfo=dt.UTC)
GRID = build_grid(
    (VenueId("binance"), VenueId("deribit")), dt.date(2024, 1, 1), dt.date(2024, 1, 4)
)
KEY = dg.AssetKey(["candles", "1m"])
TABLE = dg.AssetKey(["warehouse", "candles_1m"])
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BAD = "2024-01-02|deribit"
BROKEN = "2024-01-03|deribit"


def assets():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check = dg.AssetCheckSpec("complete", asset=KEY, partitions_def=GRID.core)

    @dg.asset(key=KEY, partitions_def=GRID.core, check_specs=[check])
    def candles(context):
        if context.partition_key == BROKEN:
            message = "no ticks"
            raise RuntimeError(message)
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=context.partition_key != BAD)]
        )

    @dg.asset(key=TABLE, partitions_def=GRID.days)
    def table():
        return dg.MaterializeResult()

    return [candles, table]


@pytest.fixture(scope="module")
def instance():
    made = assets()
    with (
        warnings.catch_warnings(),
        dg.DagsterInstance.ephemeral() as opened,
    ):
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        for cell in ("2024-01-02|binance", "2024-01-03|binance", BAD, BROKEN):
            dg.materialize(
                made,
                selection=[KEY],
                instance=opened,
                partition_key=cell,
                run_config=QUIET,
                raise_on_error=False,
            )
        dg.materialize(
            made, selection=[TABLE], instance=opened, partition_key="2024-01-02", run_config=QUIET
        )
        place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "all")
        opened.add_run(
            dg.DagsterRun(
                job_name="job",
                status=dg.DagsterRunStatus.QUEUED,
                remote_job_origin=place.get_job_origin("job"),
            )
        )
        yield opened


def watched(days):
    return Watched({KEY: GRID.core, TABLE: GRID.days}, [dg.AssetCheckKey(KEY, "complete")], days)


def numbers(metrics):
    return {
        (sample.name.removeprefix("tickhandler_"), *sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_partitions_are_counted_by_state_over_the_days_of_the_window(instance):
    found = numbers(instance_metrics(instance, watched(3), now=NOW))
    ours = {key[1:]: value for key, value in found.items() if key[0] == "partitions"}
    assert ours == {
        ("candles", "binance", "materialized"): 2,
        ("candles", "binance", "missing"): 1,
        ("candles", "deribit", "materialized"): 1,
        ("candles", "deribit", "failed"): 1,
        ("candles", "deribit", "missing"): 1,
        ("warehouse", "all", "materialized"): 1,
        ("warehouse", "all", "missing"): 2,
    }
    short = numbers(instance_metrics(instance, watched(1), now=NOW))
    assert sum(value for key, value in short.items() if key[0] == "partitions") == 3


def test_the_newest_day_that_is_there_is_told_by_its_end(instance):
    found = numbers(instance_metrics(instance, watched(3), now=NOW))
    ours = {
        key[1:]: dt.datetime.fromtimestamp(value, dt.UTC).date().isoformat()
        for key, value in found.items()
        if key[0] == "newest_day_end_timestamp_seconds"
    }
    assert ours == {
        ("candles", "binance"): "2024-01-04",
        ("candles", "deribit"): "2024-01-03",
        ("warehouse", "all"): "2024-01-03",
    }


def test_failed_checks_runs_and_alerts_are_counted(instance):
    store_memory(instance, Watch.from_now(instance), Ledger())
    now = dt.datetime.now(dt.UTC)
    found = numbers(instance_metrics(instance, watched(3), now=NOW))
    assert {key: value for key, value in found.items() if key[0] == "failed_checks"} == {
        ("failed_checks", "candles", "complete", "deribit"): 1
    }
    assert found["runs", "queued"] == 1
    assert found["alerts_open", "failed_check"] == 0
    assert found["backfills",] == 0
    recent = numbers(instance_metrics(instance, watched(1), now=now))
    assert recent["runs_ended_24h", "success"] == 4
    assert recent["runs_ended_24h", "failure"] == 1
    assert 0 <= recent["queue_oldest_seconds",] < 600


def test_an_instance_that_does_not_answer_is_a_number_and_keeps_what_was_seen(instance):
    answers = [instance_metrics(instance, watched(1), now=NOW), None]

    def look():
        answer = answers.pop(0)
        if answer is None:
            statement = "select 1"
            raise OperationalError(statement, {}, OSError("gone"))
        return answer

    last = LastLook(look, clock=lambda: 17.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(last, 60.0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        last.again()
        before = asked(f"{address}/metrics")
        first = requests.get(f"{address}/health", timeout=10)
        last.again()
        after = asked(f"{address}/metrics")
        second = requests.get(f"{address}/health", timeout=10)
        absent = requests.get(f"{address}/else", timeout=10)
    finally:
        server.shutdown()
        server.server_close()
    assert [one.status_code for one in (first, second, absent)] == [200, 503, 404]
    assert "did not answer" in second.text
    assert before.pop("tickhandler_metrics_up") == 1
    assert after.pop("tickhandler_metrics_up") == 0
    assert before["tickhandler_metrics_timestamp_seconds"] == 17
    for found in (before, after):
        del found["tickhandler_metrics_look_seconds"]
    assert before == after


def asked(address):
    text = requests.get(address, timeout=10).text
    return {
        " ".join(
            [sample.name, *([json.dumps(sample.labels)] if sample.labels else [])]
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
