"""The state of everything a venue should have on a day, from what the lake says about itself.

What belongs here: the use case of the asset `completeness`, its reader, and which objects it reads:
catalogue, universe, manifests and audits, never a tick. What does not: the decision
(`market/completeness.py`) and severities (`checks/`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.completeness import TypeEvidence, completeness_of
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
    completeness_rows,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.paths import (
    CompletenessFile,
    FindingsFile,
    TickAuditFile,
    parse_path,
)
from tickhandler_dagster.market.quality.tick_audit_table import tick_audits
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.raw_leftovers import standing_rows
from tickhandler_dagster.pipeline.tick_audits import read_findings, read_gaps

if TYPE_CHECKING:
    import polars as pl

    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.market.catalog import ExchangeCatalog
    from tickhandler_dagster.market.days import VenueDay
    from tickhandler_dagster.market.manifest_table import ManifestRow
    from tickhandler_dagster.market.quality.findings import Finding
    from tickhandler_dagster.market.quality.policy import QualityPolicy


@dataclass(frozen=True, slots=True)
class CompletenessResult:
    """The table of a cell and the object that holds it.

    Attributes:
        cell: Day and venue.
        rows: One per instrument and data type.
        findings: Broken rules of the cell, from every source that was looked at.
        bytes: Size of the object.
        sha256: Hash of the object: the same states have the same hash.
    """

    cell: VenueDay
    rows: tuple[Completeness, ...]
    findings: tuple[Finding, ...]
    bytes: int
    sha256: str


def build_completeness(
    cell: VenueDay,
    *,
    lake: Lake,
    catalog: ExchangeCatalog,
    universe: pl.DataFrame,
    data_types: Collection[DataType],
    policy: QualityPolicy,
) -> CompletenessResult:
    """Write the completeness of a cell; what is known being the same, so are the bytes.

    Args:
        cell: Day and venue.
        lake: Where everything is.
        catalog: What the vendor exports.
        universe: The day's rows of `INSTRUMENTS_TABLE`.
        data_types: Data types that this installation downloads of the venue.
        policy: How states are taken.

    Raises:
        CorruptData: a manifest or an audit cannot be read.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    rows = completeness_of(
        cell,
        universe=universe,
        catalog=catalog,
        evidence={data_type: _evidence(lake, cell, data_type) for data_type in DataType},
        wanted=data_types,
        policy=policy,
    )
    frame = completeness_frame(rows)
    stored = lake.write_table(
        CompletenessFile(cell.date, cell.venue),
        frame,
        COMPLETENESS_TABLE,
        sorted_by=COMPLETENESS_TABLE.key,
    )
    findings = read_all_findings(lake, cell)
    return CompletenessResult(cell, tuple(rows), findings, stored.bytes, stored.sha256)


def read_completeness(lake: Lake, cell: VenueDay) -> list[Completeness] | None:
    """The stored rows, ordered by data type and instrument; None where there is no table.

    Raises:
        CorruptData: the table cannot be read.
    """
    frame = lake.read_table(CompletenessFile(cell.date, cell.venue))
    return None if frame is None else completeness_rows(frame)


def read_all_findings(lake: Lake, cell: VenueDay) -> tuple[Finding, ...]:
    """Findings of the cell from every source, in the order of the sources' names.

    Raises:
        CorruptData: a table of findings cannot be read.
    """
    folder, slash, _ = FindingsFile(cell.date, cell.venue, "any").path.rpartition("/")
    objects = map(parse_path, lake.store.list(folder + slash))
    sources = [item.name for item in objects if isinstance(item, FindingsFile)]
    return tuple(finding for source in sources for finding in read_findings(lake, cell, source))


def _evidence(lake: Lake, cell: VenueDay, data_type: DataType) -> TypeEvidence:
    rows = read_raw_manifest(lake, cell, data_type)
    if rows is None:
        return TypeEvidence()
    standing = standing_rows(lake, rows)
    audits = lake.read_table(TickAuditFile(cell.date, data_type, cell.venue))
    return TypeEvidence(
        manifest=[standing.get(row.instrument_key) or _gone(row) for row in rows],
        audits=[] if audits is None else tick_audits(audits),
        gaps=read_gaps(lake, cell, data_type),
        findings=read_findings(lake, cell, data_type.value),
    )


def _gone(row: ManifestRow) -> ManifestRow:
    """The row of a file that somebody removed or changed: what it says is no longer so.

    `failed`, because that is what the next run of the partition does about it: fetch it again.
    """
    return replace(
        row,
        state=DataState.FAILED,
        reason=(
            f"the file of {row.bytes:,} bytes that a run stored is gone or has another size; run "
            "the partition again"
        ),
        rows=0,
        quarantined_rows=0,
        bytes=0,
        first_timestamp=None,
        last_timestamp=None,
    )
