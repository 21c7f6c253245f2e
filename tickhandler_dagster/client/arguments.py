"""Arguments of questions as rules and spans.

What belongs here: reading them. What does not: the questions (`market_data.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from tickhandler_dagster.client.rows import Rows
from tickhandler_dagster.client.rules import BarRules, Fill, OnGap, parsed_choice
from tickhandler_dagster.client.spans import Moment, moment_us, spans_around, utc_span
from tickhandler_dagster.client.ticks import Clock, TickRules
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import InvalidInput


def deferred(answer: Callable[[], Rows]) -> Rows:
    """Rows whose files are looked for when they are read."""
    return Rows(
        lambda: answer().lazy(), lambda: answer().plan(), collect=lambda: answer().collect()
    )


def bar_rules(
    on_gap: str,
    fill: str,
    as_of: Moment | None,
    on_revised: str,
    *,
    include_provisional: bool,
) -> BarRules:
    """The rules that the arguments of a question about bars say.

    Raises:
        InvalidInput: one of them breaks its rule.
    """
    return BarRules(
        on_gap=parsed_choice(OnGap, on_gap, "on_gap"),
        fill=parsed_choice(Fill, fill, "fill"),
        include_provisional=include_provisional,
        as_of_us=None if as_of is None else moment_us(as_of, "as_of"),
        on_revised=parsed_choice(OnGap, on_revised, "on_revised"),
    )


def tick_rules(
    on_gap: str,
    clock: str,
    as_of: Moment | None,
    on_revised: str,
    *,
    include_provisional: bool,
) -> TickRules:
    """The rules that the arguments of a question about ticks say.

    Raises:
        InvalidInput: one of them breaks its rule.
    """
    return TickRules(
        on_gap=parsed_choice(OnGap, on_gap, "on_gap"),
        include_provisional=include_provisional,
        as_of_us=None if as_of is None else moment_us(as_of, "as_of"),
        on_revised=parsed_choice(OnGap, on_revised, "on_revised"),
        clock=parsed_choice(Clock, clock, "clock"),
    )


def asked_spans(
    start: Moment | None,
    end: Moment | None,
    around: Sequence[Moment] | None,
    before: dt.timedelta,
    after: dt.timedelta,
) -> list[Span]:
    """The spans that the arguments of a question about ticks say.

    Raises:
        InvalidInput: both a span and moments, or neither.
    """
    if around is not None and start is None and end is None:
        return spans_around(around, before, after)
    if around is None and start is not None and end is not None:
        span = utc_span(start, end)
        return [span] if span.end > span.start else []
    raise InvalidInput(
        "start, end, around",
        "not one question",
        expected="start and end, or around",
        remedy="Give a span, or moments with before= and after=",
    )
