"""The ledger as JSON text: what is stored between two ticks.

What belongs here: the form and its version. Equal ledgers give equal bytes, whatever order their
signals came in. Incidents stand under what they have in common, since a backfill that fails opens
a hundred thousand of them. What does not: where the text is kept (the caller).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tickhandler_dagster.market.alerts.deliveries import Delivery
from tickhandler_dagster.market.alerts.incidents import Incident, Status
from tickhandler_dagster.market.alerts.ledger import Closed, Key, Ledger
from tickhandler_dagster.market.alerts.messages import (
    facts_from_row,
    facts_row,
    message_from_record,
    message_record,
)
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.json_fields import canonical_json

VERSION = 1


def to_json(ledger: Ledger) -> str:
    """The ledger as text.

    Example:
        >>> from_json(to_json(Ledger())) == Ledger()
        True
    """
    record = {
        "version": VERSION,
        "sequence": ledger.sequence,
        "incidents": _incident_groups(ledger.incidents.values()),
        "closed": [
            [*key, item.last_us, item.closed_us] for key, item in sorted(ledger.closed.items())
        ],
        "messages": [message_record(message) for message in ledger.messages],
        "deliveries": [
            [
                item.message.message_id,
                item.notifier,
                item.attempts,
                item.refusals,
                item.next_us,
            ]
            for item in ledger.deliveries
        ],
    }
    return canonical_json(record).decode()


def from_json(text: str | None) -> Ledger:
    """The ledger of a text; that of nothing is empty.

    Raises:
        CorruptData: the text is no ledger of this version.
    """
    if not text:
        return Ledger()
    try:
        record = json.loads(text)
        version = record["version"]
        if version != VERSION:
            raise _corrupt(f"version {version}")
        return _ledger(record)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _corrupt(f"{type(error).__name__}: {error}") from error


def _corrupt(was: str) -> CorruptData:
    return CorruptData(
        "ledger of alerts",
        "cannot be read",
        was=was,
        expected=f"JSON of version {VERSION}",
        remedy="Restore it, or remove it: what is wrong then is told once more",
    )


def _ledger(record: Mapping[str, Any]) -> Ledger:
    messages = {item["message_id"]: message_from_record(item) for item in record["messages"]}
    deliveries = tuple(
        Delivery(
            message=messages[message],
            notifier=notifier,
            attempts=attempts,
            refusals=refusals,
            next_us=next_us,
        )
        for message, notifier, attempts, refusals, next_us in record["deliveries"]
    )
    incidents = (item for group in record["incidents"] for item in _incidents(group))
    return Ledger(
        incidents={item.key: item for item in incidents},
        closed={
            (kind, subject): Closed(last, closed)
            for kind, subject, last, closed in record["closed"]
        },
        deliveries=deliveries,
        sequence=record["sequence"],
    )


def _incident_groups(incidents: Iterable[Incident]) -> list[Sequence[Any]]:
    groups: dict[tuple[Any, ...], list[Incident]] = defaultdict(list)
    for item in incidents:
        head = (item.kind, item.group, item.status, item.urgency, item.told_urgency or "")
        groups[*head, item.told].append(item)
    return [[*head, _rows(groups[*head])] for head in sorted(groups)]


def _rows(incidents: Iterable[Incident]) -> list[Sequence[Any]]:
    return [
        [item.subject, item.opened_us, item.last_us, item.changed_us, *_facts(item)]
        for item in sorted(incidents, key=_key)
    ]


def _key(incident: Incident) -> Key:
    return incident.key


def _facts(incident: Incident) -> list[Any]:
    row = facts_row(incident.facts)
    return [row] if row else []


def _incidents(group: Sequence[Any]) -> Iterable[Incident]:
    kind, name, status, urgency, told_urgency, told, rows = group
    for subject, opened_us, last_us, changed_us, *facts in rows:
        yield Incident(
            kind=IncidentKind(kind),
            subject=subject,
            group=name,
            urgency=Urgency(urgency),
            status=Status(status),
            opened_us=opened_us,
            last_us=last_us,
            changed_us=changed_us,
            told=tuple(told),
            told_urgency=Urgency(told_urgency) if told_urgency else None,
            facts=facts_from_row(facts[0] if facts else []),
        )
