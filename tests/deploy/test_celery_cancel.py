"""A run on a Celery worker that somebody cancels: it ends by itself, and leaves nothing behind."""

from __future__ import annotations

import os
import time

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.launcher import LaunchRunContext
from doubles.services import Services

# Of Celery, which still calls what its client of Redis has another name for.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
PATIENCE_S = 60

CODE = """
import time
from pathlib import Path
import dagster as dg
from tickhandler_dagster.adapters.object_store import LocalObjectStore

@dg.op
def write():
    with LocalObjectStore(Path("lake")).scratch() as folder:
        (folder / "half.parquet").write_text("half")
        while True:
            time.sleep(0.1)

@dg.job(executor_def=dg.in_process_executor)
def writes_for_ever():
    write()
"""


@pytest.fixture
def instance(make_home, broker, monkeypatch):
    _, environment = make_home("deploy/celery/dagster.celery.yaml")
    for name, value in {**environment, **broker.new_environment()}.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as opened:
        yield opened
        opened.run_launcher.celery.close()


def until(is_so, log):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-4000:]
        time.sleep(0.1)


def launched(instance, folder):
    (folder / "writer.py").write_text(CODE)
    job = ReconstructableJob.for_file(str(folder / "writer.py"), "writes_for_ever")
    run = instance.create_run_for_job(
        job.get_definition(),
        status=dg.DagsterRunStatus.STARTING,
        job_code_origin=job.get_python_origin(),
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def test_a_cancelled_run_sweeps_its_staging_area_and_is_not_taken_for_a_lost_one(
    instance, tmp_path
):
    def status(run_id):
        return instance.get_run_by_id(run_id).status

    run_id = launched(instance, tmp_path)
    scratch, log = tmp_path / "lake" / "_scratch", tmp_path / "worker.log"
    with Services(os.environ.copy(), tmp_path) as services:
        services.start(
            "worker",
            *("-m", "celery", "-A", "tickhandler_dagster.instance.celery_runs", "worker"),
            *("-Q", "dagster", "-c", "1", "--loglevel", "INFO"),
        )
        until(lambda: list(scratch.glob("*/half.parquet")), log)
        assert instance.run_coordinator.cancel_run(run_id), "as the page's button does"
        assert status(run_id) is dg.DagsterRunStatus.CANCELING
        until(lambda: status(run_id) is not dg.DagsterRunStatus.CANCELING, log)
    assert status(run_id) is dg.DagsterRunStatus.CANCELED
    assert list(scratch.iterdir()) == []
    assert instance.run_coordinator.cancel_run(run_id) is False, "nothing is left to cancel"
