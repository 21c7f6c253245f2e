"""Reading back the surfaces that a partition stored and holding them against their table.

What belongs here: which objects are read. The reading is `verification.py`, the rules are the
tables' (`market`), what a failure means is `checks/`.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.options_surface_manifest_table import (
    OPTIONS_SURFACE_MANIFEST_TABLE,
    surface_manifest_rows,
)
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.schema_check import SchemaCheck, SchemaReport
from tickhandler_dagster.pipeline.surface_files import surface_file
from tickhandler_dagster.pipeline.verification import verify_stored


def verify_options_surface(lake: Lake, manifest: pl.DataFrame) -> SchemaReport:
    """All broken rules of the surfaces that a partition's manifest names, and of the manifest.

    Raises:
        CorruptData: an object is not readable at all.
    """
    report = verify_stored(
        lake,
        OPTIONS_SURFACE_TABLE,
        (
            (f"{row.underlying} {row.timeframe}", surface_file(row))
            for row in surface_manifest_rows(manifest)
        ),
    )
    of_manifest = SchemaCheck(OPTIONS_SURFACE_MANIFEST_TABLE).run([("manifest", manifest)])
    report.failures += of_manifest.failures
    return report
