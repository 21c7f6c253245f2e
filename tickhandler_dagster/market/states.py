"""The state of one instrument's data of one type on one day: exactly one, never a guess.

What does not belong here: who decides the state (`planning.py` before the request, `adapters` after
it).
"""

from __future__ import annotations

from enum import StrEnum


class DataState(StrEnum):
    """What the lake can say about (instrument, data type, day)."""

    PRESENT = "present"
    EMPTY = "empty"
    NOT_LISTED = "not_listed"
    NOT_EXPORTED_YET = "not_exported_yet"
    NO_ENTITLEMENT = "no_entitlement"
    INCIDENT = "incident"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    PARTIAL = "partial"
    NOT_INGESTED = "not_ingested"

    @property
    def is_settled(self) -> bool:
        """Asking the vendor again would bring nothing new."""
        return self in _SETTLED

    @property
    def is_missing(self) -> bool:
        """Data should be there and is not; what is there with holes is `PARTIAL`, not missing."""
        return self not in _SETTLED


_SETTLED = frozenset({DataState.PRESENT, DataState.PARTIAL, DataState.EMPTY, DataState.NOT_LISTED})

INGEST_STATES: tuple[DataState, ...] = tuple(
    state for state in DataState if state is not DataState.PARTIAL
)
"""What the manifest of an ingest can say: no holes; `NOT_INGESTED` is what a run left out."""

STATE_MEANINGS: dict[DataState, str] = {
    DataState.PRESENT: "a verified file is in the lake",
    DataState.EMPTY: "the vendor has the file and it holds no rows",
    DataState.NOT_LISTED: "the vendor says the instrument has no such data on that day",
    DataState.NOT_EXPORTED_YET: "the vendor has not exported that day yet",
    DataState.NO_ENTITLEMENT: "the API key, or its absence, does not cover it",
    DataState.INCIDENT: "the vendor reports an incident for the time and has no file",
    DataState.FAILED: "the request failed; the next run tries again",
    DataState.QUARANTINED: "a file came and breaks the format; it is kept aside",
    DataState.PARTIAL: "a verified file is in the lake and is known to have holes",
    DataState.NOT_INGESTED: "the vendor should have it and no run has asked for it",
}
