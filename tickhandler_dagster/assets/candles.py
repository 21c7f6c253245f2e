"""The assets `candles/<timeframe>`: seven timeframes of a venue and day, one computation."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets import options_surface
from tickhandler_dagster.assets.candle_history import observe
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import heading, origin
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.checks.outcomes import conservation_outcome, schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.admission import MemoryGate
from tickhandler_dagster.pipeline.candle_channels import SOURCES
from tickhandler_dagster.pipeline.candle_sums import candle_sums, most_traded
from tickhandler_dagster.pipeline.candles import CandlesResult, build_candles
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.pipeline.verification import BarsVerdict, verify_candles
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.reporting.pictures import PriceChart, draw_prices
from tickhandler_dagster.resources.platform import ProgressListener

CHECKS = (CheckName.SCHEMA_HOLDS, CheckName.CONSERVES_TRADES)


def candles_key(timeframe: Timeframe) -> dg.AssetKey:
    """The asset's key, `candles/<timeframe>`."""
    return dg.AssetKey(["candles", timeframe.value])


def build_candles_asset(grid: Grid) -> dg.AssetsDefinition:
    """The seven assets over the core grid; any of them can be selected alone."""

    @dg.multi_asset(
        name="candles",
        specs=[_spec(timeframe, grid) for timeframe in Timeframe],
        check_specs=[
            spec
            for timeframe in Timeframe
            for spec in check_specs(candles_key(timeframe), CHECKS, grid.core)
        ],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def candles(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
        memory: dg.ResourceParam[MemoryGate],
    ) -> Iterator[Event]:
        wanted = [item for item in Timeframe if candles_key(item) in context.selected_asset_keys]

        def build(cell: VenueDay) -> Outcomes:
            result = build_candles(
                cell,
                lake=lake,
                catalog=stored_catalog(lake, cell.venue),
                universe=read_instruments(lake, cell),
                timeframes=wanted,
                memory=memory,
                on_progress=progress,
            )
            outcomes = _outcomes(lake, cell, result)
            observe(context, cell, outcomes)
            return outcomes

        yield from emit(context, cells_of(context), build)

    return candles


def _spec(timeframe: Timeframe, grid: Grid) -> dg.AssetSpec:
    return dg.AssetSpec(
        candles_key(timeframe),
        deps=list(_upstream(grid)),
        description=(
            f"Bars of {timeframe} with microstructure features: one row per bar of every "
            "instrument of a venue and day.\n\n"
            "The day is that of the bars, by exchange time. Bars near the edges of the day stay "
            "provisional until the neighbouring day's ticks are in; materialize the partition "
            "again to close it. Features stand on whatever of book, quotes, ticker, liquidations "
            "and option surface is in the lake; the dictionary of the columns is in "
            "docs/feature-dictionary.md."
        ),
        group_name="candles",
        kinds={"parquet"},
        metadata=column_schema(CANDLE_TABLE),
        skippable=True,
    )


def _upstream(grid: Grid) -> Iterator[dg.AssetDep]:
    """The raw types of the cell's own venue, and the option surfaces of its day on any venue."""
    for data_types in SOURCES.values():
        for data_type in data_types:
            if data_type in grid.by_type:
                yield dg.AssetDep(
                    raw_ticks_key(data_type), partition_mapping=grid.upstream_of(data_type)
                )
    if DataType.OPTIONS_CHAIN in grid.by_type:
        yield dg.AssetDep(
            options_surface.KEY, partition_mapping=grid.feeding_all(DataType.OPTIONS_CHAIN)
        )


def _outcomes(lake: Lake, cell: VenueDay, result: CandlesResult) -> Outcomes:
    is_simulated = any(candle_sums(item).is_simulated for item in result.manifests.values())
    title = heading(f"candles {cell}", is_simulated=is_simulated)
    charts = [PriceChart(key, bars) for key, bars in most_traded(lake, cell, result.manifests)]
    picture = markdown.picture(draw_prices(title, charts), title)
    verdicts = verify_candles(lake, cell, result.manifests)
    return {
        candles_key(timeframe): _outcome(timeframe, result, verdict, picture)
        for timeframe, verdict in verdicts.items()
    }


def _outcome(
    timeframe: Timeframe, result: CandlesResult, verdict: BarsVerdict, picture: str
) -> CellOutcome:
    manifest = result.manifests[timeframe]
    sums = candle_sums(manifest)
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=sums.is_simulated),
            "picture of price and volume": dg.MetadataValue.md(picture),
            "instruments": dg.MetadataValue.int(manifest.height),
            "dagster/partition_row_count": dg.MetadataValue.int(sums.bars),
            "bars by status": dg.MetadataValue.md(
                markdown.table(["status", "bars"], sums.by_status.items())
            ),
            "instruments by what features stand on": dg.MetadataValue.md(
                markdown.table(["input", "instruments"], sums.by_input.items())
            ),
            "final bars": dg.MetadataValue.int(sums.final_bars),
            "trades": dg.MetadataValue.int(sums.trades),
            "size in bytes": dg.MetadataValue.int(sums.bytes),
            "instruments built": dg.MetadataValue.int(result.built),
            "seconds waited for memory": dg.MetadataValue.float(round(result.memory_wait_s, 1)),
            "changes of this run, all timeframes": dg.MetadataValue.json(asdict(result.changes)),
            "files written": dg.MetadataValue.int(result.files_written),
        },
        data_version=sums.data_version,
        checks=(
            schema_outcome(verdict.schema),
            conservation_outcome(
                verdict.conservation, trades=verdict.trades, rows_used=sums.rows_used
            ),
        ),
        has_data=manifest.height > 0,
    )
