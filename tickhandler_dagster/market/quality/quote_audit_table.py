"""The trades of a day held against its quotes, kept for the next run.

What belongs here: the row, its table and the two conversions. A row stands for exactly the bytes of
two files under the rules of its version: while all three are the same, neither file is read again.
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

_STRING = pl.String()


def _count(name: str, description: str) -> Column:
    return Column(name, pl.Int64(), description, unit="trades", bounds=Bounds(ge=0))


QUOTE_AUDIT_TABLE = Table(
    name="quote_audits",
    grain="one trades file that was held against the best quotes of its instrument and day",
    key=("date", "venue", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's files."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column("quotes_type", _STRING, "Tardis data type of the quotes."),
        Column("trades_sha256", _STRING, "SHA-256 of the trades that were read."),
        Column("quotes_sha256", _STRING, "SHA-256 of the quotes that were read."),
        Column("audit_version", _STRING, "Version of the rule and of how it is computed."),
        _count("trades", "Trades that were read."),
        _count("judged_trades", "Those with both quotes, uncrossed and fresh, just before them."),
        _count("outside_trades", "Judged trades beyond the quotes by more than their spread."),
        Column("first_at", TIMESTAMP, "Exchange time of the first.", unit="UTC", is_nullable=True),
        Column("last_at", TIMESTAMP, "Exchange time of the last.", unit="UTC", is_nullable=True),
        Column("sample", _STRING, "A few of them in words; null for none.", is_nullable=True),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteAudit:
    """A row of `QUOTE_AUDIT_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    instrument_key: str
    quotes_type: DataType
    trades_sha256: str
    quotes_sha256: str
    audit_version: str
    trades: int
    judged_trades: int
    outside_trades: int
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None
    sample: str | None = None


def quote_audit_frame(audits: Iterable[QuoteAudit]) -> pl.DataFrame:
    """The audits as a frame of `QUOTE_AUDIT_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(audit) for audit in audits]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in QUOTE_AUDIT_TABLE.names},
        schema=QUOTE_AUDIT_TABLE.polars_schema,
    ).sort("instrument_key")


def quote_audits(frame: pl.DataFrame) -> list[QuoteAudit]:
    """The frame's rows as values; the inverse of `quote_audit_frame`."""
    return [
        QuoteAudit(
            **record
            | {"venue": VenueId(record["venue"]), "quotes_type": DataType(record["quotes_type"])}
        )
        for record in frame.select(QUOTE_AUDIT_TABLE.names).iter_rows(named=True)
    ]
