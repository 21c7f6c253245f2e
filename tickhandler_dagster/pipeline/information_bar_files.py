"""Information-driven bars and their manifests in the lake: writing what changed.

What belongs here: objects of the layer, knowing what is up to date, and their sums. What does not:
what the bars hold (`market/bars/information.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import StoredObject
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.information import INFORMATION_KERNEL_VERSION
from tickhandler_dagster.market.bars.versions import BarChanges, with_versions
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.information_bar_manifest_table import (
    INFORMATION_BAR_MANIFEST_TABLE,
    InformationBarManifestRow,
    information_bar_manifest_frame,
    information_bar_manifest_rows,
)
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.paths import InformationBarFile, InformationBarManifest
from tickhandler_dagster.pipeline.day_trades import rows_of_day
from tickhandler_dagster.pipeline.information_bar_inputs import InformationDay, reason_of

BarRows = dict[BarKind, dict[str, InformationBarManifestRow]]
"""Manifest rows by kind and instrument key."""


@dataclass(frozen=True, slots=True)
class PublishedInformationBars:
    """What publishing one instrument's bars of a kind did.

    Attributes:
        row: Its manifest row.
        changes: Bars by what became of them.
        was_written: The lake changed.
    """

    row: InformationBarManifestRow
    changes: BarChanges
    was_written: bool


def read_bar_manifests(lake: Lake, cell: VenueDay, kinds: Sequence[BarKind]) -> BarRows:
    """The manifests in the lake; empty where a partition was never built.

    Raises:
        CorruptData: a manifest is not readable.
    """
    found: BarRows = {}
    for kind in kinds:
        frame = lake.read_table(InformationBarManifest(cell.date, kind, cell.venue))
        rows = [] if frame is None else information_bar_manifest_rows(frame)
        found[kind] = {row.instrument_key: row for row in rows}
    return found


def are_bars_up_to_date(
    inputs: InformationDay, *, lake: Lake, cell: VenueDay, stored: BarRows
) -> bool:
    """Every kind has in the lake what these very inputs give."""
    key = inputs.key
    return all(
        key in rows
        and rows[key].inputs_sha256 == inputs.digest(kind)
        and (lake.size(InformationBarFile(cell.date, kind, key)) or 0) == rows[key].bytes
        for kind, rows in stored.items()
    )


def publish_information_bars(
    bars: pl.DataFrame, kind: BarKind, *, lake: Lake, cell: VenueDay, inputs: InformationDay
) -> PublishedInformationBars:
    """Store the bars of a kind where they differ from the ones in the lake; no bars, no file.

    Raises:
        CorruptData: the stored file is not readable.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    item = InformationBarFile(cell.date, kind, inputs.key)
    old = lake.read_table(item)
    versioned, changes = with_versions(bars, old, table=INFORMATION_BAR_TABLE, place="bar_number")
    was_written = not versioned.equals(versioned.clear() if old is None else old)
    stored = StoredObject(bytes=0, sha256="")
    if versioned.height and was_written:
        stored = lake.write_table(
            item,
            versioned,
            INFORMATION_BAR_TABLE,
            metadata={
                "kernel_version": INFORMATION_KERNEL_VERSION,
                "is_simulated": str(inputs.is_simulated).lower(),
            },
            sorted_by=("bar_number",),
        )
    elif versioned.height:
        # from the file and not from the manifest, which a killed run can have left behind it
        stored = lake.digest(item)
    elif was_written:
        lake.delete(item)
    row = _manifest_row(versioned, kind, cell=cell, inputs=inputs, stored=stored)
    return PublishedInformationBars(row, changes, was_written=was_written)


def write_bar_manifests(
    lake: Lake, cell: VenueDay, rows: BarRows, *, stored: BarRows
) -> dict[BarKind, pl.DataFrame]:
    """The manifests as frames, stored where they differ from the ones in the lake."""
    frames = {}
    for kind, by_key in rows.items():
        item = InformationBarManifest(cell.date, kind, cell.venue)
        frames[kind] = information_bar_manifest_frame(by_key.values())
        if by_key != stored[kind] or not lake.exists(item):
            lake.write_table(
                item,
                frames[kind],
                INFORMATION_BAR_MANIFEST_TABLE,
                sorted_by=("instrument_key",),
            )
    return frames


@dataclass(frozen=True, slots=True)
class InformationBarSums:
    """Sums over the instruments of a partition of information-driven bars.

    Attributes:
        bars: All bars.
        final_bars: Bars that no file still to come can change.
        by_threshold: Instruments by the state of their threshold.
        trades: Trades in the bars.
        rows_due: Raw rows of the day of instruments that have a threshold.
        bytes: Size of the files.
        data_version: Changes when and only when a file does.
        is_simulated: A source came from the sandbox.
    """

    bars: int
    final_bars: int
    by_threshold: Mapping[str, int]
    trades: int
    rows_due: int
    bytes: int
    data_version: str
    is_simulated: bool


def information_bar_sums(manifest: pl.DataFrame) -> InformationBarSums:
    """The sums of a frame of `INFORMATION_BAR_MANIFEST_TABLE`."""
    hashes = "".join(manifest["content_sha256"].drop_nulls().to_list())
    states = manifest["threshold_state"].value_counts(sort=True).iter_rows()
    due = manifest.filter(pl.col("threshold").is_not_null())
    return InformationBarSums(
        bars=int(manifest["bars"].sum()),
        final_bars=int(manifest["final_bars"].sum()),
        by_threshold=dict(sorted(states)),
        trades=int(manifest["trades"].sum()),
        rows_due=int(due["day_rows"].sum()),
        bytes=int(manifest["bytes"].sum()),
        data_version=hashlib.sha256(hashes.encode()).hexdigest(),
        is_simulated=bool(manifest["is_simulated"].any()),
    )


def _manifest_row(
    bars: pl.DataFrame,
    kind: BarKind,
    *,
    cell: VenueDay,
    inputs: InformationDay,
    stored: StoredObject,
) -> InformationBarManifestRow:
    threshold = inputs.thresholds[kind]
    return InformationBarManifestRow(
        date=cell.date,
        venue=cell.venue,
        kind=kind,
        instrument_key=inputs.key,
        trades_state=inputs.raw.state,
        threshold_state=threshold.state,
        reason=reason_of(threshold, cell),
        threshold=threshold.value,
        bars=bars.height,
        complete_bars=int(bars["is_complete"].sum()),
        final_bars=int(bars["is_final"].sum()),
        trades=int(bars["trade_count"].sum()),
        day_rows=rows_of_day(inputs.raw),
        bytes=stored.bytes,
        content_sha256=stored.sha256 or None,
        source_sha256=(*inputs.day.sources, *inputs.day.sources_after),
        inputs_sha256=inputs.digest(kind),
        is_simulated=inputs.is_simulated,
        kernel_version=INFORMATION_KERNEL_VERSION,
    )
