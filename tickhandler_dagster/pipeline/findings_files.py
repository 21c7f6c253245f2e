"""Findings in the lake: one table per source, venue and day, the same bytes for the same findings.

What does not belong here: what is found (`…_audit.py`) and reading it back (`tick_audits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tickhandler_dagster.market.paths import FindingsFile
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.adapters.parquet import StoredObject
    from tickhandler_dagster.market.days import VenueDay


def write_findings(
    lake: Lake, cell: VenueDay, name: str, findings: Iterable[Finding]
) -> StoredObject:
    """Store what a look at the cell found; an empty table says that it was looked at.

    Args:
        lake: Where to.
        cell: Day and venue.
        name: Name of the table under the cell.
        findings: What was found; what an earlier look found is replaced.

    Raises:
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be written.
    """
    return lake.write_table(
        FindingsFile(cell.date, cell.venue, name),
        findings_frame(findings),
        FINDINGS_TABLE,
        sorted_by=FINDINGS_TABLE.key,
    )
