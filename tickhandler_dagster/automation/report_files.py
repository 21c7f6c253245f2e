"""The files of a completeness report: the page, and its rows as CSV and Parquet.

What belongs here: writing them, for the command and for the job alike. What does not: the numbers
(`pipeline/completeness_report.py`) and the page (`reporting/completeness_page`).
"""

from __future__ import annotations

from pathlib import Path

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.progress import OnProgress
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.pipeline.completeness_export import RowsExport
from tickhandler_dagster.pipeline.completeness_reading import ReportSpan
from tickhandler_dagster.pipeline.completeness_report import CompletenessReport, build_report
from tickhandler_dagster.reporting.completeness_page.page import render_page

PAGE_NAME = "completeness.html"


def write_report(
    span: ReportSpan,
    folder: Path,
    *,
    lake: Lake,
    lake_name: str,
    policy: QualityPolicy,
    on_progress: OnProgress,
) -> tuple[CompletenessReport, list[Path]]:
    """Write the page and the files of rows; gives the numbers and the paths, the page's first.

    Args:
        span: Days, venues and data types.
        folder: Where the files go; made if it does not exist.
        lake: Where the tables are.
        lake_name: How the page calls it.
        policy: How states are taken where no table says it.
        on_progress: Told of every step.

    Raises:
        StorageFull: the device has no space left.
        StorageDenied: the folder may not be written.
    """
    with RowsExport(folder) as export:
        found = build_report(
            span, lake=lake, policy=policy, on_rows=export.write, on_progress=on_progress
        )
        page = folder / PAGE_NAME
        with storage_errors(folder):
            partial = page.with_name(f"{PAGE_NAME}.partial")
            text = render_page(found, lake=lake_name)
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(page)
        return found, [page, *export.finish()]
