"""What is asked for when a larger bar is due, and what becomes of it.

What belongs here: the values that cross between the engine and the process that builds. What does
not: building (`completion_build.py`) and the process (`completion.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.market.bars.carry import Carry
from tickhandler_dagster.market.bars.day_memory import DayMemory
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.instruments import LiveInstrument, Relations


@dataclass(frozen=True, slots=True, kw_only=True)
class LargerWindow:
    """One instrument's part of a request.

    Attributes:
        instrument: The instrument.
        facts: What is known of the window besides its ticks; `facts.day` is the window.
        carry: The state at the window's start; None where a day, or the feed, begins with it.
        memory: What is known of the days before; None where they were not built.
        firsts: Arrival of the first row of the window's day of each book type, where it is known
            (`BookStarts.firsts`).
        latest: The latest rows before the window by data type, where a day begins with it: those
            that arrived before what is read for it may be among them.
    """

    instrument: LiveInstrument
    facts: DayFacts
    carry: Carry | None = None
    memory: DayMemory | None = None
    firsts: Mapping[DataType, int] = field(default_factory=dict)
    latest: Mapping[DataType, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """Larger bars of one venue that are due together.

    Attributes:
        venue: The venue.
        timeframe: Their length.
        span: The bar; its end lies at least `AHEAD_US` and the grace back.
        windows: One per instrument.
        relations: Which instrument others are measured against.
    """

    venue: VenueId
    timeframe: Timeframe
    span: Span
    windows: tuple[LargerWindow, ...]
    relations: Relations


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedBars:
    """What became of a request.

    Attributes:
        venue: The venue.
        timeframe: Length of the bars.
        span: The bar.
        bars: Rows of `CANDLE_TABLE`, one per instrument that was listed.
    """

    venue: VenueId
    timeframe: Timeframe
    span: Span
    bars: pl.DataFrame
