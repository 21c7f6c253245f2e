"""Holes in what was recorded: where, how long, and what tells of them.

What belongs here: the value, its table and the kinds. What does not: finding them
(`tick_gaps.py`) and what a bar makes of them (`market/bars`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId


class GapKind(StrEnum):
    """What tells of a hole."""

    INCIDENT = "incident"
    LOST_IDS = "lost_ids"
    VENUE_SILENCE = "venue_silence"
    SILENCE = "silence"
    RESNAPSHOT = "resnapshot"


GAP_KIND_MEANINGS: dict[GapKind, str] = {
    GapKind.INCIDENT: "the vendor reports that its recorder was down",
    GapKind.LOST_IDS: "trade numbers that count up by one skip some",
    GapKind.VENUE_SILENCE: "no instrument of the venue sent anything, which it does not do",
    GapKind.SILENCE: "the instrument sent nothing for longer than its own rate explains",
    GapKind.RESNAPSHOT: "the book was sent whole again, as after a broken connection",
}

GAPS_TABLE = Table(
    name="gaps",
    grain="one hole in the ticks of an instrument and data type",
    key=("date", "venue", "data_type", "instrument_key", "gap_start", "kind"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's file."),
        Column("venue", pl.String(), "Tardis exchange id."),
        Column("data_type", pl.String(), "Tardis data type."),
        Column("instrument_key", pl.String(), "Canonical key VENUE:TYPE:SYMBOL."),
        Column("kind", pl.String(), "What tells of it.", bounds=Bounds(one_of=tuple(GapKind))),
        Column("gap_start", TIMESTAMP, "First moment without data, exchange time.", unit="UTC"),
        Column("gap_end", TIMESTAMP, "First moment with data again, exchange time.", unit="UTC"),
        Column(
            "lost_trades",
            pl.Int64(),
            "Trades that the numbers prove lost; null where numbers prove nothing.",
            unit="trades",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
        Column("evidence", pl.String(), "The proof in one sentence, with its numbers."),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A row of `GAPS_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    kind: GapKind
    gap_start: dt.datetime
    gap_end: dt.datetime
    evidence: str
    lost_trades: int | None = None


def gaps_frame(gaps: Iterable[Gap]) -> pl.DataFrame:
    """The gaps as a frame of `GAPS_TABLE`, ordered by its key."""
    records = [dataclasses.asdict(gap) for gap in gaps]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in GAPS_TABLE.names},
        schema=GAPS_TABLE.polars_schema,
    ).sort(GAPS_TABLE.key)


def gaps_of(frame: pl.DataFrame) -> list[Gap]:
    """The frame's rows as values; the inverse of `gaps_frame`."""
    return [
        Gap(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "data_type": DataType(record["data_type"]),
                "kind": GapKind(record["kind"]),
            }
        )
        for record in frame.select(GAPS_TABLE.names).iter_rows(named=True)
    ]
