"""The manifest of an option surface partition: per underlying and timeframe its rows and sources.

What belongs here: the row, its table and the two conversions. What does not: how the numbers come
to be (`pipeline/options_surface.py`). No column holds a wall-clock time or anything of the run, so
that a second run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.tables import Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()


def _count(name: str, description: str, unit: str) -> Column:
    return Column(name, pl.Int64(), description, unit=unit, bounds=Bounds(ge=0))


OPTIONS_SURFACE_MANIFEST_TABLE = Table(
    name="options_surface_manifest",
    grain="one underlying and timeframe of an option surface partition",
    key=("date", "venue", "timeframe", "underlying"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars, by arrival."),
        Column("venue", _STRING, "Tardis exchange id of the chain."),
        Column("timeframe", _STRING, "Length of the bars.", bounds=Bounds(one_of=tuple(Timeframe))),
        Column("underlying", _STRING, "BASE-QUOTE the options are written on."),
        Column("base_asset", _STRING, "What the options are written on, without the quote."),
        _count("options", "Options of the underlying that the vendor lists on the day.", "options"),
        _count("present_options", "Of these, options with rows in the lake.", "options"),
        _count("missing_options", "Of these, options whose rows should be there.", "options"),
        _count("expiries", "Expiries of the options with rows.", "expiries"),
        _count("raw_rows", "Rows of the day's raw files.", "rows"),
        _count("rows", "Rows of the surface: bars of the day.", "rows"),
        _count("rows_with_front", "Of these, rows with atm_mark_iv.", "rows"),
        _count("rows_with_30d", "Of these, rows with atm_iv_30d.", "rows"),
        _count("rows_with_model_free", "Of these, rows with model_free_volatility_30d.", "rows"),
        Column(
            "bytes",
            pl.Int64(),
            "Size of the object in the lake.",
            unit="bytes",
            bounds=Bounds(ge=0),
        ),
        Column("content_sha256", _STRING, "SHA-256 of the object in the lake."),
        Column(
            "inputs_sha256",
            _STRING,
            "Digest of all that the surface depends on; equal inputs, equal surface.",
        ),
        Column("is_simulated", pl.Boolean(), "A source came from the sandbox, not from a market."),
        Column("kernel_version", _STRING, "Version of the computation."),
    ),
    rules=(
        RowRule(
            "present and missing options are listed ones",
            pl.sum_horizontal("present_options", "missing_options") <= pl.col("options"),
        ),
        RowRule(
            "no more rows have a volatility than there are",
            pl.max_horizontal("rows_with_front", "rows_with_30d", "rows_with_model_free")
            <= pl.col("rows"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsSurfaceManifestRow:
    """A row of `OPTIONS_SURFACE_MANIFEST_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    timeframe: Timeframe
    underlying: str
    base_asset: str
    options: int
    present_options: int
    missing_options: int
    expiries: int
    raw_rows: int
    rows: int
    rows_with_front: int
    rows_with_30d: int
    rows_with_model_free: int
    bytes: int
    content_sha256: str
    inputs_sha256: str
    is_simulated: bool
    kernel_version: str


def surface_manifest_frame(rows: Iterable[OptionsSurfaceManifestRow]) -> pl.DataFrame:
    """The rows as a frame of `OPTIONS_SURFACE_MANIFEST_TABLE`, by underlying and timeframe."""
    order = {timeframe: place for place, timeframe in enumerate(Timeframe)}
    ordered = sorted(rows, key=lambda row: (row.underlying, order[row.timeframe]))
    records = [dataclasses.asdict(row) for row in ordered]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in _NAMES},
        schema=OPTIONS_SURFACE_MANIFEST_TABLE.polars_schema,
    )


def surface_manifest_rows(frame: pl.DataFrame) -> list[OptionsSurfaceManifestRow]:
    """The frame's rows as values; the inverse of `surface_manifest_frame`."""
    return [
        OptionsSurfaceManifestRow(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "timeframe": Timeframe(record["timeframe"]),
            }
        )
        for record in frame.select(_NAMES).iter_rows(named=True)
    ]


_NAMES = OPTIONS_SURFACE_MANIFEST_TABLE.names
