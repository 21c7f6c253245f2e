"""What an instrument's bars are put together from: the hand-over from the kernels to the table.

What belongs here: the value. What does not: how the kernels fill it (`day.py`) and what becomes of
it (`stacked.py`, `frame.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.features.family import FamilyDay
from tickhandler_dagster.market.timeframes import Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class DayParts:
    """What the bars of a day, or of a window of it, are put together from.

    Attributes:
        traded: Per timeframe the statistics of the bars with trades; None where nothing traded.
        found: What the kernels found, by how long after a bar's end it is known, in microseconds.
            Columns of a channel that is not in the lake are absent.
        surface: Per timeframe `ts_open` and the columns of the option surface; empty without one.
        previous_arrivals: Per timeframe the latest arrival of the last traded bar before these;
            where it is absent, that of the last trade (`DayFacts.previous`) stands for it.
    """

    traded: Mapping[Timeframe, BarStatistics | None]
    found: Mapping[int, FamilyDay]
    surface: Mapping[Timeframe, pl.DataFrame]
    previous_arrivals: Mapping[Timeframe, int] = field(default_factory=dict)
