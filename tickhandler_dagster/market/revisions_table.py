"""The stored results of a recheck: one row per vendor file of a day and venue.

What belongs here: the table and the two conversions. What does not: how a state comes about
(`revisions.py`). No column holds the time of the look, so that a second one writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.revisions import Revision, RevisionState, TakenFile, VendorFile
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()


def _size(name: str, description: str, *, is_nullable: bool = True) -> Column:
    return Column(
        name,
        pl.Int64(),
        description,
        unit="bytes",
        is_nullable=is_nullable,
        bounds=Bounds(ge=0),
    )


def _text(name: str, description: str) -> Column:
    return Column(name, _STRING, description, is_nullable=True)


def _moment(name: str, description: str) -> Column:
    return Column(name, TIMESTAMP, description, unit="UTC", is_nullable=True)


def _rows(name: str, description: str) -> Column:
    return Column(name, pl.Int64(), description, unit="rows", bounds=Bounds(ge=0))


REVISIONS_TABLE = Table(
    name="revisions",
    grain="one vendor file of a day and venue that was taken or asked for",
    key=("date", "venue", "data_type", "source_symbol"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's file, cut by arrival time."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("data_type", _STRING, "Tardis data type."),
        Column("source_symbol", _STRING, "Symbol of the file: an instrument's, or a group."),
        Column(
            "instrument_keys", pl.List(pl.String()), "Canonical keys whose rows the file can hold."
        ),
        Column(
            "state",
            _STRING,
            "How the vendor's file of today stands to the one that was taken.",
            bounds=Bounds(one_of=tuple(RevisionState)),
        ),
        _text("reason", "What differs or went wrong."),
        _size("taken_bytes", "Size of the file that was taken; 0 where none.", is_nullable=False),
        _text("taken_sha256", "SHA-256 of the file that was taken."),
        _size("vendor_bytes", "Size by the vendor's last answer."),
        _text("vendor_sha256", "SHA-256 of the vendor's file, where its content was read."),
        _text("vendor_md5", "x-md5 of the vendor's last answer, in its plain form."),
        _text("vendor_etag", "ETag of the vendor's last answer."),
        _moment("vendor_last_modified", "Last-Modified of the vendor's last answer."),
        _size("known_bytes", "Content-Length when the file was last known to be the one taken."),
        _text("known_md5", "x-md5 of that time, in its plain form."),
        _text("known_etag", "ETag of that time."),
        _moment("known_last_modified", "Last-Modified of that time."),
        _rows("rows_before_day", "Rows taken that bars of the day before hold."),
        _rows("rows_after_day", "Rows taken that bars of the day after hold."),
        Column("is_simulated", pl.Boolean(), "The file came from the sandbox, not from a market."),
    ),
)


def revisions_frame(revisions: Iterable[Revision]) -> pl.DataFrame:
    """The results as a frame of `REVISIONS_TABLE`, ordered by its key."""
    records = [_record(revision) for revision in revisions]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in REVISIONS_TABLE.names},
        schema=REVISIONS_TABLE.polars_schema,
    ).sort(REVISIONS_TABLE.key)


def revisions_of(frame: pl.DataFrame) -> list[Revision]:
    """The frame's rows as values; the inverse of `revisions_frame`."""
    return [_revision(row) for row in frame.select(REVISIONS_TABLE.names).iter_rows(named=True)]


def _record(revision: Revision) -> dict[str, object]:
    taken, vendor, known = revision.taken, revision.vendor, revision.known
    return {
        "date": taken.date,
        "venue": taken.venue,
        "data_type": taken.data_type,
        "source_symbol": taken.source_symbol,
        "instrument_keys": list(taken.instrument_keys),
        "state": revision.state,
        "reason": revision.reason,
        "taken_bytes": taken.bytes,
        "taken_sha256": taken.sha256,
        "vendor_bytes": vendor.bytes,
        "vendor_sha256": vendor.sha256,
        "vendor_md5": vendor.md5,
        "vendor_etag": vendor.etag,
        "vendor_last_modified": vendor.last_modified,
        "known_bytes": known.bytes,
        "known_md5": known.md5,
        "known_etag": known.etag,
        "known_last_modified": known.last_modified,
        "rows_before_day": taken.rows_before_day,
        "rows_after_day": taken.rows_after_day,
        "is_simulated": taken.is_simulated,
    }


def _revision(row: dict[str, Any]) -> Revision:
    return Revision(
        taken=TakenFile(
            date=row["date"],
            venue=VenueId(row["venue"]),
            data_type=DataType(row["data_type"]),
            source_symbol=row["source_symbol"],
            instrument_keys=tuple(row["instrument_keys"]),
            is_simulated=row["is_simulated"],
            bytes=row["taken_bytes"],
            sha256=row["taken_sha256"],
            rows_before_day=row["rows_before_day"],
            rows_after_day=row["rows_after_day"],
        ),
        state=RevisionState(row["state"]),
        reason=row["reason"],
        vendor=_headers(row, "vendor", row["vendor_sha256"]),
        known=_headers(row, "known", None),
    )


def _headers(row: dict[str, Any], side: str, sha256: str | None) -> VendorFile:
    return VendorFile(
        bytes=row[f"{side}_bytes"],
        md5=row[f"{side}_md5"],
        etag=row[f"{side}_etag"],
        last_modified=row[f"{side}_last_modified"],
        sha256=sha256,
    )
