"""The table of mid-frequency features: one row per bar, one column per entry of the catalogue.

What belongs here: which bar a row is, and the tables that follow from entries. What does not: the
entries (`mft/`) and how a day is computed (`pipeline/mft_features.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import polars as pl

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES, mft_features
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table

_STRING = pl.String()

MFT_IDENTITY: tuple[Column, ...] = (
    CANDLE_TABLE.column("instrument_key"),
    CANDLE_TABLE.column("venue"),
    Column("timeframe", _STRING, "Length of the bar.", bounds=Bounds(one_of=tuple(MFT_TIMEFRAMES))),
    CANDLE_TABLE.column("ts_open"),
    CANDLE_TABLE.column("ts_close"),
    Column(
        "available_at",
        TIMESTAMP,
        "When the row could first be known: no earlier than any bar it can stand on, of the "
        "instrument, its reference, its venue and other venues. Join on this.",
        unit="UTC",
    ),
    CANDLE_TABLE.column("status"),
    Column(
        "is_final",
        pl.Boolean(),
        "The bar is final; a bar that is not has no features.",
    ),
    Column("close", pl.Float64(), "Close of the bar.", is_nullable=True, bounds=Bounds(gt=0)),
    Column(
        "row_version",
        pl.Int32(),
        "1 when first published, one more each time a later run changes a value of the row.",
        bounds=Bounds(ge=1),
    ),
    Column("kernel_version", _STRING, "Version of the computation."),
)
"""Which bar a row is, and how far it can be trusted."""

MFT_PROVENANCE = ("row_version", "is_final", "kernel_version")
"""How a row came to be: a change of these columns alone makes no new version of the row."""

_RULES = (
    RowRule("a bar ends after it opens", pl.col("ts_close") > pl.col("ts_open")),
    RowRule("a row is not available before its end", pl.col("available_at") >= pl.col("ts_close")),
)


@lru_cache
def mft_table(windows: Windows) -> Table:
    """The table of all features for these windows."""
    return table_of(mft_features(windows))


def table_of(features: Iterable[MftFeature], *, name: str = "mft_features") -> Table:
    """The table of these features."""
    return Table(
        name=name,
        grain="one bar of one instrument",
        key=("instrument_key", "timeframe", "ts_open"),
        columns=(*MFT_IDENTITY, *(feature.column for feature in features)),
        rules=_RULES,
        sorted_by="ts_open",
        has_computed_numbers=True,
    )
