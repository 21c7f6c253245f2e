"""The asset `bar_audit`: a day's stored bars against each other and against other prices."""

from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.checks.bar_outcomes import prices_outcome, rolls_up_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.bar_audit import BarAudit, audit_bars
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

KEY = dg.AssetKey("bar_audit")
CHECKS = (CheckName.ROLLS_UP, CheckName.PRICES_AGREE)


def build_bar_audit_asset(grid: Grid, policy: QualityPolicy) -> dg.AssetsDefinition:
    """The asset over the core grid.

    Args:
        grid: Its partitions.
        policy: How broken rules are taken.
    """

    @dg.asset(
        key=KEY,
        # Of other venues' candles no edge says that they are read: it would make a day of one
        # venue wait for all of them.
        deps=[dg.AssetDep(candles_key(timeframe)) for timeframe in Timeframe],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, grid.core),
        output_required=False,
        group_name="quality",
        kinds={"parquet"},
        metadata=column_schema(FINDINGS_TABLE),
        description=(
            "Audit of a venue's bars of a day: one row per instrument and broken rule.\n\n"
            "Bars of 1m to 24h against what the stored 15 s bars add up to; closes of spot against "
            "perpetual, on the venue that goes with it where its candles of the day are in the "
            "lake, and against the venue's index price; trades against the quotes they arrived "
            "after. Materialize it again after candles of the other venue came in."
        ),
    )
    def bar_audit(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def build(cell: VenueDay) -> Outcomes:
            audit = audit_bars(cell, lake=lake, on_progress=progress)
            return {KEY: _outcome(audit, policy)}

        yield from emit(context, cells_of(context), build)

    return bar_audit


def _outcome(audit: BarAudit, policy: QualityPolicy) -> CellOutcome:
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=audit.is_simulated),
            "dagster/partition_row_count": dg.MetadataValue.int(
                len(audit.roll_up) + len(audit.prices) + len(audit.quotes)
            ),
            "instruments": dg.MetadataValue.int(audit.instruments),
            "bars held against 15 s bars": dg.MetadataValue.int(audit.bars),
            "instruments held against an index price": dg.MetadataValue.int(audit.with_index),
            "instruments held against quotes": dg.MetadataValue.int(audit.with_quotes),
            "spot and perpetual": dg.MetadataValue.md(
                markdown.table(["instrument", "held against"], sorted(audit.pairs.items()))
            ),
        },
        data_version=audit.data_version,
        checks=(rolls_up_outcome(audit, policy), prices_outcome(audit, policy)),
        has_data=audit.instruments > 0,
    )
