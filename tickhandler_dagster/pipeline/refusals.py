"""When to stop asking: some refusals of one file would meet every file of the partition.

What belongs here: also what a run says of whose files none came. What does not: what a refusal
means (`adapters/tardis_errors.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.market.errors import (
    KeyLocked,
    NoEntitlement,
    QuotaExhausted,
    TickhandlerError,
    TransientError,
)

_DENIALS_THAT_SPEAK_FOR_ALL = 3


@dataclass
class Refusals:
    """What the vendor refused so far.

    A locked key and a used-up quota end all requests at once. A missing entitlement can be that of
    one symbol; only several in a row without any success speak for the rest.
    """

    _ending: TickhandlerError | None = None
    _denials: int = 0
    _has_success: bool = False

    @property
    def ending(self) -> TickhandlerError | None:
        """The refusal that every further request would meet; None while there is none."""
        return self._ending

    def note_success(self) -> None:
        """A file came."""
        self._has_success = True

    def note(self, error: TickhandlerError) -> None:
        """A file was refused."""
        if isinstance(error, NoEntitlement):
            self._denials += 1
        speaks_for_all = isinstance(error, KeyLocked | QuotaExhausted) or (
            self._denials >= _DENIALS_THAT_SPEAK_FOR_ALL and not self._has_success
        )
        if speaks_for_all and self._ending is None:
            self._ending = error


def nothing_replaced(error: TickhandlerError, subject: str, kept: int) -> TickhandlerError:
    """The error of a run that was to fetch files again and got none: the first file's, for all.

    Of the same class, which decides the retry.

    Args:
        error: Why a file did not come.
        subject: The partition.
        kept: Number of instruments whose earlier data stays.

    Example:
        >>> one = NoEntitlement("a.csv.gz", "the key does not cover it", remedy="Set another key")
        >>> said = str(nothing_replaced(one, "a day", 12))
        >>> said.partition("; ")[0]
        'a day: no file could be fetched again, and 12 instruments keep the data of an earlier run'
        >>> said.partition("; ")[2]
        'a.csv.gz: the key does not cover it. Set another key.'
    """
    more = {"retry_after_s": error.retry_after_s} if isinstance(error, TransientError) else {}
    return type(error)(
        subject,
        f"no file could be fetched again, and {kept:,} instruments keep the data of an earlier "
        f"run; {error.subject}: {error.fact}",
        was=error.was,
        expected=error.expected,
        remedy=error.remedy,
        **more,
    )
