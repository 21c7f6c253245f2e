"""How a message reads to somebody who was woken by it.

What belongs here: sentences. The first says what, where, since when and how many; then come the
reasons, then the link. What does not: the limits and markup of a channel (`adapters/notifiers`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType

from tickhandler_dagster.market.alerts.messages import Line, Message, Transition
from tickhandler_dagster.market.alerts.signal import IncidentKind

KIND_WORDS: Mapping[IncidentKind, str] = MappingProxyType(
    {
        IncidentKind.FAILED_CHECK: "check failed",
        IncidentKind.FAILED_RUN: "run failed",
        IncidentKind.LATE_PARTITION: "partition late",
        IncidentKind.EXHAUSTED_QUOTA: "quota exhausted",
        IncidentKind.SILENT_SESSION: "live session silent",
    }
)

TRANSITION_WORDS: Mapping[Transition, str] = MappingProxyType(
    {
        Transition.OPENED: "",
        Transition.RECOVERED: "RECOVERED",
        Transition.HEALED: "FAILED AND RECOVERED",
        Transition.REMINDER: "STILL",
        Transition.DIGEST: "DIGEST",
    }
)

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400
_US = 1_000_000


def headline(message: Message) -> str:
    """The first line: what, where, since when, how many."""
    if message.kind is None:
        return _digest_headline(message)
    opening = _opening(message, message.kind)
    count = f"{message.count:,}" if message.count > 1 else "1"
    if message.until_us is None:
        return f"{opening}: {message.group}, {count} since {moment(message.since_us)}"
    lasted = duration(message.until_us - message.since_us)
    span = f"{moment(message.since_us)} to {moment(message.until_us)}"
    return f"{opening}: {message.group}, {count} after {lasted} ({span})"


def _opening(message: Message, kind: IncidentKind) -> str:
    what = f"{message.urgency.value.upper()} {KIND_WORDS[kind]}"
    return f"{TRANSITION_WORDS[message.transition]} {what}".strip()


def _digest_headline(message: Message) -> str:
    counts = ", ".join(f"{number:,} {name.value}" for name, number in message.counts.items())
    return (
        f"{TRANSITION_WORDS[Transition.DIGEST]} ({message.urgency.value}): {message.messages:,} "
        f"messages since {moment(message.since_us)} in one: {counts}"
    )


def lines_of(message: Message) -> list[str]:
    """One text for each subject that the message names, then how many more there are."""
    texts = [_line(line, message) for line in message.lines]
    total = message.messages if message.kind is None else message.count
    more = total - len(message.lines)
    return [*texts, f"and {more:,} more"] if more > 0 else texts


def _line(line: Line, message: Message) -> str:
    facts = line.facts
    reasons = "; ".join(f"{name}: {text}" for name, text in facts.details)
    said = " | ".join(text for text in (facts.summary, reasons) if text)
    is_one_of_many = message.count > 1 or message.kind is None
    when = ""
    if line.until_us is not None and is_one_of_many:
        when = f" (lasted {duration(line.until_us - line.since_us)})"
    elif is_one_of_many:
        when = f" (since {moment(line.since_us)})"
    return f"{line.subject}{when}" + (f": {said}" if said else "")


def plain_text(message: Message) -> str:
    """The whole message as text.

    Example:
        >>> from tickhandler_dagster.market.alerts.signal import Urgency
        >>> print(plain_text(Message(
        ...     message_id="a", sequence=1, transition=Transition.OPENED, at_us=0, since_us=0,
        ...     kind=IncidentKind.FAILED_RUN, urgency=Urgency.ERROR, group="candles/1m",
        ...     until_us=None, counts={Transition.OPENED: 1}, link="http://localhost:3000/runs/1",
        ...     lines=(Line("run 1", 0),))))
        ERROR run failed: candles/1m, 1 since 1970-01-01 00:00 UTC
        - run 1
        http://localhost:3000/runs/1
        Message a
    """
    body = [f"- {text}" for text in lines_of(message)]
    link = [message.link] if message.link else []
    return "\n".join([headline(message), *body, *link, f"Message {message.message_id}"])


def moment(at_us: int) -> str:
    """A time to the minute.

    Example:
        >>> moment(1_723_086_240_000_000)
        '2024-08-08 03:04 UTC'
    """
    return f"{_EPOCH + dt.timedelta(microseconds=at_us):%Y-%m-%d %H:%M} UTC"


def duration(span_us: int) -> str:
    """A length of time in its two largest units.

    Example:
        >>> duration(45_000_000), duration(8_040_000_000), duration(180_000_000_000)
        ('45 s', '2 h 14 min', '2 d 2 h')
    """
    seconds = max(span_us, 0) // _US
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d {seconds % _DAY_S // _HOUR_S} h"
