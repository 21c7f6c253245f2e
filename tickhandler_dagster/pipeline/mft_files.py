"""Mid-frequency features and their manifests in the lake: writing what changed.

What belongs here: objects of the layer, knowing what is up to date, and their sums. What does not:
what the rows hold (`mft_rows.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import StoredObject
from tickhandler_dagster.market.bars.versions import BarChanges, with_versions
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.catalog import MFT_KERNEL_VERSION
from tickhandler_dagster.market.mft.warm_up import NullReason
from tickhandler_dagster.market.mft_manifest_table import (
    MFT_MANIFEST_TABLE,
    MftManifestRow,
    mft_manifest_frame,
    mft_manifest_rows,
)
from tickhandler_dagster.market.mft_table import table_of
from tickhandler_dagster.market.paths import MftFile, MftManifest
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.mft_inputs import MftInputs
from tickhandler_dagster.pipeline.mft_rows import MftRows

StoredMft = Mapping[str, MftManifestRow]
"""Manifest rows by instrument key."""


@dataclass(frozen=True, slots=True)
class PublishedMft:
    """What publishing one instrument's rows did.

    Attributes:
        row: Its manifest row.
        changes: Rows by what became of them.
        was_written: The file's bytes changed.
    """

    row: MftManifestRow
    changes: BarChanges
    was_written: bool


def read_mft_manifest(lake: Lake, cell: VenueDay, timeframe: Timeframe) -> StoredMft | None:
    """The manifest in the lake; None where the partition was never built.

    Raises:
        CorruptData: the manifest is not readable.
    """
    frame = lake.read_table(MftManifest(cell.date, timeframe, cell.venue))
    if frame is None:
        return None
    return {row.instrument_key: row for row in mft_manifest_rows(frame)}


def is_mft_up_to_date(inputs: MftInputs, stored: StoredMft | None, *, lake: Lake) -> bool:
    """The lake has what these very inputs give."""
    return (
        stored is not None
        and tuple(sorted(stored)) == inputs.keys
        and all(
            row.inputs_sha256 == inputs.digest
            and lake.size(MftFile(row.date, row.timeframe, key)) == row.bytes
            for key, row in stored.items()
        )
    )


def publish_mft(rows: MftRows, inputs: MftInputs, *, lake: Lake) -> PublishedMft:
    """Store the rows where they differ from the ones in the lake.

    Raises:
        CorruptData: the stored file is not readable.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    item = MftFile(inputs.cell.date, inputs.timeframe, rows.key)
    table = table_of(inputs.plan.features)
    old = lake.read_table(item)
    frame, changes = with_versions(rows.frame, old, table=table, version="row_version")
    was_written = old is None or not frame.equals(old)
    if was_written:
        stored = lake.write_table(
            item,
            frame,
            table,
            metadata={
                "kernel_version": MFT_KERNEL_VERSION,
                "is_simulated": str(inputs.is_simulated).lower(),
            },
            sorted_by=("ts_open",),
        )
    else:
        # from the file and not from the manifest, which a killed run can have left behind it
        stored = lake.digest(item)
    row = _manifest_row(rows, frame, inputs=inputs, stored=stored)
    return PublishedMft(row, changes, was_written=was_written)


def write_mft_manifest(
    lake: Lake, inputs: MftInputs, rows: Sequence[MftManifestRow], *, stored: StoredMft | None
) -> pl.DataFrame:
    """The manifest as a frame, stored where it differs from the one in the lake.

    Files of instruments that the partition no longer has are removed after it.
    """
    item = MftManifest(inputs.cell.date, inputs.timeframe, inputs.cell.venue)
    by_key = {row.instrument_key: row for row in rows}
    frame = mft_manifest_frame(rows)
    if by_key != stored:
        lake.write_table(item, frame, MFT_MANIFEST_TABLE, sorted_by=("instrument_key",))
    for key in sorted(set(stored or ()) - set(by_key)):
        lake.delete(MftFile(inputs.cell.date, inputs.timeframe, key))
    return frame


@dataclass(frozen=True, slots=True)
class MftSums:
    """Sums over the instruments of a partition of mid-frequency features.

    Attributes:
        rows: All rows.
        final_rows: Rows of final bars.
        bytes: Size of the files.
        data_version: Changes when and only when a file does.
        is_simulated: A source came from the sandbox.
        halo_partitions: Candle partitions of the halo.
        nulls: Features without a value on the day, by reason, summed over instruments.
        values: Features with a value on the day, summed over instruments.
    """

    rows: int
    final_rows: int
    bytes: int
    data_version: str
    is_simulated: bool
    halo_partitions: int
    nulls: Mapping[NullReason, int]
    values: int


def mft_sums(manifest: pl.DataFrame) -> MftSums:
    """The sums of a frame of `MFT_MANIFEST_TABLE`."""
    hashes = "".join(manifest["content_sha256"].to_list())
    return MftSums(
        rows=int(manifest["rows"].sum()),
        final_rows=int(manifest["final_rows"].sum()),
        bytes=int(manifest["bytes"].sum()),
        data_version=hashlib.sha256(hashes.encode()).hexdigest(),
        is_simulated=bool(manifest["is_simulated"].any()),
        halo_partitions=int(manifest["halo_partitions"].to_list()[0]) if manifest.height else 0,
        nulls={reason: int(manifest[f"null_{reason}"].sum()) for reason in NullReason},
        values=int(manifest["features_with_values"].sum()),
    )


def _manifest_row(
    rows: MftRows, frame: pl.DataFrame, *, inputs: MftInputs, stored: StoredObject
) -> MftManifestRow:
    names = [feature.name for feature in inputs.plan.features]
    # Two queries for all columns: one for each column would cost as much as computing them.
    counts = frame.select(pl.col(names).count()).row(0)
    places = frame.select(pl.col(names).is_not_null().arg_max()).row(0)
    opens = frame["ts_open"].to_list()
    firsts = [opens[place] for place, count in zip(places, counts, strict=True) if count]
    reasons = Counter(rows.reasons.values())
    return MftManifestRow(
        date=inputs.cell.date,
        venue=inputs.cell.venue,
        timeframe=inputs.timeframe,
        instrument_key=rows.key,
        rows=frame.height,
        final_rows=int(frame["is_final"].sum()),
        first_value_at=min(firsts, default=None),
        warm_at=max(firsts, default=None),
        features=len(names),
        features_with_values=len(firsts),
        **{f"null_{reason}": reasons[reason] for reason in NullReason},
        halo_partitions=len(inputs.halo_partitions),
        halo_present=inputs.partitions_of(rows.key),
        halo_missing=tuple(str(day) for day in inputs.missing),
        reference_key=inputs.reference,
        bytes=stored.bytes,
        content_sha256=stored.sha256,
        inputs_sha256=inputs.digest,
        is_simulated=inputs.is_simulated,
        kernel_version=MFT_KERNEL_VERSION,
    )
