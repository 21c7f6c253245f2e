"""BigQuery's list of jobs, and of each job only what says what it did.

What belongs here: one request of the REST interface. The client's own `list_jobs` asks for whole
jobs: one that loads a month names its 9,000 objects, and a backfill's list would be 100 megabytes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tickhandler_dagster.adapters.bigquery_errors import Calls

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SERVICE = "https://bigquery.googleapis.com"

_FIELDS = (
    "nextPageToken,jobs(jobReference/jobId,configuration/jobType,status(state,errorResult/reason),"
    "statistics(creationTime,endTime,load(inputFiles,inputFileBytes,outputRows)))"
)
_PAGE = 1000
_TIMEOUT_S = 60.0
_OK = 200


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as the list has it.

    Attributes:
        job_id: Its name.
        is_load: A load job, not a copy or a question.
        is_done: It is over.
        is_good: It did what it should.
        created: When it was asked for.
        ended: When it was over; None while it runs.
        read: Files, bytes and rows of a load job that did what it should.
    """

    job_id: str
    is_load: bool
    is_done: bool
    is_good: bool
    created: dt.datetime
    ended: dt.datetime | None
    read: tuple[int, int, int] | None


class JobList:
    """The jobs of a project that these credentials asked for.

    Args:
        credentials: Whose jobs.
        project: Of which project.
        endpoint: Of a stand-in; the real service where None.
        calls: How calls are tried again.
    """

    def __init__(
        self, credentials: Credentials, project: str, endpoint: str | None, calls: Calls
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415  (slow import)

        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        self._address = f"{endpoint or SERVICE}/bigquery/v2/projects/{project}/jobs"
        self._calls = calls

    def since(self, moment: dt.datetime) -> Iterator[ListedJob]:
        """Jobs that were asked for after a moment, the newest first.

        Raises:
            TickhandlerError: BigQuery does not say.
        """
        token = ""
        while True:
            page = self._calls("BigQuery list of jobs", partial(self._page, moment, token))
            yield from (_listed(job) for job in page.get("jobs", ()))
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _page(self, moment: dt.datetime, token: str) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response  # noqa: PLC0415  (slow import)

        asked: dict[str, str | int] = {
            "projection": "full",
            "fields": _FIELDS,
            "maxResults": _PAGE,
            "minCreationTime": int(moment.timestamp() * 1000),
        }
        if token:
            asked["pageToken"] = token
        response = self._session.get(self._address, params=asked, timeout=_TIMEOUT_S)
        if response.status_code != _OK:
            raise from_http_response(response)  # type: ignore[no-untyped-call]
        page: dict[str, Any] = response.json()
        return page


def _listed(job: dict[str, Any]) -> ListedJob:
    statistics = job["statistics"]
    is_done = job["status"]["state"] == "DONE"
    is_good = is_done and "errorResult" not in job["status"]
    loaded = statistics.get("load")
    return ListedJob(
        job_id=job["jobReference"]["jobId"],
        is_load=job["configuration"].get("jobType") == "LOAD",
        is_done=is_done,
        is_good=is_good,
        created=_moment(statistics["creationTime"]),
        ended=_moment(statistics["endTime"]) if is_done and "endTime" in statistics else None,
        read=_read(loaded) if is_good and loaded else None,
    )


def _read(loaded: dict[str, str]) -> tuple[int, int, int]:
    names = ("inputFiles", "inputFileBytes", "outputRows")
    files, size, rows = (int(loaded.get(name, 0)) for name in names)
    return files, size, rows


def _moment(milliseconds: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(milliseconds) / 1000, dt.UTC)
