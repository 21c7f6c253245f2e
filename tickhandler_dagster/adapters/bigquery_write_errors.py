"""What the Storage Write API answers when it does not append, as errors of ours.

What belongs here: codes of gRPC, and which of them another try can help. What does not: what is
appended (`bigquery_storage_write.py`), answers of the jobs interface (`bigquery_errors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidSetting,
    StorageDenied,
    StorageUnavailable,
    TickhandlerError,
)

ALREADY_EXISTS = 6
"""The offset has rows: an earlier try arrived, and its answer did not."""

NOT_FOUND = 5
INVALID_ARGUMENT = 3
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11

_MESSAGE_CHARACTERS = 300
_PASSING: Mapping[int, str] = MappingProxyType(
    {
        1: "cancelled",
        2: "unknown",
        4: "no answer in time",
        8: "too much at once",
        10: "aborted",
        13: "internal error",
        14: "unavailable",
    }
)
"""Codes after which the same request can succeed, in words."""

_DENIED = frozenset({7, 16})


def write_error(subject: str, code: int, message: str) -> TickhandlerError:
    """The error of ours for a request that was not done.

    Args:
        subject: What was appended to.
        code: Of gRPC.
        message: BigQuery's sentence.
    """
    was = message[:_MESSAGE_CHARACTERS]
    if code in _PASSING:
        return StorageUnavailable(
            subject,
            f"BigQuery does not take rows for the moment: {_PASSING[code]}",
            was=was,
            remedy="Nothing is lost; the next try sends the same rows",
        )
    if code in _DENIED:
        return StorageDenied(
            subject,
            "permission denied",
            was=was,
            remedy="Give the credentials roles/bigquery.dataEditor on the live dataset",
        )
    if code == NOT_FOUND:
        return InvalidSetting(
            subject,
            "there is no such table",
            was=was,
            remedy="Start the live command again: it makes the tables it lacks",
        )
    if code == OUT_OF_RANGE:
        return CorruptData(
            subject,
            "the stream holds fewer rows than were confirmed",
            was=was,
            expected="the offset after the last confirmed row",
            remedy="Was the table made anew? Remove the sink's cursor file: it then delivers again "
            "all rows the spool still has",
        )
    return CorruptData(
        subject,
        "the table and the rows differ in their columns",
        was=was,
        remedy="Start the live command again, which adds columns the table lacks; a column of "
        "another type needs another dataset. Capture goes on, the spool keeps the rows",
    )
