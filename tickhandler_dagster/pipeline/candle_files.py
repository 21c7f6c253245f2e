"""Bars and manifests in the lake: writing what changed, knowing what is up to date.

What belongs here: objects of the candle layer. What does not: what the bars hold (`market/bars`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import StoredObject
from tickhandler_dagster.market.bars.facts import KERNEL_VERSION
from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.bars.versions import BarChanges, with_versions
from tickhandler_dagster.market.candle_manifest_table import (
    CANDLE_MANIFEST_TABLE,
    CandleManifestRow,
    candle_manifest_frame,
    candle_manifest_rows,
)
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.paths import CandleFile, CandleManifest
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.candle_build import BuiltDay
from tickhandler_dagster.pipeline.candle_context import InstrumentContext
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay

StoredRows = dict[Timeframe, dict[str, CandleManifestRow]]
"""Manifest rows by timeframe and instrument key."""


@dataclass(frozen=True, slots=True)
class PublishedBars:
    """What publishing one file did.

    Attributes:
        row: Its manifest row.
        changes: Bars by what became of them.
        was_written: The file's bytes changed.
    """

    row: CandleManifestRow
    changes: BarChanges
    was_written: bool


def read_candle_manifests(
    lake: Lake, cell: VenueDay, timeframes: Sequence[Timeframe]
) -> StoredRows:
    """The manifests in the lake; empty where a partition was never built.

    Raises:
        CorruptData: a manifest is not readable.
    """
    found: StoredRows = {}
    for timeframe in timeframes:
        frame = lake.read_table(CandleManifest(cell.date, timeframe, cell.venue))
        rows = [] if frame is None else candle_manifest_rows(frame)
        found[timeframe] = {row.instrument_key: row for row in rows}
    return found


@dataclass(frozen=True, slots=True)
class BarOrigin:
    """What an instrument's bars were built from.

    Attributes:
        inputs: Its own files.
        context: What else they stand on.
        digest: Hash of all of it.
    """

    inputs: InstrumentDay
    context: InstrumentContext
    digest: str


def is_up_to_date(key: str, digest: str, *, lake: Lake, cell: VenueDay, stored: StoredRows) -> bool:
    """Every timeframe has bars of the instrument in the lake that were built from these inputs."""
    if not all(key in rows and rows[key].inputs_sha256 == digest for rows in stored.values()):
        return False
    sizes = lake.sizes([CandleFile(cell.date, timeframe, key) for timeframe in stored])
    return sizes == [rows[key].bytes for rows in stored.values()]


def publish_bars(
    built: BuiltDay,
    timeframe: Timeframe,
    *,
    lake: Lake,
    cell: VenueDay,
    origin: BarOrigin,
    stored: CandleManifestRow | None,
) -> PublishedBars:
    """Store the bars of a timeframe where they differ from the ones in the lake.

    Raises:
        CorruptData: the stored file is not readable.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    item = CandleFile(cell.date, timeframe, origin.inputs.facts.instrument_key)
    old = lake.read_table(item)
    bars, changes = with_versions(built.frames[timeframe], old)
    if stored is not None and old is not None and bars.equals(old):
        # Not what the manifest says: a run that was killed may have written the file after it.
        kept, was_written = lake.digest(item), False
    else:
        kept = lake.write_table(
            item,
            bars,
            CANDLE_TABLE,
            metadata={
                "kernel_version": KERNEL_VERSION,
                "is_simulated": str(origin.inputs.is_simulated).lower(),
            },
            sorted_by=("ts_open",),
        )
        was_written = True
    row = _manifest_row(built, timeframe, bars, cell=cell, origin=origin, kept=kept)
    return PublishedBars(row, changes, was_written=was_written)


def write_candle_manifests(
    lake: Lake, cell: VenueDay, rows: StoredRows, *, stored: StoredRows
) -> dict[Timeframe, pl.DataFrame]:
    """The manifests as frames, stored where they differ from the ones in the lake."""
    frames = {}
    for timeframe, by_key in rows.items():
        item = CandleManifest(cell.date, timeframe, cell.venue)
        frames[timeframe] = candle_manifest_frame(by_key.values())
        if by_key != stored[timeframe] or not lake.exists(item):
            lake.write_table(
                item, frames[timeframe], CANDLE_MANIFEST_TABLE, sorted_by=("instrument_key",)
            )
    return frames


def _manifest_row(
    built: BuiltDay,
    timeframe: Timeframe,
    bars: pl.DataFrame,
    *,
    cell: VenueDay,
    origin: BarOrigin,
    kept: StoredObject,
) -> CandleManifestRow:
    inputs, context = origin.inputs, origin.context
    counts: Mapping[str, int] = dict(bars["status"].value_counts().iter_rows())
    own = inputs.own
    sources = inputs.facts.sources
    return CandleManifestRow(
        date=cell.date,
        venue=cell.venue,
        timeframe=timeframe,
        instrument_key=inputs.facts.instrument_key,
        trades_state=inputs.state,
        bars=bars.height,
        **{status.value: counts.get(status.value, 0) for status in BarStatus},
        final_bars=int(bars["is_final"].sum()),
        trades=int(bars["trade_count"].sum()),
        rows_used=built.rows,
        own_file_rows=0 if own is None else own.rows,
        own_rows_used=built.own_rows,
        own_rows_other_days=0 if own is None else own.rows_before_day + own.rows_after_day,
        previous_rows_used=built.previous_rows,
        next_rows_used=built.next_rows,
        bytes=kept.bytes,
        content_sha256=kept.sha256,
        source_sha256=sources.all,
        inputs_sha256=origin.digest,
        book_source=inputs.facts.book_source,
        quote_source=inputs.facts.quote_source,
        ticker_state=_state_of(inputs, Channel.TICKER),
        liquidations_state=_state_of(inputs, Channel.LIQUIDATIONS),
        book_rows=built.channel_rows.get(Channel.LEVELS, 0),
        quote_rows=built.channel_rows.get(Channel.TOP, 0),
        ticker_rows=built.channel_rows.get(Channel.TICKER, 0),
        liquidation_rows=built.channel_rows.get(Channel.LIQUIDATIONS, 0),
        carried_sha256=None if context.state is None else context.state.sha256,
        surface_sha256=context.surface_sha256,
        is_simulated=inputs.is_simulated,
        kernel_version=KERNEL_VERSION,
    )


def _state_of(inputs: InstrumentDay, channel: Channel) -> str | None:
    return inputs.channels[channel].state.value if channel in inputs.channels else None
