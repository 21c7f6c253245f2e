"""The assets `mft_sets/<name>`: named sets of mid-frequency features, as settings list them."""

from collections.abc import Iterator, Sequence

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.mft_features import mft_key
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.checks.outcomes import schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.mft_inputs import MftPlan
from tickhandler_dagster.pipeline.mft_sets import build_mft_set, table_of_set, verify_mft_set

CHECKS = (CheckName.SCHEMA_HOLDS,)


def mft_set_key(chosen: FeatureSet) -> dg.AssetKey:
    """The asset's key, `mft_sets/<name>`."""
    return dg.AssetKey(["mft_sets", chosen.name])


def build_mft_set_assets(
    grid: Grid, plan: MftPlan, sets: Sequence[FeatureSet]
) -> list[dg.AssetsDefinition]:
    """An asset per set over the core grid.

    Raises:
        InvalidSetting: a pattern of a set chooses no feature.
    """
    return [_set_asset(grid, plan, chosen) for chosen in sets]


def _set_asset(grid: Grid, plan: MftPlan, chosen: FeatureSet) -> dg.AssetsDefinition:
    key, table = mft_set_key(chosen), table_of_set(chosen, plan)

    @dg.multi_asset(
        name=f"mft_sets__{chosen.name}",
        specs=[
            dg.AssetSpec(
                key,
                deps=[mft_key(timeframe) for timeframe in chosen.timeframes],
                description=(
                    f"The set `{chosen.name}`: chosen columns of mft_features for "
                    f"{', '.join(chosen.timeframes)}, cut from the stored rows."
                ),
                group_name="mft_sets",
                kinds={"parquet"},
                metadata=column_schema(table),
                skippable=True,
            )
        ],
        check_specs=check_specs(key, CHECKS, grid.core),
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def mft_set(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Event]:
        def build(cell: VenueDay) -> Outcomes:
            result = build_mft_set(cell, chosen, lake=lake, plan=plan)
            report = verify_mft_set(lake, cell, chosen, plan=plan, manifest=result.manifest)
            is_simulated = bool(result.manifest["is_simulated"].any())
            return {
                key: CellOutcome(
                    metadata={
                        "source": origin(is_simulated=is_simulated),
                        "files": dg.MetadataValue.int(result.manifest.height),
                        "dagster/partition_row_count": dg.MetadataValue.int(
                            int(result.manifest["rows"].sum())
                        ),
                        "size in bytes": dg.MetadataValue.int(int(result.manifest["bytes"].sum())),
                        "files written": dg.MetadataValue.int(result.files_written),
                    },
                    data_version=result.data_version,
                    checks=(schema_outcome(report),),
                    has_data=result.manifest.height > 0,
                )
            }

        yield from emit(context, cells_of(context), build)

    return mft_set
