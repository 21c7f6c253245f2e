"""Audits, gaps and findings of raw partitions, in the lake.

What belongs here: reading and writing them, and nothing where nothing changed. What does not: what
they say (`tick_audits.py`).
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.paths import FindingsFile, LakeObject, TickAuditFile, TickGapsFile
from tickhandler_dagster.market.quality.findings import Finding, findings_of
from tickhandler_dagster.market.quality.gaps import Gap, gaps_of
from tickhandler_dagster.market.quality.tick_audit_table import TickAudit, tick_audits
from tickhandler_dagster.market.tables import Table


def read_audits(lake: Lake, cell: VenueDay, data_type: DataType) -> list[TickAudit]:
    """The audits of a raw partition; empty where it was never audited.

    Raises:
        CorruptData: the table is not readable.
    """
    frame = lake.read_table(TickAuditFile(cell.date, data_type, cell.venue))
    return [] if frame is None else tick_audits(frame)


def read_gaps(lake: Lake, cell: VenueDay, data_type: DataType) -> list[Gap]:
    """The known holes of a raw partition; empty where it was never audited.

    Raises:
        CorruptData: the table is not readable.
    """
    frame = lake.read_table(TickGapsFile(cell.date, data_type, cell.venue))
    return [] if frame is None else gaps_of(frame)


def read_findings(lake: Lake, cell: VenueDay, source: str) -> list[Finding]:
    """The broken rules of a source; empty where it was never looked at.

    Raises:
        CorruptData: the table is not readable.
    """
    frame = lake.read_table(FindingsFile(cell.date, cell.venue, source))
    return [] if frame is None else findings_of(frame)


def write_if_changed(lake: Lake, item: LakeObject, frame: pl.DataFrame, table: Table) -> bool:
    """Store the table where it differs from the one in the lake; true where it was written.

    One that cannot be read is replaced.
    """
    try:
        stored = lake.read_table(item)
    except CorruptData:
        stored = None
    if stored is not None and stored.equals(frame):
        return False
    lake.write_table(item, frame, table)
    return True
