"""Deliveries: what each notifier still has to take, in which order and when to try again.

What belongs here: the queue of every notifier, back-off, what quiet hours hold, what is put
together where a notifier is out of reach for long. What does not: which messages there are
(`telling.py`) and sending (`pipeline/alerting.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tickhandler_dagster.market.alerts.messages import (
    MAX_LINES,
    Facts,
    Line,
    Message,
    Transition,
    identity,
)
from tickhandler_dagster.market.alerts.policy import AlertPolicy, more_urgent

FIRST_WAIT_S = 30
LONGEST_WAIT_S = 900
MAX_BACKLOG = 200
"""Messages that wait for a notifier one by one; of more, the older half becomes one digest."""

REFUSALS_TO_STEP_ASIDE = 3
"""A message refused so often for good no longer holds up those behind it."""

_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one notifier; once delivered there is none any more.

    Attributes:
        message: What is sent.
        notifier: To whom.
        attempts: How often it failed.
        refusals: How many of those were permanent errors.
        next_us: Not before this time, microseconds since the epoch, UTC.
    """

    message: Message
    notifier: str
    attempts: int = 0
    refusals: int = 0
    next_us: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Its identity."""
        return (self.message.message_id, self.notifier)

    @property
    def steps_aside(self) -> bool:
        """It lets others of its queue pass."""
        return self.refusals >= REFUSALS_TO_STEP_ASIDE

    def holds_up(self, later: Delivery) -> bool:
        """The other, which is behind it, has to wait for it."""
        is_before = later.message.queue == self.message.queue
        return not self.steps_aside and (
            is_before or Transition.DIGEST in {self.message.transition, later.message.transition}
        )

    def failed(self, now_us: int, *, is_refused: bool, wait_s: float | None = None) -> Delivery:
        """It has to be tried again, after twice the wait of before or what was asked for.

        Example:
            >>> wait_after_s(1), wait_after_s(2), wait_after_s(50)
            (30, 60, 900)
        """
        attempts = self.attempts + 1
        waits = max(wait_s or 0, wait_after_s(attempts))
        return replace(
            self,
            attempts=attempts,
            refusals=self.refusals + is_refused,
            next_us=now_us + round(waits * _US),
        )


def wait_after_s(attempts: int) -> int:
    """Seconds until the next attempt after so many failed ones."""
    return min(FIRST_WAIT_S << min(attempts - 1, 16), LONGEST_WAIT_S)


def due(queue: Sequence[Delivery], policy: AlertPolicy, now_us: int) -> list[Delivery]:
    """What to attempt now of one notifier's queue, in order.

    Whoever attempts them leaves out what a failed one holds up.

    In quiet hours a message of a lesser urgency goes out only together with one of its own queue
    that breaks through, and before it: read alone, the later one could say the opposite of what is
    so. It happens only to what could not be delivered before the hours began.
    """
    ready: list[Delivery] = []
    waiting: list[Delivery] = []
    for delivery in queue:
        if delivery.next_us > now_us or any(other.holds_up(delivery) for other in waiting):
            waiting.append(delivery)
        else:
            ready.append(delivery)
    is_out = [not policy.holds(delivery.message.urgency, now_us) for delivery in ready]
    for place in reversed(range(len(ready))):
        is_out[place] = is_out[place] or any(
            is_out[later] and ready[place].holds_up(ready[later])
            for later in range(place + 1, len(ready))
        )
    return [delivery for delivery, is_going in zip(ready, is_out, strict=True) if is_going]


def compacted(queue: Sequence[Delivery], sequence: int, now_us: int) -> list[Delivery]:
    """A notifier's queue in a bounded number of messages: the older half as one digest.

    A message that was attempted may have arrived without our knowing and is then told a second
    time, as part of the digest: the price of a bounded ledger, paid only by a notifier that
    failed for 200 messages.
    """
    if len(queue) <= MAX_BACKLOG:
        return list(queue)
    old, rest = queue[: -MAX_BACKLOG // 2], queue[-MAX_BACKLOG // 2 :]
    notifier = old[0].notifier
    message = _digest([delivery.message for delivery in old], notifier, sequence, now_us)
    first = Delivery(
        message=message,
        notifier=notifier,
        attempts=max(delivery.attempts for delivery in old),
        next_us=min(delivery.next_us for delivery in old),
    )
    return [first, *rest]


def _digest(messages: Sequence[Message], notifier: str, sequence: int, now_us: int) -> Message:
    counts: Counter[Transition] = Counter()
    urgency = messages[0].urgency
    for message in messages:
        counts.update(message.counts)
        urgency = more_urgent(urgency, message.urgency)
    until = [message.until_us for message in messages if message.until_us is not None]
    return Message(
        message_id=identity(sequence, now_us, Transition.DIGEST, notifier),
        sequence=sequence,
        transition=Transition.DIGEST,
        kind=None,
        urgency=urgency,
        group="",
        at_us=now_us,
        since_us=min(message.since_us for message in messages),
        until_us=max(until, default=None),
        counts={name: counts[name] for name in Transition if counts[name]},
        messages=sum(message.messages for message in messages),
        lines=tuple(_lines(messages))[:MAX_LINES],
        link=next((message.link for message in messages if message.link), ""),
    )


def _lines(messages: Iterable[Message]) -> Iterable[Line]:
    for message in messages:
        if message.transition is Transition.DIGEST:
            yield from message.lines
        else:
            told = f"{message.transition.value}: {message.count:,}"
            until = message.until_us
            yield Line(message.group, message.since_us, until, Facts(told, message.link))
