"""Named sets of mid-frequency features: chosen columns of stored rows, as tables of their own.

What belongs here: cutting them and storing what changed. What does not: which features a set has
(`market/mft/configured.py`) and computing them (`mft_features.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.market.mft_manifest_table import MftManifestRow
from tickhandler_dagster.market.mft_set_table import MFT_SET_MANIFEST_TABLE, mft_set_table
from tickhandler_dagster.market.mft_table import MFT_IDENTITY
from tickhandler_dagster.market.paths import MftFile, MftSetFile, MftSetManifest
from tickhandler_dagster.market.schema_check import SchemaReport
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.mft_files import read_mft_manifest
from tickhandler_dagster.pipeline.mft_inputs import MftPlan
from tickhandler_dagster.pipeline.verification import verify_stored


@dataclass(frozen=True, slots=True)
class MftSetResult:
    """What a build did.

    Attributes:
        manifest: A frame of `MFT_SET_MANIFEST_TABLE`.
        files_written: Files whose bytes changed.
    """

    manifest: pl.DataFrame
    files_written: int

    @property
    def data_version(self) -> str:
        """Changes when and only when a file does."""
        hashes = "".join(self.manifest["content_sha256"].to_list())
        return hashlib.sha256(hashes.encode()).hexdigest()


def table_of_set(chosen: FeatureSet, plan: MftPlan) -> Table:
    """The table of a set.

    Raises:
        InvalidSetting: a pattern of the set chooses no feature.
    """
    names = [feature.name for feature in plan.features]
    return mft_set_table(chosen.name, plan.features, chosen.choose(names))


def build_mft_set(cell: VenueDay, chosen: FeatureSet, *, lake: Lake, plan: MftPlan) -> MftSetResult:
    """Cut the set's columns out of the cell's stored features, where these changed.

    Raises:
        MissingUpstream: the features of a timeframe of the set were never made.
        CorruptData: a stored file cannot be read, or has other columns.
        InvalidSetting: a pattern of the set chooses no feature.
        StorageFull: the device has no space left.
    """
    table = table_of_set(chosen, plan)
    item = MftSetManifest(chosen.name, cell.date, cell.venue)
    before = lake.read_table(item)
    stored = _by_place(before)
    rows: list[dict[str, object]] = []
    written = 0
    for timeframe, source in _sources(cell, chosen, lake):
        row = _expected(cell, timeframe, source, table)
        old = stored.get((timeframe.value, source.instrument_key))
        file = MftSetFile(chosen.name, cell.date, timeframe, source.instrument_key)
        if old is not None and row.items() <= old.items() and lake.size(file) == old["bytes"]:
            rows.append(old)
            continue
        kept = lake.write_table(
            file,
            _cut(lake, cell, timeframe, source, table),
            table,
            metadata={"is_simulated": str(source.is_simulated).lower()},
            sorted_by=("ts_open",),
        )
        rows.append(row | {"bytes": kept.bytes, "content_sha256": kept.sha256})
        written += 1
    manifest = pl.DataFrame(rows, schema=MFT_SET_MANIFEST_TABLE.polars_schema)
    if before is None or not manifest.equals(before):
        lake.write_table(item, manifest, MFT_SET_MANIFEST_TABLE)
    for timeframe_name, key in stored.keys() - _by_place(manifest).keys():
        lake.delete(MftSetFile(chosen.name, cell.date, Timeframe(timeframe_name), key))
    return MftSetResult(manifest, written)


def verify_mft_set(
    lake: Lake, cell: VenueDay, chosen: FeatureSet, *, plan: MftPlan, manifest: pl.DataFrame
) -> SchemaReport:
    """Hold the stored rows of a set against its table."""
    places = manifest.select("timeframe", "instrument_key").rows()
    return verify_stored(
        lake,
        table_of_set(chosen, plan),
        (
            (f"{key} {name}", MftSetFile(chosen.name, cell.date, Timeframe(name), key))
            for name, key in places
        ),
    )


def _sources(
    cell: VenueDay, chosen: FeatureSet, lake: Lake
) -> Iterator[tuple[Timeframe, MftManifestRow]]:
    for timeframe in chosen.timeframes:
        rows = read_mft_manifest(lake, cell, timeframe)
        if rows is None:
            raise MissingUpstream(
                f"mft_features/{timeframe} {cell}",
                "not materialized",
                remedy=f"Run: {materialize(f'mft_features/{timeframe}', cell)}",
            )
        yield from ((timeframe, rows[key]) for key in sorted(rows))


def _expected(
    cell: VenueDay, timeframe: Timeframe, source: MftManifestRow, table: Table
) -> dict[str, object]:
    """The manifest row but for the file's own size and hash."""
    return {
        "date": cell.date,
        "venue": cell.venue.value,
        "instrument_key": source.instrument_key,
        "timeframe": timeframe.value,
        "rows": source.rows,
        "features": table.names[len(MFT_IDENTITY) :],
        "features_sha256": source.content_sha256,
        "is_simulated": source.is_simulated,
    }


def _cut(
    lake: Lake, cell: VenueDay, timeframe: Timeframe, source: MftManifestRow, table: Table
) -> pl.DataFrame:
    item = MftFile(cell.date, timeframe, source.instrument_key)
    again = f"Run: {materialize(f'mft_features/{timeframe}', cell)}"
    try:
        frame = lake.read_table(item, columns=table.names)
    except pl.exceptions.ColumnNotFoundError as error:
        raise CorruptData(item.path, "columns are missing", remedy=again) from error
    if frame is None:
        raise MissingUpstream(item.path, "in the manifest, not in the lake", remedy=again)
    return frame


def _by_place(manifest: pl.DataFrame | None) -> dict[tuple[str, str], dict[str, object]]:
    """Rows by timeframe and key; none where another version of the project wrote them."""
    if manifest is None or manifest.schema != MFT_SET_MANIFEST_TABLE.polars_schema:
        return {}
    return {
        (row["timeframe"], row["instrument_key"]): row for row in manifest.iter_rows(named=True)
    }
