"""The table of live bars that are not the batch's bars: one row per bar and cause.

What belongs here: causes and columns. What does not: how a cause is found (`parity.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.timeframes import Timeframe


class LiveDifferenceCause(StrEnum):
    """What explains columns in which a live bar and the batch's bar differ."""

    KERNEL = "kernel"
    LOST = "lost"
    LATE = "late"
    REVISED = "revised"
    ABSENT = "absent"
    DEPTH = "depth"
    MEMORY = "memory"
    DELAY = "delay"
    UNEXPLAINED = "unexplained"


LIVE_DIFFERENCE_MEANINGS: Mapping[LiveDifferenceCause, str] = MappingProxyType(
    {
        LiveDifferenceCause.KERNEL: "another version of the computation made the batch's bar",
        LiveDifferenceCause.LOST: "live did not see rows that the vendor's files have",
        LiveDifferenceCause.LATE: "rows came after the time in which a bar is still amended",
        LiveDifferenceCause.REVISED: "the vendor's files have other rows than live received",
        LiveDifferenceCause.ABSENT: "live took no rows of the data type at all",
        LiveDifferenceCause.DEPTH: "the book comes from another channel than in the batch",
        LiveDifferenceCause.MEMORY: "one side does not know the days before, or not with all rows",
        LiveDifferenceCause.DELAY: "the column depends on arrival, which each recorder has its own",
        LiveDifferenceCause.UNEXPLAINED: "nothing known explains it: somebody should look",
    }
)

BY_NATURE = frozenset(
    {
        LiveDifferenceCause.KERNEL,
        LiveDifferenceCause.ABSENT,
        LiveDifferenceCause.DEPTH,
        LiveDifferenceCause.MEMORY,
        LiveDifferenceCause.DELAY,
    }
)
"""Causes that say nothing against the feed or the computation."""

LIVE_DIFFERENCES_TABLE = Table(
    name="live_differences",
    grain="one cause for which a live bar and the batch's bar differ",
    key=("date", "venue", "timeframe", "instrument_key", "ts_open", "cause"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", pl.String(), "Tardis exchange id."),
        Column(
            "timeframe", pl.String(), "Length of the bar.", bounds=Bounds(one_of=tuple(Timeframe))
        ),
        Column("instrument_key", pl.String(), "Canonical key VENUE:TYPE:SYMBOL."),
        Column("ts_open", TIMESTAMP, "First moment of the bar.", unit="UTC"),
        Column(
            "cause",
            pl.String(),
            "What explains it.",
            bounds=Bounds(one_of=tuple(LiveDifferenceCause)),
        ),
        Column(
            "fields", pl.List(pl.String()), "Columns that differ; empty where a bar is missing."
        ),
        Column(
            "sample",
            pl.String(),
            "The first of them with both values: live against batch; null where a bar is missing.",
            is_nullable=True,
        ),
        Column(
            "stage",
            pl.String(),
            "What the live bar's last publication was; null where there is no live bar.",
            is_nullable=True,
            bounds=Bounds(one_of=tuple(LiveStage)),
        ),
        Column(
            "revision",
            pl.Int32(),
            "The live bar's highest revision.",
            is_nullable=True,
            bounds=Bounds(ge=1),
        ),
        Column(
            "status",
            pl.String(),
            "The batch bar's status; null where the batch has no such bar.",
            is_nullable=True,
            bounds=Bounds(one_of=tuple(BarStatus)),
        ),
        Column(
            "rows_of_trades",
            pl.Int64(),
            "Trades of the bar that are the evidence: lost, late or revised; null where ticks were "
            "not kept or are not the cause.",
            unit="trades",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
    ),
)
