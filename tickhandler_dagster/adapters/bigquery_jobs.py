"""BigQuery's jobs: named, waited for, tried again, and read as the record of what a table holds.

The jobs are the ledger of what was published. The id of the job that puts a day into a table says
dataset, table, day, digest of the content and attempt, and a job that succeeded is as atomic as the
load itself; a table of our own beside it would have to be kept in step with it. The attempt is in
the id since content may come back: when A was replaced by B and returns, the job of A is long over.

What does not belong here: what a job loads (`bigquery_warehouse.py`).
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from tickhandler_dagster.adapters.bigquery_errors import ONCE, Calls, job_error
from tickhandler_dagster.adapters.bigquery_job_list import JobList, ListedJob
from tickhandler_dagster.market.errors import TransientError

if TYPE_CHECKING:
    from google.cloud import bigquery

    Job: TypeAlias = bigquery.LoadJob | bigquery.CopyJob

MEMORY = dt.timedelta(hours=24)
"""How far back the list of jobs is read: over this time quotas count as well."""

_SLACK = dt.timedelta(seconds=2)
_POLL_S = (0.2, 5.0)
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class DayJob:
    """A job that put a day into a table, or tried to.

    Attributes:
        day: Which day.
        digest: Of which content, shortened.
        job: What BigQuery says of it.
    """

    day: dt.date
    digest: str
    job: ListedJob

    def overlaps(self, other: DayJob) -> bool:
        """Both were under way at some moment."""
        mine, others = self.job, other.job
        return (others.ended is None or mine.created <= others.ended) and (
            mine.ended is None or others.created <= mine.ended
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The jobs of a table within `MEMORY`."""

    jobs: tuple[DayJob, ...]

    @property
    def loads(self) -> int:
        """Load jobs into the table, those that failed as well."""
        return sum(item.job.is_load for item in self.jobs)

    @property
    def ids(self) -> frozenset[str]:
        """Names of the jobs."""
        return frozenset(item.job.job_id for item in self.jobs)

    def running(self, days: Iterable[dt.date]) -> list[DayJob]:
        """Jobs of these days that are not over."""
        wanted = set(days)
        return [item for item in self.jobs if item.day in wanted and not item.job.is_done]

    def latest(self, day: dt.date) -> DayJob | None:
        """The last good job of the day; None where there is none that is remembered."""
        good = [item for item in self.jobs if item.day == day and item.job.is_good]
        return max(good, key=lambda item: item.job.ended or item.job.created, default=None)

    def holds(self, day: dt.date, digest: str) -> bool:
        """The day's last good job was of this content, and no other was under way beside it."""
        last = self.latest(day)
        return (
            last is not None
            and last.digest == short(digest)
            and not any(
                other.day == day and other.digest != last.digest and last.overlaps(other)
                for other in self.jobs
                if other.job.is_good or not other.job.is_done
            )
        )


class BigQueryJobs:
    """Starts and finds jobs.

    Args:
        client: Of the project that pays.
        listed: The jobs there were.
        calls: How calls are tried again.
        scope: Dataset, so that two datasets of a project do not share names.
        location: Where the dataset is.
    """

    def __init__(
        self, client: bigquery.Client, listed: JobList, calls: Calls, *, scope: str, location: str
    ) -> None:
        self._client = client
        self._listed = listed
        self._calls = calls
        self._scope = scope
        self._location = location

    def name(self, table: str, what: str, digest: str) -> str:
        """The name of a job without its attempt."""
        return f"tickhandler-{self._scope}-{table}-{what}-{short(digest)}"

    def day_name(self, table: str, day: dt.date, digest: str) -> str:
        """The name of the jobs that put this content of a day into a table."""
        return self.name(table, f"{day:%Y%m%d}", digest)

    def ledger(self, table: str) -> Ledger:
        """The jobs of a table within `MEMORY`."""
        since = dt.datetime.now(dt.UTC) - MEMORY
        start = re.escape(f"tickhandler-{self._scope}-{table}-")
        form = re.compile(rf"{start}(\d{{8}})-([0-9a-f]+)-\d+")
        return Ledger(
            tuple(
                DayJob(_day(match[1]), match[2], job)
                for job in self._listed.since(since)
                if (match := form.fullmatch(job.job_id))
            )
        )

    def find(self, job_id: str) -> Job | None:
        """The job of that name; None where there is none, or it is forgotten."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415  (slow import)

        try:
            found = self._calls(
                job_id,
                lambda: self._client.get_job(job_id, location=self._location, **ONCE),
            )
        except NotFound:
            return None
        return cast("Job", found)

    def wrote(self, name: str, modified: dt.datetime) -> bool:
        """A job of this name, whatever the attempt, was the last to change a partition.

        Args:
            name: Without attempt.
            modified: When the partition was changed last.
        """
        for attempt in range(1000):
            job = self.find(f"{name}-{attempt}")
            if job is None:
                return False
            if (
                job.error_result is None
                and job.started is not None
                and job.ended is not None
                and job.started - _SLACK <= modified <= job.ended + _SLACK
            ):
                return True
        return False

    def run(
        self, starts: Mapping[str, Callable[[str], Job]], known: frozenset[str] = frozenset()
    ) -> dict[str, Job]:
        """Run jobs beside each other until each has succeeded; by the names they were given.

        A name that is taken is a job of another process with the same content, or one of ours whose
        answer was lost: it is waited for, unless it is one of `known`, which belongs to the past.

        Args:
            starts: By name without attempt, what starts the job under its full name.
            known: Jobs that were there before and no longer say what the table holds.

        Raises:
            TickhandlerError: a job failed for good, or after all tries.
        """
        done: dict[str, Job] = {}
        attempts = dict.fromkeys(starts, 0)
        for tried in range(1, self._calls.tries + 1):
            begun = {
                name: self._begin(name, start, attempts, known)
                for name, start in starts.items()
                if name not in done
            }
            failure = None
            for name, job in begun.items():
                error = self._finished(job)
                if error is None:
                    done[name] = job
                elif not isinstance(error, TransientError) or tried == self._calls.tries:
                    raise error
                else:
                    failure = error
                    attempts[name] += 1
            if failure is None:
                break
            self._calls.pause(tried)
        return done

    def wait(self, jobs: Sequence[DayJob]) -> None:
        """Until these are over, whatever became of them."""
        for item in jobs:
            job = self.find(item.job.job_id)
            if job is not None:
                self._finished(job)

    def _begin(
        self,
        name: str,
        start: Callable[[str], Job],
        attempts: dict[str, int],
        known: frozenset[str],
    ) -> Job:
        from google.api_core.exceptions import Conflict, NotFound  # noqa: PLC0415  (slow import)

        while True:
            job_id = f"{name}-{attempts[name]}"
            if job_id not in known:
                try:
                    return self._calls(job_id, lambda job_id=job_id: start(job_id))  # type: ignore[misc]
                except Conflict:
                    found = self.find(job_id)
                    if found is not None and found.error_result is None and not _is_old(found):
                        return found
                except NotFound as error:
                    raise job_error(job_id, "notFound", str(error.message)) from None
            attempts[name] += 1

    def _finished(self, job: Job) -> Exception | None:
        """Wait for a job; what it failed of."""
        pause = _POLL_S[0]
        while job.state != "DONE":
            time.sleep(pause)
            pause = min(2 * pause, _POLL_S[1])
            self._calls(job.job_id, lambda: job.reload(**ONCE))
        if job.error_result is None:
            return None
        reason, message = job.error_result.get("reason", ""), job.error_result.get("message", "")
        return job_error(f"BigQuery job {job.job_id}", reason, message)


def short(digest: str) -> str:
    """As much of a digest as a name of a job holds."""
    return digest[:_DIGEST_CHARACTERS]


def _is_old(job: Job) -> bool:
    """It was over before the list of jobs begins: not a job of this moment."""
    return job.ended is not None and job.ended < dt.datetime.now(dt.UTC) - MEMORY


def _day(text: str) -> dt.date:
    return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
