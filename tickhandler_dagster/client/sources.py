"""What bars can be read of: candles, mid-frequency features, named sets of these.

What belongs here: where each has its manifests and files, and how its rows are versioned. What does
not: reading them (`bars.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.mft_table import MFT_IDENTITY
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    LakeObject,
    MftFile,
    MftManifest,
    MftSetFile,
    MftSetManifest,
)
from tickhandler_dagster.market.timeframes import Timeframe

BAR_COLUMNS = (
    *("instrument_key", "timeframe", "ts_open", "ts_close", "available_at", "status", "is_final"),
    *("open", "high", "low", "close", "volume", "notional", "trade_count", "price_vwap"),
)
"""What `candles` gives unless other columns are named."""

IDENTITY = tuple(column.name for column in CANDLE_TABLE.columns if column.name not in FEATURES)
"""Columns that say which bar a row is and how far it can be trusted; no rule nulls them."""

_MFT_IDENTITY = tuple(column.name for column in MFT_IDENTITY if column.name != "close")


@dataclass(frozen=True, slots=True)
class BarSource:
    """A kind of bars.

    Attributes:
        asset: The asset that makes it.
        timeframe: Length of its bars.
        identity: Columns that are never nulled.
        version: Column that counts changes of a row.
        manifest: The manifest of a cell.
        file: The file of a day and an instrument.
        names: Columns unless others are named; empty for all of the file.
        schema: All columns; None where the files say.
    """

    asset: str
    timeframe: Timeframe
    identity: tuple[str, ...]
    version: str
    manifest: Callable[[VenueDay], LakeObject]
    file: Callable[[dt.date, str], LakeObject]
    names: tuple[str, ...] = ()
    schema: pl.Schema | None = None

    @property
    def has_gap_time(self) -> bool:
        """Its rows say how much of each bar is missing, beside the status."""
        return self.schema is not None


def candle_source(timeframe: Timeframe, names: tuple[str, ...] = BAR_COLUMNS) -> BarSource:
    """Candles of a timeframe."""
    return BarSource(
        f"candles/{timeframe}",
        timeframe,
        IDENTITY,
        "bar_version",
        lambda cell: CandleManifest(cell.date, timeframe, cell.venue),
        lambda day, key: CandleFile(day, timeframe, key),
        names,
        CANDLE_TABLE.polars_schema,
    )


def mft_source(timeframe: Timeframe) -> BarSource:
    """Mid-frequency features of a timeframe."""
    return BarSource(
        f"mft_features/{timeframe}",
        timeframe,
        _MFT_IDENTITY,
        "row_version",
        lambda cell: MftManifest(cell.date, timeframe, cell.venue),
        lambda day, key: MftFile(day, timeframe, key),
    )


def set_source(name: str, timeframe: Timeframe) -> BarSource:
    """A named set of mid-frequency features."""
    return BarSource(
        f"mft_sets/{name}",
        timeframe,
        _MFT_IDENTITY,
        "row_version",
        lambda cell: MftSetManifest(name, cell.date, cell.venue),
        lambda day, key: MftSetFile(name, day, timeframe, key),
    )
