"""An incident: one subject from the first bad signal to the good one, and how far it was told.

What belongs here: what a signal does to it. What does not: all of them together (`ledger.py`) and
messages (`telling.py`).

```text
            bad                told                 good                  told
 (nothing) ----> OPENING ---------------> TOLD ----------> RECOVERING ----------> (closed)
                  |  ^                    |  ^                  |
             good |  | bad   more urgent  |  | told        bad  |
                  v  |                    v  |                  v
                 HEALED --told--> (closed) WORSENED            TOLD
```

Whatever flaps before a person heard of it is one incident, told in its last state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from tickhandler_dagster.market.alerts.messages import Facts, short_subject
from tickhandler_dagster.market.alerts.policy import is_at_least, more_urgent
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency


class Status(StrEnum):
    """Where an incident stands between what is so and what was told."""

    OPENING = "opening"
    HEALED = "healed"
    TOLD = "told"
    WORSENED = "worsened"
    RECOVERING = "recovering"


BAD = frozenset({Status.OPENING, Status.TOLD, Status.WORSENED})
"""What is wrong now; the others are right again, which is still to be told."""

PENDING = frozenset(Status) - {Status.TOLD}
"""What waits to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that is wrong, or was until a moment ago.

    Attributes:
        kind: What is wrong.
        subject: Its identity within the kind.
        group: What it is told with.
        urgency: The highest seen.
        status: What is to be told.
        opened_us: When it was first seen to be wrong, microseconds since the epoch, UTC.
        last_us: Time of the newest signal taken; older ones change nothing.
        changed_us: Our time at which the status came to be.
        told: Notifiers that heard of it or have it in their queue.
        told_urgency: The urgency that was told; None before anything was.
        facts: Of the newest signal that said something new, while it is to be told.
    """

    kind: IncidentKind
    subject: str
    group: str
    urgency: Urgency
    status: Status
    opened_us: int
    last_us: int
    changed_us: int
    told: tuple[str, ...] = ()
    told_urgency: Urgency | None = None
    facts: Facts = field(default_factory=Facts)

    @classmethod
    def opened(cls, signal: Signal, now_us: int) -> Incident:
        """The incident that a first bad signal opens."""
        return cls(
            kind=signal.kind,
            subject=short_subject(signal.subject),
            group=short_subject(signal.group),
            urgency=signal.urgency,
            status=Status.OPENING,
            opened_us=signal.at_us,
            last_us=signal.at_us,
            changed_us=now_us,
            facts=Facts.of(signal),
        )

    @property
    def key(self) -> tuple[str, str]:
        """Its identity."""
        return (self.kind.value, self.subject)

    @property
    def is_bad(self) -> bool:
        """It is wrong now."""
        return self.status in BAD

    @property
    def tells_as(self) -> Urgency:
        """The urgency of the message it waits for: a recovery is as urgent as what was told."""
        is_recovery = self.status is Status.RECOVERING
        return self.told_urgency if is_recovery and self.told_urgency else self.urgency

    def after(self, signal: Signal, now_us: int) -> Incident:
        """The incident once the signal is taken. At the same instant, good is newer than bad."""
        is_old = signal.at_us < self.last_us
        is_overtaken = signal.is_bad and not self.is_bad and signal.at_us == self.last_us
        if is_old or is_overtaken:
            return self
        if signal.is_bad:
            return self._wrong(signal, now_us)
        return self._right(signal, now_us)

    def _wrong(self, signal: Signal, now_us: int) -> Incident:
        """It is wrong, still or again, and maybe more urgent than was told."""
        urgency = more_urgent(self.urgency, signal.urgency)
        if self.told_urgency is None:
            status, changed_us = Status.OPENING, self.changed_us
        else:
            is_worse = not is_at_least(self.told_urgency, urgency)
            status = Status.WORSENED if is_worse else Status.TOLD
            changed_us = self.changed_us if status is self.status else now_us
        return replace(
            self,
            status=status,
            urgency=urgency,
            last_us=signal.at_us,
            changed_us=changed_us,
            facts=Facts() if status is Status.TOLD else Facts.of(signal),
        )

    def _right(self, signal: Signal, now_us: int) -> Incident:
        """It is right again; of what nobody heard, the failure's own facts are kept."""
        if not self.is_bad:
            return replace(self, last_us=signal.at_us)
        if self.told_urgency is None:
            # It keeps the moment it opened: the window of its group runs from there.
            return replace(self, status=Status.HEALED, last_us=signal.at_us)
        return replace(
            self,
            status=Status.RECOVERING,
            last_us=signal.at_us,
            changed_us=now_us,
            facts=Facts.of(signal),
        )

    def was_told(self, to: tuple[str, ...], now_us: int) -> Incident:
        """It is known to these notifiers from now on."""
        return replace(
            self,
            status=Status.TOLD,
            changed_us=now_us,
            told=tuple(dict.fromkeys((*self.told, *to))),
            told_urgency=self.urgency,
            facts=Facts(),
        )
