"""The audit of a raw partition: what one look at each stored file found, kept for the next run.

What belongs here: the row, its table and the two conversions. A row stands for exactly the bytes of
its `content_sha256` under the rules of its `audit_version`: while both are the same, no check reads
the file again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

_I64 = pl.Int64()
_STRING = pl.String()

TICK_AUDIT_TABLE = Table(
    name="tick_audits",
    grain="one present file of a raw partition",
    key=("date", "venue", "data_type", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's file."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("data_type", _STRING, "Tardis data type."),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column("content_sha256", _STRING, "SHA-256 of the object that was read."),
        Column("audit_version", _STRING, "Version of the rules and of how they are computed."),
        Column("rows", _I64, "Rows that were read.", unit="rows", bounds=Bounds(ge=0)),
        Column(
            "schema_failures",
            _STRING,
            "Broken rules of the table as JSON; null where every row obeys it.",
            is_nullable=True,
        ),
        Column(
            "longest_silence_us",
            _I64,
            "Longest time without a row inside the listing, by arrival; null without rows.",
            unit="µs",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
        Column(
            "silence_start",
            TIMESTAMP,
            "Where the longest silence begins, by arrival.",
            unit="UTC",
            is_nullable=True,
        ),
        Column(
            "active_seconds",
            _I64,
            "Seconds of the day in which a row arrived.",
            unit="s",
            bounds=Bounds(ge=0, le=86_400),
        ),
        Column(
            "activity",
            pl.Binary(),
            "A bit per second of the day, first second first: a row arrived; null without rows.",
            is_nullable=True,
        ),
        Column(
            "pauses",
            pl.Binary(),
            "First row, last row and pauses of a minute and more: arrival and exchange times as"
            " 64-bit microseconds, little endian; null without rows.",
            is_nullable=True,
        ),
        Column("first_trade_id", _I64, "Lowest number, where dense.", is_nullable=True),
        Column("last_trade_id", _I64, "Highest number, where dense.", is_nullable=True),
        Column(
            "lost_trades",
            _I64,
            "Trades inside the file that the numbers prove lost; null where not dense.",
            unit="trades",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TickAudit:
    """A row of `TICK_AUDIT_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    content_sha256: str
    audit_version: str
    rows: int
    active_seconds: int
    schema_failures: str | None = None
    longest_silence_us: int | None = None
    silence_start: dt.datetime | None = None
    activity: bytes | None = None
    pauses: bytes | None = None
    first_trade_id: int | None = None
    last_trade_id: int | None = None
    lost_trades: int | None = None


def tick_audit_frame(audits: Iterable[TickAudit]) -> pl.DataFrame:
    """The audits as a frame of `TICK_AUDIT_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(audit) for audit in audits]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in TICK_AUDIT_TABLE.names},
        schema=TICK_AUDIT_TABLE.polars_schema,
    ).sort("instrument_key")


def tick_audits(frame: pl.DataFrame) -> list[TickAudit]:
    """The frame's rows as values; the inverse of `tick_audit_frame`."""
    return [
        TickAudit(
            **record
            | {"venue": VenueId(record["venue"]), "data_type": DataType(record["data_type"])}
        )
        for record in frame.select(TICK_AUDIT_TABLE.names).iter_rows(named=True)
    ]
