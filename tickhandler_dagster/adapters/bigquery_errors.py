"""What BigQuery answers when it does not do what was asked, as errors of ours, and another try.

What belongs here: reasons of calls and of jobs, and the waiting in between. What does not: which
job is started (`bigquery_jobs.py`).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from tickhandler_dagster.adapters.gcp_credentials import credential_error
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    CorruptData,
    InvalidInput,
    InvalidSetting,
    QuotaExhausted,
    RateLimited,
    StorageDenied,
    StorageUnavailable,
    TickhandlerError,
    TransientError,
)

T = TypeVar("T")

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Waits between tries, each stretched by up to a half so that processes do not meet again."""

ONCE: Mapping[str, Any] = MappingProxyType({"retry": None, "timeout": 60.0})
"""Of every call: trying again is done here, not a second time inside the client."""

_QUOTA_WAIT_S = 3600.0
_MESSAGE_CHARACTERS = 300
_SERVER = 500
_TOO_MANY = 429
_BY_CODE: Mapping[int, str] = MappingProxyType(
    {401: "authError", 403: "accessDenied", 404: "notFound", 409: "duplicate", 412: "changed"}
)
_RATE = frozenset({"rateLimitExceeded", "jobRateLimitExceeded"})
_SERVICE = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "badGateway"}
)
_DENIED = frozenset({"accessDenied", "authError", "billingNotEnabled", "forbidden"})
_QUESTION = frozenset({"invalidQuery", "bytesBilledLimitExceeded"})
_LOCATION = re.compile(r"different locations|found in location", re.IGNORECASE)
_MISSING: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "Project": ("GCP_PROJECT_ID", "Set it to a project that exists and has BigQuery enabled"),
        "Dataset": ("BIGQUERY_DATASET", "Make the dataset, or correct BIGQUERY_DATASET"),
        "Bucket": ("GCS_BUCKET", "Make the bucket, or correct GCS_BUCKET"),
    }
)


class Calls:
    """Calls BigQuery, again where that can help.

    Args:
        pauses_s: Seconds between tries; a call is tried once more than there are pauses.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        pauses_s: Sequence[float] = PAUSES_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pauses_s = tuple(pauses_s)
        self._sleep = sleep

    @property
    def tries(self) -> int:
        """How often something is tried."""
        return len(self._pauses_s) + 1

    def pause(self, tried: int) -> None:
        """Wait before the next try."""
        seconds = self._pauses_s[min(tried, len(self._pauses_s)) - 1] if self._pauses_s else 0.0
        self._sleep(seconds * random.uniform(1.0, 1.5))  # noqa: S311  (jitter)

    def __call__(self, subject: str, call: Callable[[], T]) -> T:
        """What the call gives; a 404, a 409 and a 412 stay the client's own errors.

        Raises:
            TickhandlerError: what BigQuery refused, or did not do after all tries.
        """
        from google.api_core import exceptions  # noqa: PLC0415  (slow import)
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  (slow import)
        from requests.exceptions import RequestException  # noqa: PLC0415  (slow import)

        tried = 0
        while True:
            tried += 1
            try:
                return call()
            except (exceptions.Conflict, exceptions.PreconditionFailed):
                raise
            except exceptions.NotFound as error:
                if "Not found: Project" in str(error.message):
                    raise call_error(subject, error) from None
                raise
            except GoogleAuthError as error:
                failure = credential_error(error)
            except (exceptions.GoogleAPICallError, RequestException) as error:
                failure = call_error(subject, error)
            if not isinstance(failure, TransientError) or tried == self.tries:
                raise failure from None  # theirs repeats the request
            self.pause(tried)


def call_error(subject: str, error: Exception) -> TickhandlerError:
    """The error of ours for a call that failed."""
    code = getattr(error, "code", None)
    if not isinstance(code, int):
        return _unavailable(subject, "no answer")
    listed: Sequence[Mapping[str, Any]] = getattr(error, "errors", None) or ()
    reason = str(listed[0].get("reason", "")) if listed else ""
    if not reason:
        reason = _BY_CODE.get(code, "invalid")
        reason = "rateLimitExceeded" if code == _TOO_MANY else reason
        reason = "backendError" if code >= _SERVER else reason
    message = listed[0].get("message") if listed else None
    return job_error(subject, reason, str(message or getattr(error, "message", "")))


def job_error(subject: str, reason: str, message: str) -> TickhandlerError:
    """The error of ours for BigQuery's reason.

    Args:
        subject: What was asked of which table.
        reason: BigQuery's word, such as `quotaExceeded`.
        message: BigQuery's sentence.
    """
    was = message[:_MESSAGE_CHARACTERS]
    if reason in _RATE:
        return RateLimited(subject, "too many requests", was=was, remedy="The next try goes on")
    if reason == "quotaExceeded":
        return QuotaExhausted(
            subject,
            "a quota of the project or the table is used up",
            was=was,
            remedy="It refills over 24 hours; publish again then, what is loaded stays",
            retry_after_s=_QUOTA_WAIT_S,
        )
    if reason in _SERVICE:
        return _unavailable(subject, was)
    if reason in _DENIED:
        return _denied(subject, reason, was)
    if _LOCATION.search(message):
        return InvalidSetting(
            subject,
            "the bucket, the dataset and BIGQUERY_LOCATION are not in one location",
            was=was,
            remedy="Set BIGQUERY_LOCATION and BIGQUERY_DATASET to the location of the bucket",
        )
    return _other(subject, reason, was)


def _other(subject: str, reason: str, was: str) -> TickhandlerError:
    if reason == "notFound":
        for what, (setting, remedy) in _MISSING.items():
            if f"Not found: {what}" in was:
                return InvalidSetting(setting, "does not exist", was=was, remedy=remedy)
        return ConcurrentWrite(
            subject,
            "an object or table went away meanwhile",
            was=was,
            remedy="The next try reads the lake anew",
        )
    if reason in _QUESTION:
        return InvalidInput(subject, "BigQuery refuses it", was=was, remedy="Correct the question")
    return CorruptData(
        subject,
        "BigQuery refuses the rows",
        was=was,
        remedy="The table is as it was; materialize the day in the lake again and publish it",
    )


def _unavailable(subject: str, was: str) -> StorageUnavailable:
    return StorageUnavailable(
        subject,
        "BigQuery does not serve for the moment",
        was=was,
        remedy="Nothing was changed; the next try goes on from here",
    )


def _denied(subject: str, reason: str, was: str) -> StorageDenied:
    remedy = (
        "Give the credentials roles/bigquery.jobUser on the project, roles/bigquery.dataEditor "
        "on the dataset and roles/storage.objectViewer on the bucket"
    )
    if reason == "billingNotEnabled":
        remedy = "Enable billing for the project"
    return StorageDenied(subject, "permission denied", was=was, remedy=remedy)
