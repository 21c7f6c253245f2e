"""The asset `options_surface`: the implied volatility of every underlying of a venue and day."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets import instruments
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import heading, origin
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.checks.outcomes import chain_outcome, schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.options_surface import (
    OptionsSurfaceResult,
    build_options_surface,
)
from tickhandler_dagster.pipeline.surface_sums import drawn_surfaces, surface_sums
from tickhandler_dagster.pipeline.surface_verification import verify_options_surface
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.reporting.surface_pictures import SurfaceChart, draw_surfaces
from tickhandler_dagster.resources.platform import ProgressListener

KEY = dg.AssetKey("options_surface")
CHECKS = (CheckName.SCHEMA_HOLDS, CheckName.COMPLETE)


def build_options_surface_asset(grid: Grid) -> list[dg.AssetsDefinition]:
    """The asset over the venues that have a chain; none where no venue of the grid has one."""
    return [_build(grid)] if DataType.OPTIONS_CHAIN in grid.by_type else []


def _build(grid: Grid) -> dg.AssetsDefinition:
    # The definition object of the raw chain itself: only then can one run do both.
    days = grid.by_type[DataType.OPTIONS_CHAIN]

    @dg.asset(
        key=KEY,
        deps=[
            dg.AssetDep(raw_ticks_key(DataType.OPTIONS_CHAIN)),
            dg.AssetDep(
                instruments.KEY, partition_mapping=grid.upstream_of(DataType.OPTIONS_CHAIN)
            ),
        ],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, days),
        output_required=False,
        group_name="options",
        kinds={"parquet"},
        metadata=column_schema(OPTIONS_SURFACE_TABLE),
        description=(
            "Option surface: one row per bar's end, for each underlying of a venue and day.\n\n"
            "Implied volatility at constant maturities, skew, term structure, model-free variance, "
            "open interest and the quality of the chain, from the rows that had arrived by then. "
            "The day is that of arrival; nothing of a later file changes it."
        ),
    )
    def options_surface(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def build(cell: VenueDay) -> Outcomes:
            result = build_options_surface(
                cell, lake=lake, universe=read_instruments(lake, cell), on_progress=progress
            )
            return {KEY: _outcome(lake, result)}

        yield from emit(context, cells_of(context), build)

    return options_surface


def _outcome(lake: Lake, result: OptionsSurfaceResult) -> CellOutcome:
    sums = surface_sums(result.manifest)
    title = heading(f"options_surface {result.cell}", is_simulated=sums.is_simulated)
    charts = [SurfaceChart(*drawn) for drawn in drawn_surfaces(lake, result.manifest)]
    picture = markdown.picture(draw_surfaces(title, charts), title)
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=sums.is_simulated),
            "picture of the term structure": dg.MetadataValue.md(picture),
            "underlyings": dg.MetadataValue.md(_quality(sums.by_underlying)),
            "dagster/partition_row_count": dg.MetadataValue.int(sums.rows),
            "options": dg.MetadataValue.int(result.options),
            "raw rows": dg.MetadataValue.int(sums.raw_rows),
            "size in bytes": dg.MetadataValue.int(sums.bytes),
            "underlyings built": dg.MetadataValue.int(result.built),
        },
        data_version=sums.data_version,
        checks=(
            schema_outcome(verify_options_surface(lake, result.manifest)),
            chain_outcome(result.missing, options=result.options),
        ),
        has_data=result.manifest.height > 0,
    )


def _quality(rows: pl.DataFrame) -> str:
    return markdown.table(rows.columns, rows.iter_rows())
