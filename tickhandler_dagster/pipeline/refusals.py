"""When to stop asking: some refusals of one file would meet every file of the partition.

What does not belong here: what a refusal means (`adapters/tardis_errors.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.market.errors import (
    KeyLocked,
    NoEntitlement,
    QuotaExhausted,
    TickhandlerError,
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
