"""Outcomes of checks on published days, in Dagster's terms.

What does not belong here: publishing and counting (`pipeline/warehouse_publish.py`).
"""

import dagster as dg

from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.pipeline.warehouse_publish import DayPublication
from tickhandler_dagster.reporting import markdown


def published_outcome(found: DayPublication) -> CheckOutcome:
    """Rows by venue: counted in the table, and named by the lake's manifests."""
    in_table, in_lake = found.rows_by_venue, found.day.rows_by_venue
    different = [
        (venue, f"{in_table.get(venue, 0):,}", f"{in_lake.get(venue, 0):,}")
        for venue in sorted(in_table.keys() | in_lake.keys())
        if in_table.get(venue, 0) != in_lake.get(venue, 0)
    ]
    listing = markdown.table(["venue", "rows in the table", "rows in the lake"], different)
    return CheckOutcome(
        CheckName.PUBLISHED,
        found.is_as_the_lake,
        {
            "rows in the table": dg.MetadataValue.int(found.rows),
            "rows in the lake": dg.MetadataValue.int(found.day.rows),
            "venues that differ": dg.MetadataValue.int(len(different)),
        }
        | ({"venues and their rows": dg.MetadataValue.md(listing)} if different else {}),
    )
