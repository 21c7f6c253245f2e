"""What Binance's refusals of a public request mean, as errors of ours.

What belongs here: the meaning of an answer. What does not: who asks again and when
(`binance_rest.py`, Dagster's retries).

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tickhandler_dagster.market.errors import (
    InvalidInput,
    NoEntitlement,
    NotAvailable,
    RateLimited,
    TickhandlerError,
    VendorUnavailable,
)

UNKNOWN_SYMBOL = -1121
BANNED = 418
_TOO_MANY = 429
_FIREWALL = 403
_REGION = 451
_SERVER_ERROR = 500
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not 200.

    Attributes:
        subject: What was asked for.
        status: HTTP status.
        body: Its text.
        retry_after: The header, if any.
    """

    subject: str
    status: int
    body: str
    retry_after: str | None = None

    @property
    def code(self) -> object:
        """The venue's own code in the body; None where there is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found.get("code") if isinstance(found, dict) else None

    @property
    def wait_s(self) -> float | None:
        """Seconds the venue asks to wait."""
        try:
            return None if self.retry_after is None else float(self.retry_after)
        except ValueError:
            return None

    @property
    def was(self) -> str:
        """Status and body on one line."""
        return f"{self.status} {' '.join(self.body.split())[:_MAX_TEXT]}".strip()


def refused(answer: Answer) -> TickhandlerError:
    """The error an answer stands for."""
    if answer.code == UNKNOWN_SYMBOL:
        return NotAvailable(
            answer.subject,
            "the venue does not know the symbol",
            was=answer.was,
            remedy="Nothing is to be done: delisted symbols vanish from the API",
        )
    decide = _BY_STATUS.get(answer.status)
    if decide is not None:
        return decide(answer)
    if answer.status >= _SERVER_ERROR:
        return unavailable(answer.subject, answer.was, answer.wait_s)
    return InvalidInput(
        answer.subject,
        "the venue refuses the request",
        was=answer.was,
        remedy="Check KLINES_ENDPOINT",
    )


def unavailable(subject: str, was: str, wait_s: float | None = None) -> VendorUnavailable:
    """No answer, a broken one or a server's error."""
    return VendorUnavailable(
        subject,
        "the venue gave no complete answer",
        was=was,
        remedy="Run the partition again later",
        retry_after_s=wait_s,
    )


def _rate_limited(answer: Answer) -> RateLimited:
    return RateLimited(
        answer.subject,
        "the venue refuses this address after too many requests",
        was=answer.was,
        remedy="Run fewer partitions of kline_conformance at once",
        retry_after_s=answer.wait_s,
    )


def _region_blocked(answer: Answer) -> NoEntitlement:
    return NoEntitlement(
        answer.subject,
        "the venue does not serve this region",
        was=answer.was,
        remedy="Name a folder of klines in KLINES_SOURCE, or a mirror in KLINES_ENDPOINT",
    )


_BY_STATUS: Mapping[int, Callable[[Answer], TickhandlerError]] = MappingProxyType(
    {
        _TOO_MANY: _rate_limited,
        BANNED: _rate_limited,
        _FIREWALL: _rate_limited,
        _REGION: _region_blocked,
    }
)
