"""What a bucket answers when it does not do what was asked, as errors of ours.

What belongs here: statuses and codes of Cloud Storage. What does not: credentials that yield no
token (`gcp_credentials.py`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from tickhandler_dagster.adapters.gcp_credentials import GcpCredentials
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidSetting,
    NoEntitlement,
    StorageDenied,
    StorageUnavailable,
    TickhandlerError,
)

NO_BUCKET = "NoSuchBucket"

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<(?:Message|Details)>([^<]*)</")
_MESSAGE_CHARACTERS = 200
_FORBIDDEN, _UNAUTHENTICATED, _NOT_FOUND = 403, 401, 404
_TOO_LITTLE_PATIENCE = frozenset({408, 429})
_SERVER = 500


@contextlib.contextmanager
def gcs_errors(bucket: str, path: str, credentials: GcpCredentials) -> Iterator[None]:
    """Errors of the object client inside the block become errors of ours that name the object.

    An object that is not there stays a `FileNotFoundError`, unless its bucket is not there either;
    a broken precondition stays the client's: only the caller knows whether it is an error.

    Raises:
        InvalidSetting: there is no such bucket, or no such project.
        StorageDenied: the credentials do not permit it, or nobody pays for the bucket.
        NoEntitlement: the credentials are not accepted.
        StorageUnavailable: the service answers with a fault of its own, or not at all.
    """
    from obstore import exceptions  # noqa: PLC0415  (slow import)

    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except FileNotFoundError as error:
        if NO_BUCKET in str(error):
            raise refusal(bucket, path, _NOT_FOUND, NO_BUCKET) from None
        raise
    except exceptions.UnauthenticatedError as error:
        raise credentials.failure or _of_text(bucket, path, str(error)) from None
    except exceptions.BaseError as error:
        raise _of_text(bucket, path, str(error)) from None  # theirs shows how requests are built


def refusal(
    bucket: str, path: str, status: int | None, code: str = "", message: str = ""
) -> TickhandlerError:
    """The error of ours for an answer.

    Args:
        bucket: Whose answer it is.
        path: What was asked for, inside the bucket.
        status: Of HTTP; None where there was no answer.
        code: The service's word for the reason.
        message: The service's sentence.
    """
    subject = f"gs://{bucket}/{path}"
    if status is None or status in _TOO_LITTLE_PATIENCE or status >= _SERVER:
        fact = "no answer" if status is None else "not served for the moment"
        return StorageUnavailable(
            subject, fact, was=status, remedy="Nothing was changed; the next try goes on from here"
        )
    if code == NO_BUCKET:
        return InvalidSetting(
            "GCS_BUCKET",
            "no such bucket",
            was=bucket,
            expected="a bucket that exists",
            remedy=f"Correct it, or make it: gcloud storage buckets create gs://{bucket}",
        )
    if status == _UNAUTHENTICATED:
        return NoEntitlement(
            subject,
            "the credentials are not accepted",
            remedy="Set GCP_CREDENTIALS_PATH to a valid key, or run: "
            "gcloud auth application-default login",
        )
    return _denial(subject, status, code, message[:_MESSAGE_CHARACTERS])


def concurrent_write(subject: str) -> ConcurrentWrite:
    """The error for an object that is not the one its writer last saw."""
    return ConcurrentWrite(
        subject,
        "changed by another writer since it was read",
        remedy="Nothing was overwritten; the next try reads it anew",
    )


def _denial(subject: str, status: int, code: str, message: str) -> TickhandlerError:
    said = " ".join(f"{code} {message}".split()) or str(status)
    lowered = said.lower()
    if "billing" in lowered or "accountproblem" in lowered or "accountdisabled" in lowered:
        return StorageDenied(
            subject,
            "the bucket's project has no working billing account",
            was=said,
            remedy="Enable billing for the project, or set GCS_BUCKET to a bucket of another",
        )
    if "userproject" in lowered:
        return InvalidSetting(
            "GCP_PROJECT_ID",
            "not a project that these credentials can use",
            was=said,
            remedy="See the projects with: gcloud projects list",
        )
    if status == _FORBIDDEN:
        return StorageDenied(
            subject,
            "not permitted to these credentials",
            was=said,
            remedy="Grant them roles/storage.objectUser on the bucket, or set "
            "GCP_CREDENTIALS_PATH to others",
        )
    return StorageDenied(
        subject,
        "refused",
        was=f"{status}: {said}",
        remedy="Check GCS_BUCKET, GCS_PREFIX and GCS_ENDPOINT",
    )


def _of_text(bucket: str, path: str, text: str) -> TickhandlerError:
    """The client gives the service's answer as a text alone."""
    status, code, message = (pattern.search(text) for pattern in (_STATUS, _CODE, _MESSAGE))
    return refusal(
        bucket,
        path,
        int(status[1]) if status else None,
        code[1] if code else "",
        message[1] if message else "",
    )
