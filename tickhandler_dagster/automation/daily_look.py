"""What became of a day's work: the clock's own runs, other runs, and what is there already.

What belongs here: reading the instance. What does not: what follows from it (`market/daily.py`).
Nothing is remembered apart: a run that was asked for is in the instance with its work as a tag, so
that a clock that was killed at any moment starts nothing twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import WILL_RETRY_TAG

from tickhandler_dagster.automation.backfills import unfinished_targets
from tickhandler_dagster.automation.daily_jobs import (
    ATTEMPT_TAG,
    DAY_TAG,
    PARTITION_TAG,
    RANGE_TAGS,
    WORK_TAG,
    DailyJob,
    day_before,
    jobs_of,
    parse_work,
    partition_of,
)
from tickhandler_dagster.market.daily import (
    MAX_ATTEMPTS,
    DailyStage,
    Progress,
    Start,
    Work,
    WorkStatus,
)

_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Look:
    """The instance at one moment.

    Attributes:
        instance: Which.
        jobs: Jobs of the clock.
        runs: The newest run of each job of each piece of work.
        others: Runs of others that are not over.
        asked: Partitions by asset of every backfill that is not over.
    """

    instance: dg.DagsterInstance
    jobs: Sequence[DailyJob]
    runs: Mapping[Work, Mapping[str, dg.RunRecord]]
    others: Sequence[dg.DagsterRun]
    asked: Sequence[Mapping[dg.AssetKey, dg.PartitionsSubset]]

    @property
    def progress(self) -> dict[Work, Progress]:
        """What became of the work that the clock began."""
        return {work: _progress(of_job.values()) for work, of_job in self.runs.items()}

    def of_others(self, starts: Iterable[Start]) -> dict[Work, Progress]:
        """Of work that nobody asked the clock for: what others do at the moment, or have done."""
        found = {}
        for work in (start.work for start in starts if start.attempt == 1):
            if self._is_under_way(work):
                found[work] = Progress(WorkStatus.UNDER_WAY)
            elif self._is_there(work):
                found[work] = Progress(WorkStatus.OVER)
        return found

    def to_run(self, start: Start) -> list[DailyJob]:
        """Jobs of the work that did not succeed yet."""
        known = self.runs.get(start.work, {})
        done = {
            name
            for name, record in known.items()
            if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
        }
        return [job for job in jobs_of(self.jobs, start.work) if job.name not in done]

    def closes(self, start: Start) -> dict[str, bool]:
        """By job: the day before was made, of at least one of its assets."""
        before = day_before(start.work)
        return {
            job.name: any(self._made(key, before) for key in job.keys)
            for job in jobs_of(self.jobs, start.work)
        }

    def _is_under_way(self, work: Work) -> bool:
        keys = {key for job in jobs_of(self.jobs, work) for key in job.keys}
        cell = partition_of(work)
        is_asked = any(
            cell in subset for one in self.asked for key, subset in one.items() if key in keys
        )
        return is_asked or any(
            run.asset_selection and keys & run.asset_selection and _covers(run.tags, cell)
            for run in self.others
        )

    def _is_there(self, work: Work) -> bool:
        """Every cell is there, and what is made of ticks is younger than these.

        Tables are published in any case: what did not change is not loaded again.
        """
        if work.stage is DailyStage.TABLES:
            return False
        cell = partition_of(work)
        oldest = 0
        if work.stage > DailyStage.TICKS:
            ticks = [
                self._made(key, cell)
                for job in self.jobs
                if job.stage is DailyStage.TICKS and job.has(work.venue)
                for key in job.keys
            ]
            oldest = max(ticks, default=0)
        made = [self._made(key, cell) for job in jobs_of(self.jobs, work) for key in job.keys]
        return all(one > oldest for one in made)

    def _made(self, key: dg.AssetKey, cell: str) -> int:
        """Storage id of the cell's newest materialization; 0 where it has none."""
        found = self.instance.event_log_storage.get_latest_storage_id_by_partition(
            key, DagsterEventType.ASSET_MATERIALIZATION, partitions={cell}
        )
        return found.get(cell, 0)


def look_at(
    instance: dg.DagsterInstance, jobs: Sequence[DailyJob], days: Iterable[dt.date]
) -> Look:
    """What the instance knows of the work of these days."""
    runs: dict[Work, dict[str, dg.RunRecord]] = {}
    for day in days:
        records = instance.get_run_records(dg.RunsFilter(tags={DAY_TAG: day.isoformat()}))
        for record in sorted(records, key=lambda one: one.storage_id):
            work = parse_work(record.dagster_run.tags[WORK_TAG])
            runs.setdefault(work, {})[record.dagster_run.job_name] = record
    unfinished = instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    others = [run for run in unfinished if DAY_TAG not in run.tags]
    return Look(instance, jobs, runs, others, unfinished_targets(instance))


def _progress(records: Iterable[dg.RunRecord]) -> Progress:
    some = list(records)
    statuses = {_status(record) for record in some}
    attempts = max(_attempt(record) for record in some)
    ends = [record.end_time or 0.0 for record in some]
    ended = dt.datetime.fromtimestamp(max(ends), dt.UTC)
    if WorkStatus.UNDER_WAY in statuses:
        return Progress(WorkStatus.UNDER_WAY, attempts)
    failed = WorkStatus.FAILED in statuses
    return Progress(WorkStatus.FAILED if failed else WorkStatus.OVER, attempts, ended)


def _status(record: dg.RunRecord) -> WorkStatus:
    run = record.dagster_run
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return WorkStatus.OVER
    if run.status not in _FAILED or run.tags.get(WILL_RETRY_TAG) == "true":
        return WorkStatus.UNDER_WAY  # Dagster starts it again by itself, with the same tags
    return WorkStatus.FAILED


def _attempt(record: dg.RunRecord) -> int:
    """Which attempt the run was; what a person cancelled is not begun again."""
    if record.dagster_run.status is dg.DagsterRunStatus.CANCELED:
        return MAX_ATTEMPTS
    return int(record.dagster_run.tags[ATTEMPT_TAG])


def _covers(tags: Mapping[str, str], cell: str) -> bool:
    """The run makes the cell: a range is of days of one venue, or of all of them.

    A range over several venues is taken for one over all: waiting for it is no harm.
    """
    first, last = (tags.get(tag) for tag in RANGE_TAGS)
    if first is None or last is None:
        return tags.get(PARTITION_TAG) == cell
    day, _, venue = cell.partition("|")
    (start, _, one), (end, _, other) = first.partition("|"), last.partition("|")
    return start <= day <= end and (one != other or venue == one)
