"""A message: what a notifier is handed, complete in itself.

What belongs here: its value, its stable identity and its way through JSON. What does not: when one
is made (`ledger.py`), how it reads (`wording.py`), how it travels (`adapters/notifiers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency
from tickhandler_dagster.market.json_fields import canonical_json

MAX_LINES = 20
"""Subjects that a message names; the rest are counted."""

_MAX_SUBJECT = 300
_MAX_SUMMARY = 500
_MAX_LINK = 300
_MAX_DETAILS = 6
_MAX_DETAIL = 200


class Transition(StrEnum):
    """What happened to the incidents of a message."""

    OPENED = "opened"
    RECOVERED = "recovered"
    HEALED = "healed"
    REMINDER = "reminder"
    DIGEST = "digest"


TRANSITION_MEANINGS: Mapping[Transition, str] = MappingProxyType(
    {
        Transition.OPENED: "it is wrong, or worse than was told",
        Transition.RECOVERED: "what was told to be wrong is right again",
        Transition.HEALED: "it was wrong and became right before it could be told",
        Transition.REMINDER: "what was told to be wrong still is",
        Transition.DIGEST: "more messages than anybody reads or could be delivered, as one",
    }
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was last said of a subject, cut to a size that a message can carry.

    Attributes:
        summary: One sentence.
        link: Page that shows it: a path, or a whole address once in a message.
        details: More by name.
    """

    summary: str = ""
    link: str = ""
    details: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, signal: Signal) -> Facts:
        """The facts of a signal."""
        details = list(signal.details.items())[:_MAX_DETAILS]
        return cls(
            cut(signal.summary, _MAX_SUMMARY),
            # Half a link leads nowhere: a longer one is left out.
            signal.link if len(signal.link) <= _MAX_LINK else "",
            tuple((cut(name, _MAX_DETAIL), cut(text, _MAX_DETAIL)) for name, text in details),
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One subject in a message.

    Attributes:
        subject: Which.
        since_us: When it was first seen to be wrong, microseconds since the epoch, UTC.
        until_us: When it was seen to be right again; None while it is wrong.
        facts: What is known of it; empty where there are too many to carry.
    """

    subject: str
    since_us: int
    until_us: int | None = None
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One transition of one group of incidents.

    Attributes:
        message_id: The same for every attempt to deliver it: receivers drop what they have.
        sequence: Its place among the messages of the ledger, from 1.
        transition: What happened.
        kind: What was wrong; None for a digest.
        urgency: The highest of its incidents.
        group: What they have in common; empty for a digest.
        at_us: When it was made, microseconds since the epoch, UTC.
        since_us: The earliest opening among its incidents.
        until_us: The latest recovery; None where nothing recovered.
        counts: Incidents by transition; one entry, in a digest up to one for each.
        messages: Messages that it stands for; 1 but for a digest.
        lines: The first subjects, at most 20.
        link: Address of the page to begin with; empty where there is none.
    """

    message_id: str
    sequence: int
    transition: Transition
    kind: IncidentKind | None
    urgency: Urgency
    group: str
    at_us: int
    since_us: int
    until_us: int | None
    counts: Mapping[Transition, int]
    messages: int = 1
    lines: tuple[Line, ...] = ()
    link: str = ""

    @property
    def count(self) -> int:
        """Incidents that it speaks of."""
        return sum(self.counts.values())

    @property
    def queue(self) -> tuple[str, str]:
        """Messages of the same queue reach a notifier in order."""
        return (self.kind or "", self.group)


def identity(sequence: int, at_us: int, transition: Transition, *rest: str) -> str:
    """The id of a message: made from its place and content, so that nothing random is stored.

    Example:
        >>> identity(1, 0, Transition.OPENED, "a group") == identity(2, 0, Transition.OPENED)
        False
    """
    text = canonical_json([sequence, at_us, transition, *rest])
    return hashlib.sha256(text).hexdigest()[:24]


def cut(text: str, length: int) -> str:
    """The text, or its beginning with a mark that there was more.

    Example:
        >>> cut("eight of nine", 6)
        'eight…'
    """
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def short_subject(subject: str) -> str:
    """A subject in a length that a message can carry; two long ones stay apart.

    Example:
        >>> short_subject("binance"), len(short_subject("x" * 1000))
        ('binance', 300)
    """
    if len(subject) <= _MAX_SUBJECT:
        return subject
    mark = hashlib.sha256(subject.encode()).hexdigest()[:16]
    return f"{subject[: _MAX_SUBJECT - 17]}…{mark}"


def facts_row(facts: Facts) -> list[Any]:
    """Facts as JSON has them; nothing for empty ones."""
    if facts == Facts():
        return []
    return [facts.summary, facts.link, [list(pair) for pair in facts.details]]


def facts_from_row(row: Sequence[Any]) -> Facts:
    """The inverse of `facts_row`."""
    if not row:
        return Facts()
    summary, link, details = row
    return Facts(summary, link, tuple((name, text) for name, text in details))


def message_record(message: Message) -> dict[str, Any]:
    """A message as JSON has it."""
    return {
        "message_id": message.message_id,
        "sequence": message.sequence,
        "transition": message.transition.value,
        "kind": message.kind.value if message.kind else None,
        "urgency": message.urgency.value,
        "group": message.group,
        "at_us": message.at_us,
        "since_us": message.since_us,
        "until_us": message.until_us,
        "counts": {name.value: number for name, number in message.counts.items()},
        "messages": message.messages,
        "lines": [
            [line.subject, line.since_us, line.until_us, facts_row(line.facts)]
            for line in message.lines
        ],
        "link": message.link,
    }


def message_from_record(record: Mapping[str, Any]) -> Message:
    """The inverse of `message_record`."""
    return Message(
        message_id=record["message_id"],
        sequence=record["sequence"],
        transition=Transition(record["transition"]),
        kind=None if record["kind"] is None else IncidentKind(record["kind"]),
        urgency=Urgency(record["urgency"]),
        group=record["group"],
        at_us=record["at_us"],
        since_us=record["since_us"],
        until_us=record["until_us"],
        counts={Transition(name): number for name, number in record["counts"].items()},
        messages=record["messages"],
        lines=tuple(
            Line(subject, since, until, facts_from_row(facts))
            for subject, since, until, facts in record["lines"]
        ),
        link=record["link"],
    )
