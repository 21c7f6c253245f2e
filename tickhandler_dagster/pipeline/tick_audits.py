"""One look at every stored file of a raw partition, kept so that no file is looked at twice.

What belongs here: which files are read, what is taken over from the run before, and what files,
universe and catalogue say together. What does not: the rules and how they are computed
(`market/quality`), reading (`tick_file_reading.py`), the tables in the lake
(`tick_audit_files.py`) and how findings are taken (`checks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import (
    FindingsFile,
    RawTickFile,
    TickAuditFile,
    TickGapsFile,
)
from tickhandler_dagster.market.quality.audit_limits import AUDIT_RULES
from tickhandler_dagster.market.quality.broken_rows import FileSubject
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.silences import RowSpan
from tickhandler_dagster.market.quality.tick_audit_table import (
    TICK_AUDIT_TABLE,
    TickAudit,
    tick_audit_frame,
)
from tickhandler_dagster.market.quality.tick_gaps import OVER_MIDNIGHT, Outage
from tickhandler_dagster.market.schema_check import SchemaReport
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.candle_listing import microseconds
from tickhandler_dagster.pipeline.tick_audit_files import (
    read_audits,
    read_findings,
    read_gaps,
    write_if_changed,
)
from tickhandler_dagster.pipeline.tick_evidence import CellEvidence
from tickhandler_dagster.pipeline.tick_file_reading import (
    AuditedFile,
    FileToAudit,
    read_files,
    schema_failures,
)

__all__ = ["RawAudit", "audit_raw_ticks", "read_findings", "read_gaps"]

# What a file proves by itself and is taken over while it is the same. The rest is taken anew from
# what is stored: the catalogue, the neighbouring days and the other instruments may have changed.
_OF_THE_FILE = frozenset({GapKind.LOST_IDS, GapKind.RESNAPSHOT})
_NOT_OF_THE_FILE = frozenset(
    {
        RuleName.LOST_TRADE_IDS,
        RuleName.SILENCE,
        RuleName.VENUE_SILENCE,
        RuleName.ROWS_NOT_CONSERVED,
    }
)


@dataclass(frozen=True, slots=True)
class RawAudit:
    """What is known of the files of a raw partition.

    Attributes:
        schema: Broken rules of the table.
        audits: One per present file, ordered by instrument key.
        gaps: Known holes.
        findings: Broken rules of the data.
        files_read: Tick files read in this run.
        rows_read: Their rows.
    """

    schema: SchemaReport
    audits: tuple[TickAudit, ...]
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]
    files_read: int
    rows_read: int


def audit_raw_ticks(
    lake: Lake,
    cell: VenueDay,
    data_type: DataType,
    *,
    rows: Sequence[ManifestRow],
    universe: pl.DataFrame,
    catalog: ExchangeCatalog,
) -> RawAudit:
    """Audit the files of a raw partition that no earlier run has audited, and store what is known.

    A file is read once as long as its bytes and the rules are the same; a run over unchanged data
    reads none, writes nothing and returns the same.

    Args:
        lake: Where files are read and audits are written.
        cell: Day and venue.
        data_type: Which type.
        rows: The partition's manifest.
        universe: The day's rows of `INSTRUMENTS_TABLE`.
        catalog: What the vendor lists and reports.

    Raises:
        CorruptData: a file is not readable at all.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    listings = _Listings(cell, data_type, universe, catalog)
    files = listings.files(rows)
    known = _known(lake, cell, data_type)
    unread = [file for file in files if not _is_known(lake, file, known)]
    read = read_files(lake, unread)
    audited = {
        key: read.get(key) or known[key] for key in (file.row.instrument_key for file in files)
    }
    evidence = CellEvidence(
        lake, cell, data_type, subjects=listings.subjects(rows), outages=listings.outages
    )
    gaps, findings = evidence.all(rows, audited, listings.spans(rows))
    audits = tuple(found.audit for found in audited.values())
    result = RawAudit(
        schema=_schema(audits),
        audits=audits,
        gaps=tuple(gaps),
        findings=tuple(findings),
        files_read=len(unread),
        rows_read=sum(found.audit.rows for found in read.values()),
    )
    _store(lake, cell, data_type, result)
    return result


def _schema(audits: Sequence[TickAudit]) -> SchemaReport:
    """The report of the table's rules over all files."""
    return SchemaReport(
        sum(audit.rows for audit in audits),
        [failure for audit in audits for failure in schema_failures(audit)],
    )


class _Listings:
    """What universe and catalogue say of the cell's instruments."""

    def __init__(
        self, cell: VenueDay, data_type: DataType, universe: pl.DataFrame, catalog: ExchangeCatalog
    ) -> None:
        self._cell = cell
        self._type = data_type
        self._day = day_span_us(cell.date)
        self._is_first_day = cell.date <= catalog.first_day
        self._exported_until = microseconds(catalog.exported_until)
        columns = ("instrument_key", "available_from", "available_to", "expiry", "tick_size")
        self._terms: Mapping[str, Mapping[str, Any]] = {
            terms["instrument_key"]: terms
            for terms in universe.select(columns).iter_rows(named=True)
        }
        self.outages = tuple(
            Outage(
                max(microseconds(incident.start), self._day[0]),
                self._day[1]
                if incident.end is None
                else min(microseconds(incident.end), self._day[1]),
                incident.details,
            )
            for incident in catalog.incidents_on(self._day)
        )
        self._has_dense_ids = (
            data_type is DataType.TRADES and VENUES[cell.venue].has_dense_trade_ids
        )

    def files(self, rows: Sequence[ManifestRow]) -> list[FileToAudit]:
        """The present files of the manifest, ordered by instrument key."""
        return [
            FileToAudit(
                row,
                self.subject(row.instrument_key),
                self.span(row.instrument_key),
                self.version(row.instrument_key),
            )
            for row in sorted(rows, key=lambda row: row.instrument_key)
            if row.state is DataState.PRESENT
        ]

    def subject(self, key: str) -> FileSubject:
        """The instrument's file, with its price step."""
        terms = self._terms.get(key, {})
        return FileSubject(
            date=self._cell.date,
            venue=self._cell.venue,
            data_type=self._type,
            instrument_key=key,
            tick_size=terms.get("tick_size"),
            has_dense_ids=self._has_dense_ids,
        )

    def version(self, key: str) -> str:
        """Of the rules, with the price step that they hold prices against."""
        return f"{AUDIT_RULES}, price step {self.subject(key).tick_size}"

    def span(self, key: str) -> RowSpan:
        """When rows can come: on the day, while listed, as far as the vendor has exported."""
        terms = self._terms.get(key, {})
        start, end = self._day
        begins, *ends = (
            None if terms.get(name) is None else microseconds(terms[name])
            for name in ("available_from", "available_to", "expiry")
        )
        known_ends = [edge for edge in ends if edge is not None]
        return RowSpan(
            max(start, start if begins is None else begins),
            min(end, self._exported_until, *known_ends),
            # A midnight is the vendor's way to say a date. On the venue's first day it is where the
            # export begins, and instruments were listed before.
            is_start_known=begins != start or self._is_first_day,
            is_end_known=end not in known_ends,
        )

    def subjects(self, rows: Sequence[ManifestRow]) -> dict[str, FileSubject]:
        """Of every instrument of the manifest, by key."""
        return {row.instrument_key: self.subject(row.instrument_key) for row in rows}

    def spans(self, rows: Sequence[ManifestRow]) -> dict[str, RowSpan]:
        """Of every instrument of the manifest, by key."""
        return {row.instrument_key: self.span(row.instrument_key) for row in rows}


def _known(lake: Lake, cell: VenueDay, data_type: DataType) -> dict[str, AuditedFile]:
    """What earlier runs know of each file; nothing where a table cannot be read."""
    try:
        audits = read_audits(lake, cell, data_type)
        gaps = read_gaps(lake, cell, data_type)
        findings = read_findings(lake, cell, data_type.value)
    except CorruptData:
        return {}
    own_gaps: dict[str, list[Gap]] = {}
    for gap in gaps:
        if gap.kind in _OF_THE_FILE and not gap.evidence.startswith(OVER_MIDNIGHT):
            own_gaps.setdefault(gap.instrument_key, []).append(gap)
    own_findings: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.rule not in _NOT_OF_THE_FILE:
            own_findings.setdefault(finding.instrument_key, []).append(finding)
    return {
        audit.instrument_key: AuditedFile(
            audit,
            tuple(own_gaps.get(audit.instrument_key, ())),
            tuple(own_findings.get(audit.instrument_key, ())),
        )
        for audit in audits
    }


def _is_known(lake: Lake, file: FileToAudit, known: Mapping[str, AuditedFile]) -> bool:
    """The file's audit is that of these bytes and rules, and the file is still there."""
    row = file.row
    found = known.get(row.instrument_key)
    return (
        found is not None
        and found.audit.content_sha256 == row.content_sha256
        and found.audit.audit_version == file.version
        and lake.size(RawTickFile(row.date, row.data_type, row.instrument_key)) == row.bytes
    )


def _store(lake: Lake, cell: VenueDay, data_type: DataType, result: RawAudit) -> None:
    """Gaps and findings first: where there is an audit, what came with it is in the lake."""
    write_if_changed(
        lake,
        TickGapsFile(cell.date, data_type, cell.venue),
        gaps_frame(result.gaps),
        GAPS_TABLE,
    )
    write_if_changed(
        lake,
        FindingsFile(cell.date, cell.venue, data_type.value),
        findings_frame(result.findings),
        FINDINGS_TABLE,
    )
    write_if_changed(
        lake,
        TickAuditFile(cell.date, data_type, cell.venue),
        tick_audit_frame(result.audits),
        TICK_AUDIT_TABLE,
    )
