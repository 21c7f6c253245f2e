"""The manifest of a partition of information-driven bars: per instrument its threshold and bars.

What belongs here: the row and its table. What does not: how the numbers come to be
(`pipeline/information_bars.py`). No column holds a wall-clock time or anything of the run, so that
a second run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.thresholds import ThresholdState
from tickhandler_dagster.market.states import INGEST_STATES, DataState
from tickhandler_dagster.market.tables import Bounds, Column, RowRule, Table
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()


def _count(name: str, description: str, unit: str) -> Column:
    return Column(name, pl.Int64(), description, unit=unit, bounds=Bounds(ge=0))


_IS_FIXED = pl.col("threshold_state") == ThresholdState.FIXED
_HAS_BARS = pl.col("bars") > 0

INFORMATION_BAR_MANIFEST_TABLE = Table(
    name="information_bars_manifest",
    grain="one instrument of a partition of information-driven bars",
    key=("date", "venue", "kind", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("kind", _STRING, "What fills the bars.", bounds=Bounds(one_of=tuple(BarKind))),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column(
            "trades_state",
            _STRING,
            "State of the day's raw trades.",
            bounds=Bounds(one_of=INGEST_STATES),
        ),
        Column(
            "threshold_state",
            _STRING,
            "Whether the day has a threshold, and why not.",
            bounds=Bounds(one_of=tuple(ThresholdState)),
        ),
        Column(
            "reason",
            _STRING,
            "Why there is no threshold, and so no bars; null where there is one.",
            is_nullable=True,
        ),
        Column(
            "threshold",
            pl.Float64(),
            "What fills a bar; null where there is none.",
            unit="trades, base asset or quote asset, by kind",
            is_nullable=True,
            bounds=Bounds(gt=0),
        ),
        _count("bars", "Bars in the file; without bars there is no file.", "bars"),
        _count("complete_bars", "Bars whose sum reached the threshold.", "bars"),
        _count("final_bars", "Bars that no file still to come can change.", "bars"),
        _count("trades", "Trades in the bars: the sum of trade_count.", "trades"),
        _count("day_rows", "Raw rows of the day in all three files, by their manifests.", "rows"),
        _count("bytes", "Size of the object in the lake; 0 where there is none.", "bytes"),
        Column(
            "content_sha256",
            _STRING,
            "SHA-256 of the object in the lake; null where there is none.",
            is_nullable=True,
        ),
        Column("source_sha256", pl.List(_STRING), "Hashes of the vendor's files of the day."),
        Column(
            "inputs_sha256",
            _STRING,
            "Digest of all that the bars depend on; equal inputs, equal bars.",
        ),
        Column("is_simulated", pl.Boolean(), "A source came from the sandbox, not from a market."),
        Column("kernel_version", _STRING, "Version of the computation."),
    ),
    rules=(
        RowRule(
            "every row of the day is in exactly one bar where there is a threshold",
            pl.when(_IS_FIXED).then(pl.col("trades") == pl.col("day_rows")).otherwise(~_HAS_BARS),
        ),
        RowRule(
            "a threshold or the reason why there is none",
            (pl.col("threshold").is_not_null() == _IS_FIXED)
            & (pl.col("reason").is_null() == _IS_FIXED),
        ),
        RowRule(
            "only the last bar can be incomplete",
            (pl.col("bars") - pl.col("complete_bars")).is_between(0, 1),
        ),
        RowRule(
            "there is a file exactly where there are bars",
            ((pl.col("bytes") > 0) == _HAS_BARS)
            & (pl.col("content_sha256").is_not_null() == _HAS_BARS),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationBarManifestRow:
    """A row of `INFORMATION_BAR_MANIFEST_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    kind: BarKind
    instrument_key: str
    trades_state: DataState
    threshold_state: ThresholdState
    reason: str | None
    threshold: float | None
    bars: int
    complete_bars: int
    final_bars: int
    trades: int
    day_rows: int
    bytes: int
    content_sha256: str | None
    source_sha256: tuple[str, ...]
    inputs_sha256: str
    is_simulated: bool
    kernel_version: str


def information_bar_manifest_frame(rows: Iterable[InformationBarManifestRow]) -> pl.DataFrame:
    """The rows as a frame of `INFORMATION_BAR_MANIFEST_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(row) for row in rows]
    names = INFORMATION_BAR_MANIFEST_TABLE.names
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in names},
        schema=INFORMATION_BAR_MANIFEST_TABLE.polars_schema,
    ).sort("instrument_key")


def information_bar_manifest_rows(frame: pl.DataFrame) -> list[InformationBarManifestRow]:
    """The frame's rows as values; the inverse of `information_bar_manifest_frame`."""
    return [
        InformationBarManifestRow(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "kind": BarKind(record["kind"]),
                "trades_state": DataState(record["trades_state"]),
                "threshold_state": ThresholdState(record["threshold_state"]),
                "source_sha256": tuple(record["source_sha256"]),
            }
        )
        for record in frame.select(INFORMATION_BAR_MANIFEST_TABLE.names).iter_rows(named=True)
    ]
