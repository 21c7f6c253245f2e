"""Reading stored tick files once: the table's rules and the audits from the same pass.

What belongs here: from a manifest row to what its file says. What does not: which files are read
(`tick_audits.py`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.table_batches import read_batches
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RawTickFile
from tickhandler_dagster.market.quality.broken_rows import FileSubject, moment
from tickhandler_dagster.market.quality.file_audit import FileAudit, FileFacts
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap
from tickhandler_dagster.market.quality.silences import RowSpan, longest_pause
from tickhandler_dagster.market.quality.tick_audit_table import TickAudit
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck, SchemaFailure


@dataclass(frozen=True, slots=True)
class FileToAudit:
    """A stored file and what the audit needs to know of it.

    Attributes:
        row: Its row of the manifest.
        subject: The file.
        span: When its rows can come.
        version: The rules it is audited by.
    """

    row: ManifestRow
    subject: FileSubject
    span: RowSpan
    version: str

    @property
    def item(self) -> RawTickFile:
        """Where it is."""
        return RawTickFile(self.row.date, self.row.data_type, self.row.instrument_key)


@dataclass(frozen=True, slots=True)
class AuditedFile:
    """What is known of a file from reading it, now or earlier.

    Attributes:
        audit: Its audit.
        gaps: Holes that it proves by itself.
        findings: Rules that its rows break.
    """

    audit: TickAudit
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]


def read_files(lake: Lake, files: Sequence[FileToAudit]) -> dict[str, AuditedFile]:
    """What the files say, by instrument key; memory holds one batch of rows.

    Raises:
        CorruptData: an object is not readable at all.
    """
    if not files:
        return {}
    facts: dict[str, FileFacts] = {}

    def batches() -> Iterator[tuple[str, pl.DataFrame]]:
        for file in files:
            audit = FileAudit(file.subject)
            for batch in read_batches(lake, file.item):
                audit.add(batch)
                yield file.row.instrument_key, batch
            facts[file.row.instrument_key] = audit.finish()

    report = SchemaCheck(RAW_TABLES[files[0].row.data_type].stored).run(batches())
    failures: dict[str, list[SchemaFailure]] = {}
    for failure in report.failures:
        failures.setdefault(failure.subject, []).append(failure)
    return {file.row.instrument_key: _audited(file, facts, failures) for file in files}


def schema_failures(audit: TickAudit) -> list[SchemaFailure]:
    """The table's broken rules that the audit keeps."""
    if audit.schema_failures is None:
        return []
    return [
        SchemaFailure(**record | {"sample": tuple(record["sample"])})
        for record in json.loads(audit.schema_failures)
    ]


def _audited(
    file: FileToAudit,
    facts: Mapping[str, FileFacts],
    failures: Mapping[str, Sequence[SchemaFailure]],
) -> AuditedFile:
    row, own = file.row, facts[file.row.instrument_key]
    broken = [dataclasses.asdict(failure) for failure in failures.get(row.instrument_key, ())]
    longest = longest_pause(own.arrivals, file.span)
    activity, pauses = own.arrivals.to_bytes()
    audit = TickAudit(
        date=row.date,
        venue=row.venue,
        data_type=row.data_type,
        instrument_key=row.instrument_key,
        content_sha256=row.content_sha256 or "",
        audit_version=file.version,
        rows=own.rows,
        schema_failures=json.dumps(broken, sort_keys=True) if broken else None,
        longest_silence_us=None if longest is None else longest.us,
        silence_start=None if longest is None else moment(longest.start_us),
        active_seconds=int(own.arrivals.is_active.sum()),
        activity=activity if own.rows else None,
        pauses=pauses if own.rows else None,
        first_trade_id=None if own.numbers is None else own.numbers.first,
        last_trade_id=None if own.numbers is None else own.numbers.last,
        lost_trades=None if own.numbers is None else own.numbers.lost,
    )
    return AuditedFile(audit, own.gaps, own.findings)
