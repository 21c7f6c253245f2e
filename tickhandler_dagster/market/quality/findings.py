"""What a look at stored data found wrong or worth knowing: one row per rule and instrument.

What belongs here: the value and its table, the same for ticks, universes, bars and comparisons with
other sources. What does not: the rules (`rules.py`) and how they are taken (`policy.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table
from tickhandler_dagster.market.venues import VenueId

SAMPLE_SIZE = 3

FINDINGS_TABLE = Table(
    name="findings",
    grain="one rule that an instrument's data of a day and source breaks",
    key=("date", "venue", "source", "instrument_key", "rule"),
    columns=(
        Column("date", pl.Date(), "The day."),
        Column("venue", pl.String(), "Tardis exchange id."),
        Column(
            "source",
            pl.String(),
            "What was looked at: a Tardis data type, instruments, candles, klines, prices or live.",
        ),
        Column("instrument_key", pl.String(), "Canonical key VENUE:TYPE:SYMBOL."),
        Column("rule", pl.String(), "Name of the rule.", bounds=Bounds(one_of=tuple(RuleName))),
        Column("rows", pl.Int64(), "Rows that break it.", unit="rows", bounds=Bounds(ge=0)),
        Column("of_rows", pl.Int64(), "Rows looked at.", unit="rows", bounds=Bounds(ge=0)),
        Column("first_at", TIMESTAMP, "Exchange time of the first.", unit="UTC", is_nullable=True),
        Column("last_at", TIMESTAMP, "Exchange time of the last.", unit="UTC", is_nullable=True),
        Column("sample", pl.String(), "A few of them in words, with their numbers."),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row of `FINDINGS_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    source: str
    instrument_key: str
    rule: RuleName
    rows: int
    of_rows: int
    sample: str
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None


def findings_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    """The findings as a frame of `FINDINGS_TABLE`, ordered by its key."""
    records = [dataclasses.asdict(finding) for finding in findings]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in FINDINGS_TABLE.names},
        schema=FINDINGS_TABLE.polars_schema,
    ).sort(FINDINGS_TABLE.key)


def findings_of(frame: pl.DataFrame) -> list[Finding]:
    """The frame's rows as values; the inverse of `findings_frame`."""
    return [
        Finding(**record | {"venue": VenueId(record["venue"]), "rule": RuleName(record["rule"])})
        for record in frame.select(FINDINGS_TABLE.names).iter_rows(named=True)
    ]
