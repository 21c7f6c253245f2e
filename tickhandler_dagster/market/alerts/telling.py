"""What is to be told now: pending incidents gathered into one message per group and transition.

What belongs here: windows, quiet hours and reminders applied to incidents. What does not: what a
signal does to an incident (`incidents.py`) and the way of a message (`deliveries.py`).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from tickhandler_dagster.market.alerts.incidents import PENDING, Incident, Status
from tickhandler_dagster.market.alerts.messages import (
    MAX_LINES,
    Facts,
    Line,
    Message,
    Transition,
    identity,
)
from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency

_US = 1_000_000

TRANSITION_OF: Mapping[Status, Transition] = {
    Status.OPENING: Transition.OPENED,
    Status.WORSENED: Transition.OPENED,
    Status.HEALED: Transition.HEALED,
    Status.RECOVERING: Transition.RECOVERED,
    Status.TOLD: Transition.REMINDER,
}


class Batch(NamedTuple):
    """What the incidents of one message have in common.

    A tuple, since one is made for each of a hundred thousand incidents.
    """

    kind: IncidentKind
    group: str
    urgency: Urgency
    transition: Transition
    told: tuple[str, ...]

    @classmethod
    def of(cls, incident: Incident) -> Batch:
        """The batch of an incident; only what follows a message goes to who had that message."""
        transition = TRANSITION_OF[incident.status]
        follows = transition in {Transition.RECOVERED, Transition.REMINDER}
        told = incident.told if follows else ()
        return cls(incident.kind, incident.group, incident.tells_as, transition, told)

    def recipients(self, policy: AlertPolicy) -> tuple[str, ...]:
        """Names of the notifiers that are told."""
        follows = self.transition in {Transition.RECOVERED, Transition.REMINDER}
        names = self.told if follows else policy.recipients(self.kind, self.group, self.urgency)
        return tuple(name for name in names if name in policy.notifiers)


def batches(incidents: Iterable[Incident]) -> dict[Batch, list[Incident]]:
    """The incidents by what they are told with, in an order that depends on nothing else."""
    found: dict[Batch, list[Incident]] = defaultdict(list)
    for incident in incidents:
        found[Batch.of(incident)].append(incident)
    return {batch: found[batch] for batch in sorted(found)}


def ready(
    incidents: Iterable[Incident], policy: AlertPolicy, now_us: int
) -> dict[Batch, list[Incident]]:
    """The batches to be told now."""
    return {
        batch: members
        for batch, members in batches(incidents).items()
        if not policy.holds(batch.urgency, now_us)
        and now_us - min(member.changed_us for member in members) >= _wait_us(batch, policy)
    }


def pending(incidents: Iterable[Incident], policy: AlertPolicy) -> list[Incident]:
    """The incidents that may have something to tell under the policy."""
    if policy.remind_after_s is not None:
        return list(incidents)
    return [incident for incident in incidents if incident.status in PENDING]


def _wait_us(batch: Batch, policy: AlertPolicy) -> int:
    is_reminder = batch.transition is Transition.REMINDER
    wait_s = policy.remind_after_s if is_reminder else policy.group_within_s
    return (wait_s or 0) * _US


def slim(incidents: Iterable[Incident]) -> list[Incident]:
    """Those incidents, without their facts, that no message would name."""
    too_many = []
    for members in batches(item for item in incidents if item.facts != Facts()).values():
        if len(members) > MAX_LINES:
            kept = {item.key for item in first(members)}
            too_many += [replace(item, facts=Facts()) for item in members if item.key not in kept]
    return too_many


def first(members: Iterable[Incident]) -> list[Incident]:
    """The incidents that a message names: the earliest."""
    return heapq.nsmallest(MAX_LINES, members, key=lambda item: (item.opened_us, item.key))


def message_of(
    batch: Batch, members: list[Incident], sequence: int, policy: AlertPolicy, now_us: int
) -> Message:
    """The message that tells a batch."""
    is_over = batch.transition in {Transition.RECOVERED, Transition.HEALED}
    lines = tuple(
        Line(
            item.subject,
            item.opened_us,
            item.last_us if is_over else None,
            replace(item.facts, link=policy.address(item.facts.link)),
        )
        for item in first(members)
    )
    return Message(
        message_id=identity(
            sequence, now_us, batch.transition, batch.kind, batch.group, batch.urgency
        ),
        sequence=sequence,
        transition=batch.transition,
        kind=batch.kind,
        urgency=batch.urgency,
        group=batch.group,
        at_us=now_us,
        since_us=min(item.opened_us for item in members),
        until_us=max(item.last_us for item in members) if is_over else None,
        counts={batch.transition: len(members)},
        lines=lines,
        link=next((line.facts.link for line in lines if line.facts.link), ""),
    )
