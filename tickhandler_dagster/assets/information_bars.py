"""The assets `bars/<kind>`: three kinds of information-driven bars of a venue and day."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.checks.outcomes import conservation_outcome, schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.bar_kinds import BARS_PER_DAY, BarKind
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog
from tickhandler_dagster.pipeline.information_bar_files import information_bar_sums
from tickhandler_dagster.pipeline.information_bars import (
    InformationBarsResult,
    build_information_bars,
)
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.pipeline.verification import BarsVerdict, verify_information_bars
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

CHECKS = (CheckName.SCHEMA_HOLDS, CheckName.CONSERVES_TRADES)


def bars_key(kind: BarKind) -> dg.AssetKey:
    """The asset's key, `bars/<kind>`."""
    return dg.AssetKey(["bars", kind.value])


def build_information_bars_asset(grid: Grid) -> dg.AssetsDefinition:
    """The three assets over the core grid; any of them can be selected alone."""

    @dg.multi_asset(
        name="bars",
        specs=[_spec(kind, grid) for kind in BarKind],
        check_specs=[
            spec for kind in BarKind for spec in check_specs(bars_key(kind), CHECKS, grid.core)
        ],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def bars(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        wanted = [kind for kind in BarKind if bars_key(kind) in context.selected_asset_keys]

        def build(cell: VenueDay) -> Outcomes:
            result = build_information_bars(
                cell,
                lake=lake,
                catalog=stored_catalog(lake, cell.venue),
                universe=read_instruments(lake, cell),
                kinds=wanted,
                on_progress=progress,
            )
            verdicts = verify_information_bars(lake, cell, result.manifests)
            return {
                bars_key(kind): _outcome(kind, result, verdict)
                for kind, verdict in verdicts.items()
            }

        yield from emit(context, cells_of(context), build)

    return bars


def _spec(kind: BarKind, grid: Grid) -> dg.AssetSpec:
    return dg.AssetSpec(
        bars_key(kind),
        deps=[
            dg.AssetDep(
                raw_ticks_key(DataType.TRADES), partition_mapping=grid.upstream_of(DataType.TRADES)
            ),
            # The candle that is read is the day before's. An edge that says so makes Dagster's
            # backfills of candles and bars ask for bars of one day more than was chosen, and split
            # them into runs; this one only puts the candles of a range before its bars.
            dg.AssetDep(candles_key(Timeframe.H24)),
        ],
        description=(
            f"{kind.capitalize()} bars of every instrument of a venue and day: a bar closes when "
            f"its {kind.measure} reaches 1 / {BARS_PER_DAY:,} of the day before's.\n\n"
            "The threshold comes from the 24h candle of the day before; an instrument without one "
            "has no bars that day, and the manifest says why. The last bar of a day may be "
            "incomplete. Bars stay provisional until both neighbouring days' ticks are in; "
            "materialize the partition again to close them."
        ),
        group_name="bars",
        kinds={"parquet"},
        metadata=column_schema(INFORMATION_BAR_TABLE),
        skippable=True,
    )


def _outcome(kind: BarKind, result: InformationBarsResult, verdict: BarsVerdict) -> CellOutcome:
    manifest = result.manifests[kind]
    sums = information_bar_sums(manifest)
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=sums.is_simulated),
            "instruments": dg.MetadataValue.int(manifest.height),
            "dagster/partition_row_count": dg.MetadataValue.int(sums.bars),
            "instruments by threshold": dg.MetadataValue.md(
                markdown.table(["threshold", "instruments"], sums.by_threshold.items())
            ),
            "final bars": dg.MetadataValue.int(sums.final_bars),
            "trades": dg.MetadataValue.int(sums.trades),
            "size in bytes": dg.MetadataValue.int(sums.bytes),
            "instruments built": dg.MetadataValue.int(result.built),
            "changes of this run, all kinds": dg.MetadataValue.json(asdict(result.changes)),
            "files written": dg.MetadataValue.int(result.files_written),
        }
        | _without_bars(manifest),
        data_version=sums.data_version,
        checks=(
            schema_outcome(verdict.schema),
            conservation_outcome(
                verdict.conservation, trades=verdict.trades, rows_used=sums.rows_due
            ),
        ),
        has_data=manifest.height > 0,
    )


def _without_bars(manifest: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    """The instruments without a threshold, each with the reason; nothing where all have one."""
    reasons = manifest.drop_nulls("reason").select("instrument_key", "reason").rows()
    if not reasons:
        return {}
    table = markdown.table(["instrument", "reason"], reasons, limit=100)
    return {"instruments without bars": dg.MetadataValue.md(table)}
