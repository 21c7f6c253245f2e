"""What earlier runs of a raw partition left: rows that still hold, and finished files of a kill.

What does not belong here: leftovers of unfinished files, which the object store sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tickhandler_dagster.adapters.grouped_conversion import group_files
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifest_json import FOOTER_KEY, row_from_json
from tickhandler_dagster.adapters.parquet import file_digest, key_value_metadata, read_footer
from tickhandler_dagster.adapters.tick_writer import ConvertedTicks, SourceFile
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import QuarantinedRows, RawTickFile
from tickhandler_dagster.market.planning import ExpectedInstrument, FileJob
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_csv import CONVERSION_VERSION
from tickhandler_dagster.pipeline.raw_identity import identity_of


def standing_rows(lake: Lake, rows: Sequence[ManifestRow]) -> dict[str, ManifestRow]:
    """The rows by instrument key, without those whose object is gone or has another size."""
    present = [row for row in rows if row.state is DataState.PRESENT]
    sizes = lake.sizes(
        [RawTickFile(row.date, row.data_type, row.instrument_key) for row in present]
    )
    fallen = {
        row.instrument_key for row, size in zip(present, sizes, strict=True) if size != row.bytes
    }
    return {row.instrument_key: row for row in rows if row.instrument_key not in fallen}


def adopted_rows(
    lake: Lake, cell: VenueDay, data_type: DataType, jobs: Sequence[FileJob]
) -> tuple[list[ManifestRow], list[FileJob]]:
    """Rows of jobs whose files a killed run had finished, and the jobs that are left.

    A file says in its footer whose it is and which vendor file it came from. A grouped job is
    finished when as many files of one vendor file are there as it had instruments with rows.
    """
    adopted: list[ManifestRow] = []
    left: list[FileJob] = []
    wanted = [
        RawTickFile(cell.date, data_type, item.instrument_key)
        for job in jobs
        for item in job.instruments
    ]
    local = dict(zip(wanted, lake.fetch(wanted), strict=True))
    for job in jobs:
        rows = _finished(lake, cell, data_type, job, local)
        if rows is None:
            left.append(job)
        else:
            adopted.extend(rows)
    return adopted, left


def _finished(
    lake: Lake,
    cell: VenueDay,
    data_type: DataType,
    job: FileJob,
    local: Mapping[RawTickFile, Path | None],
) -> list[ManifestRow] | None:
    found: dict[str, ManifestRow] = {}
    expected_files = 1
    for item in job.instruments:
        stored = local[RawTickFile(cell.date, data_type, item.instrument_key)]
        read = None if stored is None else _footer_row(stored, cell, data_type, job=job, item=item)
        if read is not None:
            row, files = read
            found[item.instrument_key] = row
            expected_files = files
    sources = {(row.source_sha256, row.source_bytes) for row in found.values()}
    if len(found) != expected_files or len(sources) != 1:
        return None
    sha256, size = sources.pop()
    source = SourceFile(bytes=size, sha256=str(sha256))
    rows = [
        found.get(item.instrument_key)
        or ConvertedTicks.of_no_rows(identity_of(cell, data_type, job, item), source).row
        for item in job.instruments
    ]
    for row in rows:
        if not row.quarantined_rows:
            lake.delete(QuarantinedRows(cell.date, data_type, row.instrument_key))
    return rows


def _footer_row(
    stored: Path, cell: VenueDay, data_type: DataType, *, job: FileJob, item: ExpectedInstrument
) -> tuple[ManifestRow, int] | None:
    """The row a stored file describes itself with, and how many files its vendor file became."""
    try:
        footer = key_value_metadata(read_footer(stored))
    except CorruptData:
        return None
    text = footer.get(FOOTER_KEY)
    row = None if text is None else row_from_json(text)
    identity = identity_of(cell, data_type, job, item)
    if row is None or row.kernel_version != CONVERSION_VERSION or not identity.is_of(row):
        return None
    sha256, size = file_digest(stored)
    files = group_files(footer) if job.is_grouped else 1
    return replace(row, bytes=size, content_sha256=sha256), files or 1
