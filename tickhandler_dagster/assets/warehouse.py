"""The assets `warehouse/<table>`: tables that SQL asks, a day over all venues per partition.

A table's day is published whole, so its partitions are days alone, and each follows the cells of
its day on every venue of the grid. Such an edge asks for nothing: a day is published with the
venues that the lake has, and a cell of the lake that is built again shows its day as out of date.

Dagster puts assets of one partitions definition into a run: cells of the lake first, then the days
that they are in, as two steps of the one who starts them, or as two waves of one backfill.
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.warehouse import Warehouse
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.checks.warehouse_outcomes import published_outcome
from tickhandler_dagster.instance.pools import WAREHOUSE_WRITER
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_kinds import WarehouseKind
from tickhandler_dagster.market.warehouse_questions import day_question
from tickhandler_dagster.market.warehouse_tables import (
    WarehouseSource,
    WarehouseTable,
    warehouse_tables,
)
from tickhandler_dagster.partitions.grid import Grid, all_venues_of_the_day, days_of
from tickhandler_dagster.pipeline.warehouse_publish import (
    DayPublication,
    MonthlyPublication,
    Publisher,
)
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

GROUP = "warehouse"
LOADED = "loaded in this run"
"""Metadata of a published day: whether the table changed."""


def warehouse_key(table: WarehouseTable) -> dg.AssetKey:
    """The asset's key, `warehouse/<table>`."""
    return dg.AssetKey(["warehouse", table.name])


def tables_of(grid: Grid, windows: Windows) -> tuple[WarehouseTable, ...]:
    """Every table that the grid can have rows of, for features of these windows."""
    return tuple(
        table
        for table in warehouse_tables(windows)
        if table.source is not WarehouseSource.OPTIONS_SURFACE
        or DataType.OPTIONS_CHAIN in grid.by_type
    )


def build_warehouse_assets(
    grid: Grid, windows: Windows, kind: WarehouseKind
) -> list[dg.AssetsDefinition]:
    """One asset per table.

    Args:
        grid: Its days, and every venue whose rows a table holds.
        windows: Those of the features in the lake.
        kind: Which warehouse, for the catalogue.
    """
    return [_build(grid, table, kind) for table in tables_of(grid, windows)]


def _build(grid: Grid, table: WarehouseTable, kind: WarehouseKind) -> dg.AssetsDefinition:
    key = warehouse_key(table)
    venues = [VenueId(venue) for venue in grid.venues.get_partition_keys()]

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(
                dg.AssetKey(list(table.asset_path)), partition_mapping=all_venues_of_the_day()
            )
        ],
        partitions_def=grid.days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(key, (CheckName.PUBLISHED,), grid.days),
        output_required=False,
        pool=WAREHOUSE_WRITER,
        group_name=GROUP,
        kinds={kind.value},
        metadata={**column_schema(table.table), "dagster/table_name": table.name},
        description=_description(table),
    )
    def warehouse_table(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        warehouse: dg.ResourceParam[Warehouse],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        days = days_of(context)
        publication = MonthlyPublication(
            days,
            Publisher(table, lake, warehouse, venues).publish,
            task=key.to_user_string(),
            on_progress=progress,
        )

        def publish(day: dt.date) -> Outcomes:
            return {key: _outcome(table, publication.of(day))}

        yield from emit(context, days, publish)

    return warehouse_table


def _description(table: WarehouseTable) -> str:
    final = (
        f" The view `{table.final_view}` has the final rows alone." if table.has_final_rows else ""
    )
    return (
        f"Table `{table.name}` of the warehouse: {table.table.grain}.\n\n"
        f"A day is published whole, over all venues that the lake has, and replaces what the table "
        f"held of it; a day that has not changed is not loaded again. Materialize a day again "
        f"after its cells were built again.{final}"
    )


def _outcome(table: WarehouseTable, found: DayPublication) -> CellOutcome:
    receipt, final = found.receipt, found.final_rows
    finality = (
        {}
        if final is None
        else {
            "final rows": dg.MetadataValue.int(final),
            "provisional rows": dg.MetadataValue.int(found.rows - final),
        }
    )
    question = day_question(table, receipt.day)
    return CellOutcome(
        metadata={
            "dagster/partition_row_count": dg.MetadataValue.int(found.rows),
            **finality,
            "venues": dg.MetadataValue.int(len(found.rows_by_venue)),
            "rows by venue": dg.MetadataValue.md(
                markdown.table(
                    ["venue", "rows"],
                    [(venue, f"{rows:,}") for venue, rows in found.rows_by_venue.items()],
                )
            ),
            LOADED: dg.MetadataValue.bool(receipt.is_new),
            "bytes loaded": dg.MetadataValue.int(receipt.bytes),
            "cost of loading in USD": dg.MetadataValue.float(0.0),
            "load job": dg.MetadataValue.text(receipt.job_id or "none"),
            "query to try": dg.MetadataValue.md(f"```sql\n{question}\n```"),
        },
        data_version=found.day.digest,
        # No check that all rows are final: it would fail for the newest day every morning.
        checks=(published_outcome(found),),
        has_data=bool(found.day.objects) or receipt.is_new,
    )
