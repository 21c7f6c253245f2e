"""A signal: something was seen to be wrong, or to be right again.

What belongs here: the value that observers give and the ledger takes. What does not: where signals
come from (`automation/`) and who hears of them (`ledger.py`, `adapters/notifiers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class IncidentKind(StrEnum):
    """What can be wrong."""

    FAILED_CHECK = "failed_check"
    FAILED_RUN = "failed_run"
    LATE_PARTITION = "late_partition"
    EXHAUSTED_QUOTA = "exhausted_quota"
    SILENT_SESSION = "silent_session"


INCIDENT_MEANINGS: dict[IncidentKind, str] = {
    IncidentKind.FAILED_CHECK: "a check of a partition fails",
    IncidentKind.FAILED_RUN: "a run ended without what it was asked for",
    IncidentKind.LATE_PARTITION: "a partition was not materialized by its deadline",
    IncidentKind.EXHAUSTED_QUOTA: "the vendor serves nothing more until the quota is renewed",
    IncidentKind.SILENT_SESSION: "a live session that nobody ended has stopped reporting",
}


class Urgency(StrEnum):
    """How much somebody has to care; the order of the members is that of urgency."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One observation of one subject.

    Attributes:
        kind: What it speaks of.
        subject: Identity of the incident; the same text for as long as it is the same thing, such
            as `raw_ticks/trades complete 2024-08-08|binance`.
        is_bad: It is wrong; else it is right again.
        urgency: How much somebody has to care.
        group: What is told in one message, such as `raw_ticks/trades complete binance`.
        at_us: When it was so, microseconds since the epoch, UTC.
        summary: One sentence with numbers and units.
        details: More of the same by name: states, reasons, a sample.
        link: Path of the page that shows it, from the UI's root, such as `/runs/1a2b`.
    """

    kind: IncidentKind
    subject: str
    is_bad: bool
    urgency: Urgency
    group: str
    at_us: int
    summary: str
    details: dict[str, str] = field(default_factory=dict)
    link: str = ""
