"""What the launcher says of a run's worker, over a real broker and a real worker."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import dagster as dg
import pytest
import yaml
from celery.contrib.testing.worker import start_worker
from dagster._core.launcher import DefaultRunLauncher, WorkerStatus
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from tickhandler_dagster.instance import celery_runs
from tickhandler_dagster.instance.celery_runs import PlatformCeleryRunLauncher, build_app
from tickhandler_dagster.market.errors import InvalidSetting

# Of Celery, which still calls what its client of Redis has another name for.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
PATIENCE_S = 20


@pytest.fixture
def home(make_home, broker, monkeypatch):
    folder, environment = make_home("deploy/celery/dagster.celery.yaml")
    for name, value in {**environment, **broker.new_environment()}.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def launcher(home, monkeypatch):
    monkeypatch.setattr(celery_runs, "_PATIENCE_S", 0.5)
    with dg.DagsterInstance.get() as instance:
        yield instance.run_launcher
        instance.run_launcher.celery.close()


def run_of(task):
    return dg.DagsterRun(job_name="job", tags={DAGSTER_CELERY_TASK_ID_TAG: task})


def begin(launcher, task, worker):
    """What the store says of a task that a worker has begun."""
    launcher.celery.backend.store_result(task, {"pid": 1, "hostname": worker}, "STARTED")


def test_the_file_of_deploy_makes_this_launcher_with_its_options(launcher, home):
    assert type(launcher) is PlatformCeleryRunLauncher
    config = yaml.safe_load((home / "dagster.yaml").read_text())["run_launcher"]["config"]
    for name, value in config["config_source"].items():
        assert getattr(launcher.celery.conf, name) == value


def test_a_run_whose_worker_does_not_answer_has_failed(launcher):
    begin(launcher, "task", "nobody@nowhere")
    found = launcher.check_run_worker_health(run_of("task"))
    assert found.status is WorkerStatus.FAILED
    assert "worker nobody@nowhere does not answer" in found.msg


def test_what_the_store_knows_to_be_over_is_not_asked_of_a_worker(launcher):
    launcher.celery.backend.store_result("task", 0, "SUCCESS")
    assert launcher.check_run_worker_health(run_of("task")).status is WorkerStatus.SUCCESS
    assert launcher.check_run_worker_health(run_of("none")).status is WorkerStatus.UNKNOWN


def test_what_is_told_of_a_lost_run_names_task_state_and_worker(launcher):
    begin(launcher, "task", "one@host")
    told = launcher.get_run_worker_debug_info(run_of("task"))
    assert all(word in told for word in ("task", "STARTED", "one@host"))
    assert launcher.get_run_worker_debug_info(dg.DagsterRun(job_name="job")) is None


def test_a_worker_that_has_the_task_is_told_from_one_that_lost_it(launcher):
    may_end, has_begun = threading.Event(), threading.Event()

    @launcher.celery.task(name="wait", track_started=True)
    def wait():
        has_begun.set()
        may_end.wait(PATIENCE_S)

    with start_worker(
        launcher.celery, pool="threads", concurrency=1, perform_ping_check=False
    ) as worker:
        result = wait.apply_async(queue="dagster")
        assert has_begun.wait(PATIENCE_S)
        at_work = run_of(result.id)
        assert launcher.check_run_worker_health(at_work).status is WorkerStatus.RUNNING
        begin(launcher, "lost", worker.hostname)
        found = launcher.check_run_worker_health(run_of("lost"))
        assert found.status is WorkerStatus.FAILED
        assert "no longer has it" in found.msg
        may_end.set()
        result.get(timeout=PATIENCE_S, disable_sync_subtasks=False)
        deadline = time.monotonic() + PATIENCE_S
        while launcher.check_run_worker_health(at_work).status is not WorkerStatus.SUCCESS:
            assert time.monotonic() < deadline


WORKER = """
from tickhandler_dagster.instance import celery_runs
app = celery_runs.app
assert {"execute_job", "resume_job"} <= set(app.tasks), sorted(app.tasks)
assert celery_runs.app is app
"""


@pytest.mark.usefixtures("home")
def test_workers_serve_the_app_of_the_instance():
    # As a worker, which is a process of its own: Dagster's launcher adds a task to all apps of a
    # process with every run that it launches, and Celery warns of that.
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_module_has_nothing_else_to_be_asked_for():
    with pytest.raises(AttributeError):
        celery_runs.other  # noqa: B018  (asking is the test)


def test_an_instance_that_launches_in_another_way_has_no_app():
    with pytest.raises(InvalidSetting, match=r"dagster\.celery\.yaml"):
        build_app(DefaultRunLauncher())
