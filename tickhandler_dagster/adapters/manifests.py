"""Raw manifests in the lake: the frame of `market/manifest_table.py` under the path of its cell.

What does not belong here: what the rows say (`pipeline/raw_ticks.py` decides it).
"""

from __future__ import annotations

from collections.abc import Iterable

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import StoredObject
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.manifest_table import (
    MANIFEST_TABLE,
    ManifestRow,
    manifest_frame,
    manifest_rows,
)
from tickhandler_dagster.market.paths import RawManifest


def read_raw_manifest(lake: Lake, cell: VenueDay, data_type: DataType) -> list[ManifestRow] | None:
    """The manifest's rows, ordered by instrument key; None where the partition was never ingested.

    Raises:
        CorruptData: the manifest is not readable.
    """
    frame = lake.read_table(RawManifest(cell.date, data_type, cell.venue))
    return None if frame is None else manifest_rows(frame)


def write_raw_manifest(
    lake: Lake, cell: VenueDay, data_type: DataType, rows: Iterable[ManifestRow]
) -> StoredObject:
    """Store the manifest of a cell.

    Raises:
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    return lake.write_table(
        RawManifest(cell.date, data_type, cell.venue),
        manifest_frame(rows),
        MANIFEST_TABLE,
        sorted_by=("instrument_key",),
    )
