"""The manifest of a candle partition: per instrument its bars, their sources and the sums.

What belongs here: the row and its table. What does not: how the numbers come to be
(`pipeline/candles.py`). No column holds a wall-clock time or anything of the run, so that a second
run writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.states import INGEST_STATES, DataState
from tickhandler_dagster.market.tables import Bounds, Column, RowRule, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

_STRING = pl.String()


def _count(name: str, description: str, unit: str) -> Column:
    return Column(name, pl.Int64(), description, unit=unit, bounds=Bounds(ge=0))


def _bars(name: str, description: str) -> Column:
    return _count(name, description, "bars")


def _rows(name: str, description: str) -> Column:
    return _count(name, description, "rows")


def _text(name: str, description: str) -> Column:
    return Column(name, _STRING, description, is_nullable=True)


CANDLE_MANIFEST_TABLE = Table(
    name="candles_manifest",
    grain="one instrument with bars in a candle partition",
    key=("date", "venue", "timeframe", "instrument_key"),
    columns=(
        Column("date", pl.Date(), "UTC day of the bars."),
        Column("venue", _STRING, "Tardis exchange id."),
        Column("timeframe", _STRING, "Length of the bars.", bounds=Bounds(one_of=tuple(Timeframe))),
        Column("instrument_key", _STRING, "Canonical key VENUE:TYPE:SYMBOL."),
        Column(
            "trades_state",
            _STRING,
            "State of the day's raw trades.",
            bounds=Bounds(one_of=INGEST_STATES),
        ),
        _bars("bars", "Bars in the file."),
        _bars("traded", "Bars with a trade."),
        _bars("no_trade", "Observed bars without a trade."),
        _bars("vendor_gap", "Bars without a trade that overlap a gap in the vendor's data."),
        _bars("not_ingested", "Bars whose trades are not in the lake."),
        _bars("final_bars", "Bars that no file still to come can change."),
        _count("trades", "Trades in the bars: the sum of trade_count.", "trades"),
        _rows("rows_used", "Raw rows read for the day, from all three files."),
        _rows("own_file_rows", "Rows of the day's own raw file."),
        _rows("own_rows_used", "Of these, rows stamped on the day."),
        _rows(
            "own_rows_other_days",
            "Of these, rows stamped on a neighbouring day, whose bars they are in.",
        ),
        _rows("previous_rows_used", "Rows stamped on the day in the file of the day before."),
        _rows("next_rows_used", "Rows stamped on the day in the file of the day after."),
        Column(
            "bytes",
            pl.Int64(),
            "Size of the object in the lake.",
            unit="bytes",
            bounds=Bounds(ge=0),
        ),
        Column("content_sha256", _STRING, "SHA-256 of the object in the lake."),
        Column("source_sha256", pl.List(_STRING), "Hashes of the vendor's files read."),
        Column(
            "inputs_sha256",
            _STRING,
            "Digest of all that the bars depend on; equal inputs, equal bars.",
        ),
        _text("book_source", "Data type of the book levels; null where none is in the lake."),
        _text("quote_source", "Data type of the best quotes; null where none is in the lake."),
        _text("ticker_state", "State of the derivative ticker; null where it is not in the lake."),
        _text("liquidations_state", "State of the liquidations; null where not in the lake."),
        _rows("book_rows", "Rows of book snapshots used."),
        _rows("quote_rows", "Rows of a feed of best quotes used."),
        _rows("ticker_rows", "Rows of the derivative ticker used."),
        _rows("liquidation_rows", "Rows of liquidations used."),
        _text(
            "carried_sha256",
            "Hash of the state at the end of the day before; null where its bars were not there.",
        ),
        _text(
            "surface_sha256", "Hash of the option surface on the bars; null where there is none."
        ),
        Column("is_simulated", pl.Boolean(), "A source came from the sandbox, not from a market."),
        Column("kernel_version", _STRING, "Version of the computation."),
    ),
    rules=(
        RowRule(
            "every row read for the day is in exactly one bar",
            pl.col("rows_used") == pl.col("trades"),
        ),
        RowRule(
            "rows used come from the day's file or its neighbours",
            pl.sum_horizontal("own_rows_used", "previous_rows_used", "next_rows_used")
            == pl.col("rows_used"),
        ),
        RowRule(
            "every row of the day's file is used or belongs to another day",
            pl.sum_horizontal("own_rows_used", "own_rows_other_days") == pl.col("own_file_rows"),
        ),
        RowRule(
            "every bar has one status",
            pl.sum_horizontal("traded", "no_trade", "vendor_gap", "not_ingested") == pl.col("bars"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleManifestRow:
    """A row of `CANDLE_MANIFEST_TABLE`; see there for the meaning of each field."""

    date: dt.date
    venue: VenueId
    timeframe: Timeframe
    instrument_key: str
    trades_state: DataState
    bars: int
    traded: int
    no_trade: int
    vendor_gap: int
    not_ingested: int
    final_bars: int
    trades: int
    rows_used: int
    own_file_rows: int
    own_rows_used: int
    own_rows_other_days: int
    previous_rows_used: int
    next_rows_used: int
    bytes: int
    content_sha256: str
    source_sha256: tuple[str, ...]
    inputs_sha256: str
    book_source: str | None
    quote_source: str | None
    ticker_state: str | None
    liquidations_state: str | None
    book_rows: int
    quote_rows: int
    ticker_rows: int
    liquidation_rows: int
    carried_sha256: str | None
    surface_sha256: str | None
    is_simulated: bool
    kernel_version: str


def candle_manifest_frame(rows: Iterable[CandleManifestRow]) -> pl.DataFrame:
    """The rows as a frame of `CANDLE_MANIFEST_TABLE`, ordered by instrument key."""
    records = [dataclasses.asdict(row) for row in rows]
    return pl.DataFrame(
        {name: [record[name] for record in records] for name in CANDLE_MANIFEST_TABLE.names},
        schema=CANDLE_MANIFEST_TABLE.polars_schema,
    ).sort("instrument_key")


def candle_manifest_rows(frame: pl.DataFrame) -> list[CandleManifestRow]:
    """The frame's rows as values; the inverse of `candle_manifest_frame`.

    A manifest of another form was written by another version of the project: it vouches for none of
    its bars, and they are built anew.
    """
    if frame.schema != CANDLE_MANIFEST_TABLE.polars_schema:
        return []
    return [
        CandleManifestRow(
            **record
            | {
                "venue": VenueId(record["venue"]),
                "timeframe": Timeframe(record["timeframe"]),
                "trades_state": DataState(record["trades_state"]),
                "source_sha256": tuple(record["source_sha256"]),
            }
        )
        for record in frame.select(CANDLE_MANIFEST_TABLE.names).iter_rows(named=True)
    ]
