"""The ledger: what is wrong, what was told and what is still to be delivered. Pure: time is given.

What belongs here: the steps from signals to deliveries as values. What does not: what is stored
where (the caller), sending (`pipeline/alerting.py`), texts (`wording.py`), JSON (`ledger_json.py`).

A step of the caller is: `taking` the new signals, `telling` what is ripe, store, attempt what is
`due`, and note each attempt with `delivered` or `failed`. A crash between an attempt and its note
repeats the attempt with the same `message_id`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tickhandler_dagster.market.alerts import deliveries as queues
from tickhandler_dagster.market.alerts import telling
from tickhandler_dagster.market.alerts.deliveries import Delivery
from tickhandler_dagster.market.alerts.incidents import Incident, Status
from tickhandler_dagster.market.alerts.messages import Message, short_subject
from tickhandler_dagster.market.alerts.policy import AlertPolicy
from tickhandler_dagster.market.alerts.signal import Signal

MAX_CLOSED = 20_000
"""Closed incidents remembered at most; the newest stay."""

_DAY_US = 86_400_000_000

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed incident, so that a late signal does not open it again.

    Attributes:
        last_us: Time of the newest signal taken of it.
        closed_us: Our time when it was told, microseconds since the epoch, UTC.
    """

    last_us: int
    closed_us: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """All of it, as a value.

    Attributes:
        incidents: What is wrong, or right again and not told yet, by kind and subject.
        closed: What was closed lately.
        deliveries: What is to be delivered, in the order of the messages.
        sequence: Messages made so far.
    """

    incidents: Mapping[Key, Incident] = field(default_factory=dict)
    closed: Mapping[Key, Closed] = field(default_factory=dict)
    deliveries: tuple[Delivery, ...] = ()
    sequence: int = 0

    def taking(self, signals: Iterable[Signal], now_us: int) -> Ledger:
        """The ledger once the signals are taken, in their order.

        A bad signal opens an incident or tells that it goes on, a good one ends it. A good one of
        what is not open, and one older than what is known, do nothing.
        """
        signals = list(signals)
        if not signals:
            return self
        incidents = dict(self.incidents)
        for signal in signals:
            key = (signal.kind.value, short_subject(signal.subject))
            known = incidents.get(key)
            if known is not None:
                incidents[key] = known.after(signal, now_us)
            elif signal.is_bad and not self._is_late(key, signal):
                incidents[key] = Incident.opened(signal, now_us)
        for slim in telling.slim(incidents.values()):
            incidents[slim.key] = slim
        return replace(self, incidents=incidents)

    def _is_late(self, key: Key, signal: Signal) -> bool:
        closed = self.closed.get(key)
        return closed is not None and signal.at_us <= closed.last_us

    def telling(self, policy: AlertPolicy, now_us: int) -> Ledger:
        """The ledger once everything ripe is a message on its way.

        Deliveries to notifiers that the policy no longer has are dropped, long closed incidents
        are forgotten, and queues that grew too long are put together.
        """
        ripe = telling.ready(telling.pending(self.incidents.values(), policy), policy, now_us)
        incidents, closed = dict(self.incidents), _remembered(self.closed, policy, now_us)
        kept = [item for item in self.deliveries if item.notifier in policy.notifiers]
        sequence = self.sequence
        for batch, members in ripe.items():
            recipients = batch.recipients(policy)
            for member in members:
                if member.status in {Status.HEALED, Status.RECOVERING}:
                    del incidents[member.key]
                    closed[member.key] = Closed(member.last_us, now_us)
                else:
                    incidents[member.key] = member.was_told(recipients, now_us)
            if recipients:
                sequence += 1
                message = telling.message_of(batch, members, sequence, policy, now_us)
                kept += [Delivery(message=message, notifier=name) for name in recipients]
        ledger = Ledger(incidents, closed, tuple(kept), sequence)
        return compacted(ledger, now_us)

    def queues(self) -> dict[str, list[Delivery]]:
        """What each notifier still has to take, in order."""
        found: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.deliveries:
            found[delivery.notifier].append(delivery)
        return dict(found)

    def due(self, policy: AlertPolicy, now_us: int) -> dict[str, list[Delivery]]:
        """What to attempt now, by notifier, in order; quiet hours hold and never lose."""
        found = {name: queues.due(queue, policy, now_us) for name, queue in self.queues().items()}
        return {name: queue for name, queue in found.items() if queue}

    def delivered(self, delivery: Delivery) -> Ledger:
        """The ledger once the notifier has the message."""
        kept = tuple(item for item in self.deliveries if item.key != delivery.key)
        return replace(self, deliveries=kept)

    def failed(
        self, delivery: Delivery, now_us: int, *, is_refused: bool, wait_s: float | None = None
    ) -> Ledger:
        """The ledger once an attempt failed.

        Args:
            delivery: What was attempted.
            now_us: When.
            is_refused: The receiver will say the same again to the same message.
            wait_s: Seconds it asked to wait.
        """
        again = delivery.failed(now_us, is_refused=is_refused, wait_s=wait_s)
        return replace(
            self,
            deliveries=tuple(
                again if item.key == delivery.key else item for item in self.deliveries
            ),
        )

    @property
    def open_incidents(self) -> list[Incident]:
        """What is wrong now, the oldest first."""
        found = (incident for incident in self.incidents.values() if incident.is_bad)
        return sorted(found, key=lambda item: (item.opened_us, item.key))

    @property
    def messages(self) -> list[Message]:
        """What is on its way, each message once."""
        return list({item.message.message_id: item.message for item in self.deliveries}.values())


def compacted(ledger: Ledger, now_us: int) -> Ledger:
    """The ledger with every queue in a bounded number of messages."""
    sequence, kept = ledger.sequence, []
    for waiting in ledger.queues().values():
        shorter = queues.compacted(waiting, sequence + 1, now_us)
        sequence += len(shorter) < len(waiting)
        kept += shorter
    if sequence == ledger.sequence:
        return ledger
    return replace(ledger, deliveries=tuple(kept), sequence=sequence)


def _remembered(
    closed: Mapping[Key, Closed], policy: AlertPolicy, now_us: int
) -> dict[Key, Closed]:
    oldest_us = now_us - policy.forget_after_days * _DAY_US
    kept = {key: item for key, item in closed.items() if item.closed_us > oldest_us}
    if len(kept) <= MAX_CLOSED:
        return kept
    newest = sorted(kept, key=lambda key: (kept[key].closed_us, key))[-MAX_CLOSED:]
    return {key: kept[key] for key in newest}
