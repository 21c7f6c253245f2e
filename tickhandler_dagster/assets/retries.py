"""Where our errors become Dagster's: permanent ones fail at once, transient ones are retried."""

import dagster as dg

from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    QuotaExhausted,
    TickhandlerError,
    TransientError,
)

ERROR_CLASS = "error"
"""Metadata of a failed step: the name of our error's class."""
MAX_RETRIES = 3
DEFAULT_WAIT_S = 30.0
# The other writer is done with the object; what is left to wait for is the rest of its cell.
CONCURRENT_WAIT_S = 3.0
# A lock on the key lasts a quarter of an hour. A step that waits longer only holds a place in the
# queue; the next schedule does it better.
LONGEST_WAIT_S = 1_200.0


def as_dagster(error: TickhandlerError) -> dg.Failure | dg.RetryRequested:
    """What to raise: `RetryRequested` where another try can help soon, else `Failure`."""
    if isinstance(error, TransientError) and not isinstance(error, QuotaExhausted):
        usual = CONCURRENT_WAIT_S if isinstance(error, ConcurrentWrite) else DEFAULT_WAIT_S
        wait = usual if error.retry_after_s is None else error.retry_after_s
        if wait <= LONGEST_WAIT_S:
            return dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=wait)
    return dg.Failure(
        description=str(error), metadata={ERROR_CLASS: type(error).__name__}, allow_retries=False
    )
