"""Option surfaces and their manifest in the lake: what is up to date, writing what is not.

What belongs here: objects of the surface layer. What does not: what a surface holds
(`market/options`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.options.surface import SURFACE_VERSION
from tickhandler_dagster.market.options_surface_manifest_table import (
    OPTIONS_SURFACE_MANIFEST_TABLE,
    OptionsSurfaceManifestRow,
    surface_manifest_frame,
    surface_manifest_rows,
)
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.paths import OptionsSurfaceFile, OptionsSurfaceManifest
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.surface_build import BuiltSurface
from tickhandler_dagster.pipeline.surface_inputs import UnderlyingDay

SurfaceRows = Mapping[str, Mapping[Timeframe, OptionsSurfaceManifestRow]]
"""Manifest rows by underlying and timeframe."""


def read_surface_manifest(lake: Lake, cell: VenueDay) -> SurfaceRows | None:
    """The manifest in the lake; None where the partition was never built.

    Raises:
        CorruptData: the manifest is not readable.
    """
    frame = lake.read_table(OptionsSurfaceManifest(cell.date, cell.venue))
    if frame is None:
        return None
    found: dict[str, dict[Timeframe, OptionsSurfaceManifestRow]] = {}
    for row in surface_manifest_rows(frame):
        found.setdefault(row.underlying, {})[row.timeframe] = row
    return found


def surface_file(row: OptionsSurfaceManifestRow) -> OptionsSurfaceFile:
    """The object that a manifest row is about."""
    return OptionsSurfaceFile(row.date, row.timeframe, row.venue, row.underlying)


def is_up_to_date(inputs: UnderlyingDay, *, lake: Lake, stored: SurfaceRows) -> bool:
    """Every timeframe has a file in the lake that was built from these very inputs."""
    rows, digest = stored.get(inputs.underlying, {}), inputs.digest
    return set(rows) == set(Timeframe) and all(
        row.inputs_sha256 == digest and lake.size(surface_file(row)) == row.bytes
        for row in rows.values()
    )


def publish_surface(built: BuiltSurface, lake: Lake) -> dict[Timeframe, OptionsSurfaceManifestRow]:
    """Store the surface of all timeframes; equal surfaces are equal bytes.

    Raises:
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    return {timeframe: _publish(built, timeframe, lake) for timeframe in Timeframe}


def write_surface_manifest(
    lake: Lake, cell: VenueDay, rows: Iterable[OptionsSurfaceManifestRow]
) -> pl.DataFrame:
    """The manifest as a frame, stored where it differs from the one in the lake.

    Raises:
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    item = OptionsSurfaceManifest(cell.date, cell.venue)
    frame = surface_manifest_frame(rows)
    stored = lake.read_table(item)
    if stored is None or not stored.equals(frame):
        lake.write_table(item, frame, OPTIONS_SURFACE_MANIFEST_TABLE, sorted_by=("underlying",))
    return frame


def _publish(built: BuiltSurface, timeframe: Timeframe, lake: Lake) -> OptionsSurfaceManifestRow:
    inputs, cell = built.inputs, built.inputs.cell
    frame = built.frame(timeframe)
    written = lake.write_table(
        OptionsSurfaceFile(cell.date, timeframe, cell.venue, inputs.underlying),
        frame,
        OPTIONS_SURFACE_TABLE,
        metadata={
            "kernel_version": SURFACE_VERSION,
            "is_simulated": str(inputs.is_simulated).lower(),
        },
        sorted_by=("ts_open",),
    )
    own = [option.own for option in inputs.options if option.own is not None]
    return OptionsSurfaceManifestRow(
        date=cell.date,
        venue=cell.venue,
        timeframe=timeframe,
        underlying=inputs.underlying,
        base_asset=inputs.base_asset,
        options=len(inputs.options),
        present_options=len(own),
        missing_options=len(inputs.missing),
        expiries=built.expiries,
        raw_rows=sum(row.rows for row in own),
        rows=frame.height,
        rows_with_front=frame["atm_mark_iv"].count(),
        rows_with_30d=frame["atm_iv_30d"].count(),
        rows_with_model_free=frame["model_free_volatility_30d"].count(),
        bytes=written.bytes,
        content_sha256=written.sha256,
        inputs_sha256=inputs.digest,
        is_simulated=inputs.is_simulated,
        kernel_version=SURFACE_VERSION,
    )
