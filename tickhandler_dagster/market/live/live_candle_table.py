"""The table of live bars: a candle, and which word of the engine on it this is.

What belongs here: the columns a live bar has beside a candle's, and which of a candle's columns say
how it came to be, so that live and batch cannot agree in them.
"""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table


class LiveStage(StrEnum):
    """What a publication of a bar is."""

    PROVISIONAL = "provisional"
    COMPLETE = "complete"
    AMENDED = "amended"


STAGE_MEANINGS: dict[LiveStage, str] = {
    LiveStage.PROVISIONAL: "published at the end of the grace; what looks past the bar's end, and "
    "what larger bars recompute from ticks, is null",
    LiveStage.COMPLETE: "every column is there",
    LiveStage.AMENDED: "rows came that belong to a bar already published: it was computed anew",
}

LIVE_CANDLE_TABLE = Table(
    name="live_candles",
    grain="one publication of one bar of one instrument",
    key=("instrument_key", "timeframe", "ts_open", "revision"),
    columns=(
        *CANDLE_TABLE.columns,
        Column(
            "revision",
            pl.Int32(),
            "1 when first published, one more with each later publication: the highest counts.",
            bounds=Bounds(ge=1),
        ),
        Column(
            "stage",
            pl.String(),
            "What the publication is.",
            bounds=Bounds(one_of=tuple(LiveStage)),
        ),
        Column(
            "rows_after_first",
            pl.Int64(),
            "Rows of the bar that arrived after it was first published.",
            unit="rows",
            bounds=Bounds(ge=0),
        ),
        Column("published_at", TIMESTAMP, "When the engine published it.", unit="UTC"),
    ),
    rules=CANDLE_TABLE.rules,
    has_computed_numbers=True,
)

NOT_COMPARABLE = (
    "available_at",
    "bar_version",
    "is_final",
    "source_sha256",
)
"""Columns of a candle that say how it came to be and not what happened.

`available_at` hangs on when rows arrived and `bar_version` counts publications; `source_sha256`
names files, and `is_final` says whether one is still to come: live has none.
"""
