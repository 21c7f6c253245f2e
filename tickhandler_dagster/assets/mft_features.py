"""The assets `mft_features/<timeframe>`: what a mid-frequency strategy reads of a venue's day."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.candle_history import reading_days
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.checks.outcomes import halo_outcome, schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.halo import Halo, halo_of
from tickhandler_dagster.market.mft.warm_up import NULL_REASON_MEANINGS
from tickhandler_dagster.market.mft_table import table_of
from tickhandler_dagster.market.schema_check import SchemaReport
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.admission import MemoryGate
from tickhandler_dagster.pipeline.mft_features import MftResult, build_mft_features
from tickhandler_dagster.pipeline.mft_files import MftSums, mft_sums
from tickhandler_dagster.pipeline.mft_inputs import MftPlan
from tickhandler_dagster.pipeline.verification import verify_mft_features
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

CHECKS = (CheckName.SCHEMA_HOLDS, CheckName.HALO_IS_COMPLETE)


def mft_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset's key, `mft_features/<timeframe>`."""
    return dg.AssetKey(["mft_features", timeframe.value])


def build_mft_features_asset(grid: Grid, plan: MftPlan) -> dg.AssetsDefinition:
    """The six assets over the core grid; any of them can be selected alone."""

    @dg.multi_asset(
        name="mft_features",
        specs=[_spec(timeframe, plan) for timeframe in MFT_TIMEFRAMES],
        check_specs=[
            spec
            for timeframe in MFT_TIMEFRAMES
            for spec in check_specs(mft_key(timeframe), CHECKS, grid.core)
        ],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def mft_features(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
        memory: dg.ResourceParam[MemoryGate],
    ) -> Iterator[Event]:
        wanted = [item for item in MFT_TIMEFRAMES if mft_key(item) in context.selected_asset_keys]

        def build(cell: VenueDay) -> Outcomes:
            result = build_mft_features(
                cell,
                lake=lake,
                plan=plan,
                timeframes=wanted,
                memory=memory,
                on_progress=progress,
            )
            reports = verify_mft_features(
                lake, cell, result.manifests, table=table_of(plan.features)
            )
            return {
                mft_key(timeframe): _outcome(timeframe, result, report)
                for timeframe, report in reports.items()
            }

        yield from emit(context, cells_of(context), build)

    return mft_features


def _spec(timeframe: Timeframe, plan: MftPlan) -> dg.AssetSpec:
    halo = halo_of(plan.features, timeframe)
    reach = max(halo.own_days, halo.daily_days)
    return dg.AssetSpec(
        mft_key(timeframe),
        deps=list(_upstream(timeframe, halo)),
        description=(
            f"{len(plan.features)} mid-frequency features on final {timeframe} bars of a venue and "
            f"day, from its candles and those of up to {reach:,} days before it.\n\n"
            "A window that touches a missing, provisional or unobserved bar gives null, never a "
            "shorter window; the warm-up table says how many features have no value and why. "
            "Options are left out. Materialize the partition again after candles of earlier days, "
            "or of the same day on other venues, came in; nothing is computed where nothing "
            "changed. The dictionary of the columns is in docs/mft-dictionary.md."
        ),
        group_name="mft_features",
        kinds={"parquet"},
        metadata=column_schema(table_of(plan.features)),
        skippable=True,
    )


def _upstream(timeframe: Timeframe, halo: Halo) -> Iterator[dg.AssetDep]:
    """The cell's own candles, for order, and those of the days it reads, for what is out of date.

    The same day's candles of other venues are read too, where they are in the lake. No edge says
    so: it would make a day of one venue wait for all of them.
    """
    # Dagster has one mapping per upstream asset for all six: a 24 h day shows as out of date after
    # changes of the days that the others read too. What lies further back its digest knows.
    reach = {timeframe: halo.own_days}
    if halo.daily:
        reach[Timeframe.H24] = halo.daily_days
    for name, days in reach.items():
        yield dg.AssetDep(candles_key(name))
        yield reading_days(name, days)


def _outcome(timeframe: Timeframe, result: MftResult, report: SchemaReport) -> CellOutcome:
    manifest, missing = result.manifests[timeframe], result.missing[timeframe]
    sums = mft_sums(manifest)
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=sums.is_simulated),
            "instruments": dg.MetadataValue.int(manifest.height),
            "dagster/partition_row_count": dg.MetadataValue.int(sums.rows),
            "rows of final bars": dg.MetadataValue.int(sums.final_rows),
            "warm-up": dg.MetadataValue.md(_warm_up(sums, manifest.height)),
            "first values": dg.MetadataValue.md(_first_values(manifest)),
            "candle partitions of earlier days": dg.MetadataValue.int(sums.halo_partitions),
            "of these missing": dg.MetadataValue.int(len(missing)),
            "size in bytes": dg.MetadataValue.int(sums.bytes),
            "files built, all timeframes": dg.MetadataValue.int(result.built),
            "changes of this run, all timeframes": dg.MetadataValue.json(asdict(result.changes)),
            "files written": dg.MetadataValue.int(result.files_written),
        },
        data_version=sums.data_version,
        checks=(
            schema_outcome(report),
            halo_outcome(missing, partitions=sums.halo_partitions),
        ),
        has_data=manifest.height > 0,
    )


def _warm_up(sums: MftSums, instruments: int) -> str:
    """How many features an instrument has on average, and why it lacks the others."""
    rows = [
        ("with a value", sums.values, "on at least one bar of the day"),
        *(
            (f"null: {reason}", count, NULL_REASON_MEANINGS[reason])
            for reason, count in sums.nulls.items()
            if count
        ),
    ]
    return markdown.table(
        ["features", "per instrument", "all instruments", "meaning"],
        [
            (name, f"{count / max(instruments, 1):.1f}", f"{count:,}", text)
            for name, count, text in rows
        ],
    )


def _first_values(manifest: pl.DataFrame) -> str:
    rows = manifest.select(
        "instrument_key", "features_with_values", "first_value_at", "warm_at"
    ).rows()
    return markdown.table(
        ["instrument", "features with values", "first bar with a value", "all of them from"],
        [(key, count, first or "none", warm or "none") for key, count, first, warm in rows],
        limit=100,
    )
