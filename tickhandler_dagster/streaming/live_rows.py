"""Frames of the bar kernel as rows of the live table.

What belongs here: the columns a publication adds, and those it has to leave empty. What does not:
building (`windows.py`) and delivering (`delivery.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.live.live_candle_table import (
    LIVE_CANDLE_TABLE,
    NOT_COMPARABLE,
    LiveStage,
)
from tickhandler_dagster.market.live.parity_columns import provisional_nulls
from tickhandler_dagster.market.timeframes import Timeframe

_NULLABLE = frozenset(column.name for column in LIVE_CANDLE_TABLE.columns if column.is_nullable)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publication says of each of its bars.

    Attributes:
        stage: What it is.
        revisions: One per bar.
        rows_after_first: One per bar.
        published_us: When, microseconds since the epoch.
    """

    stage: LiveStage
    revisions: Sequence[int]
    rows_after_first: Sequence[int]
    published_us: int


def live_rows(bars: pl.DataFrame, timeframe: Timeframe, publication: Publication) -> pl.DataFrame:
    """Rows of `LIVE_CANDLE_TABLE` from rows of `CANDLE_TABLE`."""
    if publication.stage is LiveStage.PROVISIONAL:
        schema = bars.schema
        bars = bars.with_columns(
            pl.lit(None, schema[name]).alias(name)
            for name in sorted(provisional_nulls(timeframe) & _NULLABLE)
            if name in schema
        )
    moment = _EPOCH + dt.timedelta(microseconds=publication.published_us)
    added = bars.with_columns(
        pl.Series("revision", publication.revisions, dtype=pl.Int32),
        pl.Series("rows_after_first", publication.rows_after_first, dtype=pl.Int64),
        stage=pl.lit(publication.stage.value),
        published_at=pl.lit(moment).cast(LIVE_CANDLE_TABLE.polars_schema["published_at"]),
        bar_version=pl.Series(publication.revisions).cast(schema_of("bar_version")),
    )
    return added.select(LIVE_CANDLE_TABLE.names)


def schema_of(name: str) -> pl.DataType:
    """The type of a column of the live table."""
    return LIVE_CANDLE_TABLE.column(name).dtype


def digests(bars: pl.DataFrame) -> list[int]:
    """A number for the content of each bar, of all that live and batch are compared in."""
    return bars.drop(NOT_COMPARABLE).hash_rows().to_list()
