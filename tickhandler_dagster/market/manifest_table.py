"""The manifest of a raw partition: one row per expected instrument, its state, its file.

What belongs here: the row, its table and the two conversions. Where manifests are stored is
`adapters/manifests.py`. No column holds a wall-clock time, so that a second run writes the same
bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.states import INGEST_STATES, DataState
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

_I64 = pl.Int64()
_STRING = pl.String()


def _count(name: str, description: str) -> Column:
    return Column(name, _I64, description, unit="rows", bounds=Bounds(ge=0))


def _moment(name: str, description: str) -> Column:
    return Column(name, TIMESTAMP, description, unit="UTC", is_nullable=True)


def _text(name: str, description: str, *, is_nullable: bool = False) -> Column:
    return Column(name, _STRING, description, is_nullable=is_nullable)


MANIFEST_TABLE = Table(
    name="raw_ticks_manifest",
    grain="one instrument expected in a raw partition",
    key=("date", "venue", "data_type", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's file, cut by arrival time."),
        _text("venue", "Tardis exchange id."),
        _text("data_type", "Tardis data type."),
        _text("instrument_key", "Canonical key VENUE:TYPE:SYMBOL."),
        _text("tardis_symbol", "The instrument's symbol as the CSV spells it."),
        _text(
            "source_symbol", "Symbol of the file it came in: its own, or a group such as OPTIONS."
        ),
        Column("state", _STRING, "State of the data.", bounds=Bounds(one_of=INGEST_STATES)),
        _text("reason", "Why the state is what it is, in one sentence.", is_nullable=True),
        _count("source_rows", "Rows the vendor's file held for the instrument."),
        _count("rows", "Rows in the lake."),
        _count(
            "quarantined_rows",
            "Rows kept out with a reason; rows + quarantined_rows = source_rows.",
        ),
        _count("duplicate_rows", "Quarantined rows that repeat a trade id."),
        Column("bytes", _I64, "Size of the object in the lake.", unit="bytes", bounds=Bounds(ge=0)),
        _text("content_sha256", "SHA-256 of the object in the lake.", is_nullable=True),
        Column(
            "source_bytes", _I64, "Size of the vendor's file.", unit="bytes", bounds=Bounds(ge=0)
        ),
        _text("source_sha256", "SHA-256 of the vendor's file.", is_nullable=True),
        _moment("first_timestamp", "Earliest exchange time."),
        _moment("last_timestamp", "Latest exchange time."),
        _moment("first_local_timestamp", "Earliest arrival."),
        _moment("last_local_timestamp", "Latest arrival."),
        _count("rows_before_day", "Rows whose exchange time lies before the file's day."),
        _count("rows_after_day", "Rows whose exchange time lies after the file's day."),
        _moment("last_local_before_day", "Latest arrival of a row stamped before the day."),
        _moment("first_local_after_day", "Earliest arrival of a row stamped after the day."),
        _count(
            "rows_without_exchange_time", "Rows whose two clocks are equal: the venue gave no time."
        ),
        Column("is_simulated", pl.Boolean(), "The file came from the sandbox, not from a market."),
        _text("kernel_version", "Version of the conversion that wrote the object."),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A row of `MANIFEST_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    tardis_symbol: str
    source_symbol: str
    state: DataState
    kernel_version: str
    is_simulated: bool
    reason: str | None = None
    source_rows: int = 0
    rows: int = 0
    quarantined_rows: int = 0
    duplicate_rows: int = 0
    bytes: int = 0
    content_sha256: str | None = None
    source_bytes: int = 0
    source_sha256: str | None = None
    first_timestamp: dt.datetime | None = None
    last_timestamp: dt.datetime | None = None
    first_local_timestamp: dt.datetime | None = None
    last_local_timestamp: dt.datetime | None = None
    rows_before_day: int = 0
    rows_after_day: int = 0
    last_local_before_day: dt.datetime | None = None
    first_local_after_day: dt.datetime | None = None
    rows_without_exchange_time: int = 0


def manifest_frame(rows: Iterable[ManifestRow]) -> pl.DataFrame:
    """The rows as a frame of `MANIFEST_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(row) for row in rows]
    frame = pl.DataFrame(
        {name: [record[name] for record in records] for name in MANIFEST_TABLE.names},
        schema=MANIFEST_TABLE.polars_schema,
    )
    return frame.sort("instrument_key")


def manifest_rows(frame: pl.DataFrame) -> list[ManifestRow]:
    """The frame's rows as values; the inverse of `manifest_frame`."""
    return [
        ManifestRow(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "data_type": DataType(record["data_type"]),
                "state": DataState(record["state"]),
            }
        )
        for record in frame.select(MANIFEST_TABLE.names).iter_rows(named=True)
    ]
