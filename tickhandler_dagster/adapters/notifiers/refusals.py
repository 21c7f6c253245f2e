"""What a receiver's HTTP answer means, as errors of ours that name the notifier alone.

What belongs here: status to error. What does not: who asks again (`market/alerts/deliveries.py`).
The address of a webhook is its password. It stands in no text: errors carry the status and the
type of a failure, never the library's own sentence, and are raised without their cause, since a
traceback prints causes too.
"""

from __future__ import annotations

from tickhandler_dagster.market.errors import (
    PermanentError,
    RateLimited,
    TickhandlerError,
    TransientError,
)

_REQUEST_TIMEOUT = 408
_TOO_EARLY = 425
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_SAYS_AGAIN = frozenset({_REQUEST_TIMEOUT, _TOO_EARLY})


def refused(name: str, status: int, retry_after: str | None) -> TickhandlerError:
    """The error that an answer other than success stands for."""
    if status == _TOO_MANY_REQUESTS:
        return RateLimited(
            name, "too many messages", remedy="It is sent later", retry_after_s=seconds(retry_after)
        )
    if status >= _SERVER_ERROR or status in _SAYS_AGAIN:
        return TransientError(
            name,
            f"the receiver answered {status}",
            remedy="It is sent again later",
            retry_after_s=seconds(retry_after),
        )
    return PermanentError(
        name,
        f"the receiver answered {status}",
        expected="200 to 299",
        remedy="Check the address in the variable that the policy names",
    )


def out_of_reach(name: str, error: BaseException) -> TransientError:
    """The error of a broken or silent connection."""
    return TransientError(
        name, f"out of reach: {type(error).__name__}", remedy="It is sent again later"
    )


def seconds(retry_after: str | None) -> float | None:
    """The header's seconds; None where it has none or a date.

    Example:
        >>> seconds("30"), seconds("Wed, 21 Oct 2026 07:28:00 GMT")
        (30.0, None)
    """
    if retry_after is None or not retry_after.strip().isdigit():
        return None
    return float(retry_after)
