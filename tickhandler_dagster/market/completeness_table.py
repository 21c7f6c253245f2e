"""Completeness: for every instrument, data type and day one state with one reason.

What belongs here: the row, its table and the two conversions. How the state follows from
catalogue, manifests and audits is `market/completeness.py`; no column holds a wall-clock time, so
that a second run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

_I64 = pl.Int64()
_STRING = pl.String()


def _count(name: str, description: str, unit: str = "rows") -> Column:
    return Column(name, _I64, description, unit=unit, bounds=Bounds(ge=0))


def _moment(name: str, description: str) -> Column:
    return Column(name, TIMESTAMP, description, unit="UTC", is_nullable=True)


COMPLETENESS_TABLE = Table(
    name="completeness",
    grain="one data type of one instrument of a venue and day",
    key=("date", "venue", "data_type", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "Day of the vendor's file."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("data_type", _STRING, "Tardis data type."),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column("instrument_type", _STRING, "Instrument type, the key's middle part."),
        Column("state", _STRING, "State of the data.", bounds=Bounds(one_of=tuple(DataState))),
        Column("reason", _STRING, "Why the state is what it is, in one sentence."),
        Column(
            "verdict",
            _STRING,
            "How the policy takes the state: error, warning or ignore.",
            bounds=Bounds(one_of=tuple(Verdict)),
        ),
        _count("rows", "Rows in the lake."),
        _count("quarantined_rows", "Rows kept out with a reason."),
        _count("bytes", "Size of the object in the lake.", "bytes"),
        _count("gaps", "Holes that are known.", ""),
        _count("gap_us", "Time inside the day that the holes cover, each moment once.", "µs"),
        Column(
            "lost_trades",
            _I64,
            "Trades that numbers prove lost; null where numbers prove nothing.",
            unit="trades",
            is_nullable=True,
            bounds=Bounds(ge=0),
        ),
        _moment("longest_gap_start", "Start of the longest hole."),
        _moment("longest_gap_end", "End of the longest hole."),
        _count("findings", "Broken rules that the policy does not ignore.", ""),
        _moment("first_timestamp", "Earliest exchange time."),
        _moment("last_timestamp", "Latest exchange time."),
        Column("is_simulated", pl.Boolean(), "The file came from the sandbox, not from a market."),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """A row of `COMPLETENESS_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    instrument_type: str
    state: DataState
    reason: str
    verdict: Verdict
    is_simulated: bool
    rows: int = 0
    quarantined_rows: int = 0
    bytes: int = 0
    gaps: int = 0
    gap_us: int = 0
    lost_trades: int | None = None
    longest_gap_start: dt.datetime | None = None
    longest_gap_end: dt.datetime | None = None
    findings: int = 0
    first_timestamp: dt.datetime | None = None
    last_timestamp: dt.datetime | None = None


def completeness_frame(rows: Iterable[Completeness]) -> pl.DataFrame:
    """The rows as a frame of `COMPLETENESS_TABLE`, ordered by its key."""
    records = [dataclasses.asdict(row) for row in rows]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in COMPLETENESS_TABLE.names},
        schema=COMPLETENESS_TABLE.polars_schema,
    ).sort(COMPLETENESS_TABLE.key)


def completeness_rows(frame: pl.DataFrame) -> list[Completeness]:
    """The frame's rows as values; the inverse of `completeness_frame`."""
    return [
        Completeness(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "data_type": DataType(record["data_type"]),
                "state": DataState(record["state"]),
                "verdict": Verdict(record["verdict"]),
            }
        )
        for record in frame.select(COMPLETENESS_TABLE.names).iter_rows(named=True)
    ]
