"""What the vendor's refusals mean, as errors of ours: one table over status and body code.

What belongs here: the meaning of an answer and the cleaning of its text. What does not: who asks
again and when (`tardis_datasets.py`, `tardis_metadata.py`, Dagster's retries).

Texts of answers and of connection errors can hold a key or a signed address. They pass through
`clean`, and errors are raised without their cause, since a traceback prints causes too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tickhandler_dagster.market.errors import (
    InvalidInput,
    KeyLocked,
    NoEntitlement,
    NotAvailable,
    QuotaExhausted,
    RateLimited,
    TickhandlerError,
    VendorUnavailable,
)

QUOTA_WAIT_S = 300.0
"""A longer Retry-After is the day's quota, not the pace of requests."""

_HTTP_SERVER_ERROR = 500
_MAX_TEXT = 300
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")
_BEARER = re.compile(r"(?i)bearer\s+\S+")
_KEY = re.compile(r"TD\.[A-Za-z0-9._-]{4,}")


class Secret(Protocol):
    """A value that does not print itself, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """The text, to be used in a request and nowhere else."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not 200.

    Attributes:
        status: HTTP status.
        body: Its text.
        retry_after: The header, if any.
    """

    status: int
    body: str
    retry_after: str | None = None

    @property
    def record(self) -> Mapping[str, object]:
        """The body where it is a JSON object, else nothing."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def code(self) -> object:
        """The vendor's own code in the body; None where there is none."""
        return self.record.get("code")

    @property
    def wait_s(self) -> float | None:
        """Seconds the vendor asks to wait, from the body or the header."""
        asked = self.record.get("retryAfterSeconds", self.retry_after)
        try:
            return None if asked is None else float(str(asked))
        except ValueError:
            return None


def clean(text: str, secret: Secret | None = None) -> str:
    """The text without keys and without the query of an address, on one line.

    Example:
        >>> clean("GET https://host/a.gz?X-Signature=abc failed for Bearer TD.12345")
        'GET https://host/a.gz failed for (key)'
    """
    if secret is not None and secret.get_secret_value():
        text = text.replace(secret.get_secret_value(), "(key)")
    text = _KEY.sub("(key)", _BEARER.sub("(key)", _QUERY.sub(r"\1", text)))
    return " ".join(text.split())[:_MAX_TEXT]


def refused(subject: str, refusal: Refusal, *, secret: Secret | None = None) -> TickhandlerError:
    """The error an answer stands for.

    Args:
        subject: What was asked for.
        refusal: The answer.
        secret: The key that was sent, to be kept out of the text.

    Source: https://docs.tardis.dev/api/http-api-reference
    """
    was = clean(str(refusal.record.get("message") or refusal.body or refusal.status), secret)
    if refusal.status == 401 and secret is None:  # noqa: PLR2004  (unauthorized)
        return NoEntitlement(
            "TARDIS_API_KEY",
            f"not set, and {subject} is not served without a key",
            expected="a text that starts with TD.",
            remedy="Set it in .env, or use the first day of a month",
        )
    by_status = {400: _bad_request, 401: _unauthorized, 403: _forbidden, 429: _too_many}
    decide = by_status.get(refusal.status)
    if decide is not None:
        return decide(subject, refusal, was)
    if refusal.status >= _HTTP_SERVER_ERROR or refusal.status == 404:  # noqa: PLR2004  (not found)
        # The catalogue lists what is asked for, so a 404 contradicts it: seen now and then, and
        # healed by asking later.
        return _unavailable(subject, refusal, was)
    return InvalidInput(
        subject,
        f"the vendor answered {refusal.status}",
        was=was,
        remedy="Check the endpoint's address",
    )


def no_answer(
    subject: str, error: Exception, *, secret: Secret | None = None, waited_s: float
) -> VendorUnavailable:
    """The error where no answer came, or not all of it.

    Args:
        subject: What was asked for.
        error: What the connection or the clock raised.
        secret: The key that was sent, to be kept out of the text.
        waited_s: How long, for an error without a text.
    """
    text = clean(str(error), secret) or f"nothing for {waited_s:.0f} s"
    return VendorUnavailable(
        subject,
        "the vendor gave no complete answer",
        was=f"{type(error).__name__}: {text}",
        remedy="Run the partition again later",
    )


def _bad_request(subject: str, refusal: Refusal, was: str) -> TickhandlerError:
    if refusal.code in {140, 300}:
        return NotAvailable(
            subject, "the vendor has no such data", was=was, remedy="Nothing is to be done"
        )
    if "ISO 8601 format" in refusal.body:
        return _unavailable(subject, refusal, was)
    return InvalidInput(
        subject, "the vendor refuses the request", was=was, remedy="Refresh exchange_catalog"
    )


def _unauthorized(subject: str, _refusal: Refusal, was: str) -> TickhandlerError:
    return NoEntitlement(
        subject,
        "the key, or its absence, does not cover it",
        was=was,
        remedy="Set TARDIS_API_KEY to a key that does, or use the first day of a month",
    )


def _forbidden(subject: str, refusal: Refusal, was: str) -> TickhandlerError:
    if refusal.code == 274:  # noqa: PLR2004  (the vendor's code of the lock)
        return KeyLocked(
            subject,
            "the key is in use from another address",
            was=was,
            remedy="Use a key from one address at a time; the next run goes on",
            retry_after_s=refusal.wait_s,
        )
    if refusal.code is None:
        # Not the vendor's JSON but the file store's XML: the signature of a redirect was refused,
        # which a new request to the vendor repairs.
        return _unavailable(subject, refusal, was)
    return _unauthorized(subject, refusal, was)


def _too_many(subject: str, refusal: Refusal, was: str) -> TickhandlerError:
    wait = refusal.wait_s
    if wait is not None and wait > QUOTA_WAIT_S:
        return QuotaExhausted(
            subject,
            "the vendor's transfer quota is used up",
            was=was,
            remedy=f"Run again in {wait:.0f} s; what is here is kept",
            retry_after_s=wait,
        )
    return RateLimited(
        subject,
        "too many requests",
        was=was,
        remedy="Lower MAX_CONCURRENT_REQUESTS",
        retry_after_s=wait,
    )


def _unavailable(subject: str, refusal: Refusal, was: str) -> VendorUnavailable:
    return VendorUnavailable(
        subject,
        f"the vendor answered {refusal.status}",
        was=was,
        remedy="Run the partition again later",
        retry_after_s=refusal.wait_s,
    )
