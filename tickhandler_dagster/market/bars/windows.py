"""What makes a span of time a window of bars, and the facts that hold in it.

What belongs here: what follows from the facts and the carry before any row is read. What does not:
the carry (`carry.py`) and the building (`day.py`).
"""

from __future__ import annotations

import dataclasses

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.features.family import DayGrid
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME


def facts_in_force(facts: DayFacts, carry: Carry | None, *, has_memory: bool) -> DayFacts:
    """The facts of a day or window before its rows.

    Args:
        facts: As they were given.
        carry: What the window before left; None where there is none.
        has_memory: The bars of the day before are known.
    """
    previous = facts.previous if carry is None else carry.trades.previous
    return dataclasses.replace(facts, has_memory=has_memory, previous=previous)


def listed_part(facts: DayFacts, first_us: int | None) -> Span:
    """The part of the listing in the window; the listing began at the first trade at latest.

    What only the rest of the day shows is not in it: a trade long after the delisting makes the
    bars between into bars of the day, and no window can know of it before.

    Args:
        facts: Of the window, with the listing of the day.
        first_us: Time of the day's first trade; None where there was none yet.
    """
    listed = facts.listed
    if first_us is not None and listed.end > listed.start:
        listed = Span(min(listed.start, first_us - first_us % BASE_TIMEFRAME.us), listed.end)
    return listed.clipped_to(facts.day)


def check_window(facts: DayFacts, grid: DayGrid, carry: Carry | None) -> None:
    """Refuse what is no window, and a carry that is not its own.

    Raises:
        InvalidInput: the window is not one of whole bars in one day, or the carry is not that of
            the moment it begins.
    """
    is_whole = (grid.start_us % grid.timeframe.us, grid.length_us % grid.timeframe.us) == (0, 0)
    if not is_whole or not 0 < grid.length_us <= grid.day_start_us + US_PER_DAY - grid.start_us:
        raise no_window(facts, f"not a span of whole {grid.timeframe} bars inside a UTC day")
    if carry is not None and carry.at_us != grid.start_us:
        raise no_window(facts, f"the carry is that of {carry.at_us} µs")
    if carry is not None and grid.start_us == grid.day_start_us:
        raise no_window(facts, "a day takes nothing over but memory and the rows before it")


def no_window(facts: DayFacts, fact: str) -> InvalidInput:
    """What is wrong with a window, as an error to raise."""
    return InvalidInput(
        f"{facts.instrument_key}: window of bars",
        fact,
        was=f"[{facts.day.start}, {facts.day.end}) µs",
        remedy="Build whole base bars of one UTC day, each window from the carry of the one before",
    )
