"""The manifest of a partition of mid-frequency features: per instrument its rows and its warm-up.

What belongs here: the row and its table. What does not: how the numbers come to be
(`pipeline/mft_features.py`). No column holds a wall-clock time or anything of the run, so that a
second run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.warm_up import NULL_REASON_MEANINGS, NullReason
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()


def _count(name: str, description: str, unit: str) -> Column:
    return Column(name, pl.Int64(), description, unit=unit, bounds=Bounds(ge=0))


def _null_column(reason: NullReason) -> str:
    return f"null_{reason}"


NULL_COLUMNS = tuple(_null_column(reason) for reason in NullReason)

MFT_MANIFEST_TABLE = Table(
    name="mft_features_manifest",
    grain="one instrument of a partition of mid-frequency features",
    key=("date", "venue", "timeframe", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column(
            "timeframe", _STRING, "Length of the bars.", bounds=Bounds(one_of=tuple(MFT_TIMEFRAMES))
        ),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        _count("rows", "Rows in the file: the bars of the day.", "rows"),
        _count("final_rows", "Of these, rows of final bars: only they have values.", "rows"),
        Column(
            "first_value_at",
            TIMESTAMP,
            "Open of the first bar of the day with a value; null where there is none.",
            unit="UTC",
            is_nullable=True,
        ),
        Column(
            "warm_at",
            TIMESTAMP,
            "Open of the first bar of the day from which on every feature that has a value on the "
            "day has had one; null where there is none.",
            unit="UTC",
            is_nullable=True,
        ),
        _count("features", "Features in the file.", "features"),
        _count("features_with_values", "Of these, features with a value.", "features"),
        *(
            _count(
                _null_column(reason),
                f"Features without a value because {NULL_REASON_MEANINGS[reason]}.",
                "features",
            )
            for reason in NullReason
        ),
        _count(
            "halo_partitions",
            "Candle partitions of earlier days that the day reads.",
            "partitions",
        ),
        _count("halo_present", "Of these, with bars of the instrument.", "partitions"),
        Column(
            "halo_missing",
            pl.List(_STRING),
            "Of these, never made: gaps in every window over them.",
        ),
        Column(
            "reference_key",
            _STRING,
            "Instrument that beta and correlation are measured against; null where there is none.",
            is_nullable=True,
        ),
        _count("bytes", "Size of the object in the lake.", "bytes"),
        Column("content_sha256", _STRING, "SHA-256 of the object in the lake."),
        Column(
            "inputs_sha256",
            _STRING,
            "Digest of all that the partition depends on; equal inputs, equal rows.",
        ),
        Column("is_simulated", pl.Boolean(), "A source came from the sandbox, not from a market."),
        Column("kernel_version", _STRING, "Version of the computation."),
    ),
    rules=(
        RowRule("final rows are rows", pl.col("final_rows") <= pl.col("rows")),
        RowRule(
            "every feature has a value or the reason why it has none",
            pl.sum_horizontal("features_with_values", *NULL_COLUMNS) == pl.col("features"),
        ),
        RowRule(
            "without a final row there is no value",
            (pl.col("final_rows") > 0) | (pl.col("features_with_values") == 0),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MftManifestRow:
    """A row of `MFT_MANIFEST_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    timeframe: Timeframe
    instrument_key: str
    rows: int
    final_rows: int
    first_value_at: dt.datetime | None
    warm_at: dt.datetime | None
    features: int
    features_with_values: int
    null_provisional: int
    null_no_input: int
    null_history: int
    null_gap: int
    null_not_traded: int
    null_undefined: int
    halo_partitions: int
    halo_present: int
    halo_missing: tuple[str, ...]
    reference_key: str | None
    bytes: int
    content_sha256: str
    inputs_sha256: str
    is_simulated: bool
    kernel_version: str


def mft_manifest_frame(rows: Iterable[MftManifestRow]) -> pl.DataFrame:
    """The rows as a frame of `MFT_MANIFEST_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(row) for row in rows]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in MFT_MANIFEST_TABLE.names},
        schema=MFT_MANIFEST_TABLE.polars_schema,
    ).sort("instrument_key")


def mft_manifest_rows(frame: pl.DataFrame) -> list[MftManifestRow]:
    """The frame's rows as values; none where another version of the project wrote it."""
    if frame.schema != MFT_MANIFEST_TABLE.polars_schema:
        return []
    return [
        MftManifestRow(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "timeframe": Timeframe(record["timeframe"]),
                "halo_missing": tuple(record["halo_missing"]),
            }
        )
        for record in frame.select(MFT_MANIFEST_TABLE.names).iter_rows(named=True)
    ]
