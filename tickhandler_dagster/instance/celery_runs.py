"""Runs as Celery tasks on several hosts, and the app that their workers serve.

What belongs here: the launcher that `dagster.celery.yaml` names, and `app`, which is made when
somebody asks for it: `celery -A tickhandler_dagster.instance.celery_runs worker`. What does not:
brokers and queues, which `dagster.yaml` says once for launcher and workers, and what a run does.

Dagster's own launcher takes the word of the result store, where a task whose worker was killed has
begun for ever: its run would hold its place until it is too long. Here the worker is asked whether
it has the task. A run without a worker fails, and `run_retries` starts it again; what it had
written stays, and the next one goes on from there. Dagster's own also kills the process of a run
that somebody cancels and tells nobody: that run would be lost like any other, and started again.
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from celery import Celery
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from tickhandler_dagster.market.errors import InvalidSetting

_ASKED = 3
_PATIENCE_S = 5.0


class PlatformCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's Celery launcher, which asks a worker whether it still has the run.

    A run that is cancelled is told so, and ends by itself.
    """

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run as a terminal would; gives whether there was one to interrupt.

        A run that does not end is called cancelled by the daemon's monitoring after three minutes.
        """
        run = self._instance.get_run_by_id(run_id)
        task = None if run is None else run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if run is None or run.is_finished or task is None:
            return False
        self._instance.report_run_canceling(run)
        self.celery.control.revoke(task, terminate=True, signal="SIGINT")
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """How the run's worker is, as the daemon's monitoring asks for every started run."""
        told: CheckRunHealthResult = super().check_run_worker_health(run)
        if told.status is not WorkerStatus.RUNNING:
            return told
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        info = self.celery.AsyncResult(task).info
        worker = info.get("hostname") if isinstance(info, dict) else None
        if worker is None:  # it ended between the two looks
            return told
        tasks = self._tasks_of(worker)
        if tasks is not None and task in tasks:
            return told
        told = super().check_run_worker_health(run)
        if told.status is not WorkerStatus.RUNNING:  # it ended while its worker was asked
            return told
        reason = "does not answer" if tasks is None else "no longer has it"
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"Celery task {task}: its worker {worker} {reason}.",
            transient=False,
        )

    def _tasks_of(self, worker: str) -> set[str] | None:
        """The tasks that the worker is at; nothing where it does not answer."""
        for _ in range(_ASKED):
            inspect = self.celery.control.inspect(destination=[worker], timeout=_PATIENCE_S)
            answers = inspect.active()
            if answers and worker in answers:
                return {str(task["id"]) for task in answers[worker]}
        return None

    def get_run_worker_debug_info(
        self,
        run: dg.DagsterRun,
        include_container_logs: bool | None = True,  # noqa: ARG002, FBT001, FBT002  (Dagster's)
    ) -> str | None:
        """Task, state and worker; Dagster's own asks for a field that results do not have."""
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task is None:
            return None
        result = self.celery.AsyncResult(task)
        return f"Celery task {task}: {result.state}, {result.info}"


def build_app(launcher: object) -> Celery:
    """The app that workers serve: broker, store and options are those of the launcher.

    Raises:
        InvalidSetting: the instance launches its runs in another way.
    """
    if not isinstance(launcher, PlatformCeleryRunLauncher):
        raise InvalidSetting(
            "run_launcher",
            "no Celery launcher",
            was=type(launcher).__name__,
            expected=f"{__name__}.{PlatformCeleryRunLauncher.__name__}",
            remedy="Copy deploy/celery/dagster.celery.yaml to dagster.yaml in DAGSTER_HOME",
        )
    create_execute_job_task(launcher.celery)
    create_resume_job_task(launcher.celery)
    return launcher.celery


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever a module has)
    """`app`, over the instance of `DAGSTER_HOME`: importing the module alone connects nothing."""
    if name != "app":
        raise AttributeError(name)
    with dg.DagsterInstance.get() as instance:
        app = build_app(instance.run_launcher)
    globals()["app"] = app
    return app
