"""The asset `live_parity`: live bars of a day against the batch's bars of it."""

from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.checks.live_outcomes import parity_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.live.live_differences_table import (
    LIVE_DIFFERENCE_MEANINGS,
    LIVE_DIFFERENCES_TABLE,
)
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.live_parity import LiveParity, compare_live_day
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

KEY = dg.AssetKey("live_parity")
CHECKS = (CheckName.AGREES,)
GROUP = "live"

SHOWN = 50
"""Instruments in a listing; the differences table has them all."""


def build_live_parity_asset(grid: Grid, policy: QualityPolicy) -> dg.AssetsDefinition:
    """The asset over the core grid, in the group of what is live: no other job takes it along.

    Args:
        grid: Its partitions.
        policy: How broken rules are taken.
    """

    @dg.asset(
        key=KEY,
        deps=[dg.AssetDep(candles_key(timeframe)) for timeframe in Timeframe],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, grid.core),
        output_required=False,
        group_name=GROUP,
        kinds={"parquet"},
        metadata=column_schema(LIVE_DIFFERENCES_TABLE),
        description=(
            "Live bars of a venue's day against the batch's, bit by bit: one row per bar and cause "
            "of a difference.\n\n"
            "Materialize it once the day's candles are there; the job `compare_live` does, and its "
            "schedule every day. A day on which nothing was live stays empty."
        ),
    )
    def live_parity(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def compare(cell: VenueDay) -> Outcomes:
            parity = compare_live_day(cell, lake=lake, on_progress=progress)
            if not parity.has_live_bars:
                context.log.info("%s: no live bars in the lake, nothing to compare", cell)
            return {KEY: _outcome(parity, policy)}

        yield from emit(context, cells_of(context), compare)

    return live_parity


def _outcome(parity: LiveParity, policy: QualityPolicy) -> CellOutcome:
    rates = {
        "match rate": parity.match_rate,
        "match rate in every column": parity.equal_rate,
    }
    return CellOutcome(
        metadata={
            **{
                name: dg.MetadataValue.float(rate)
                for name, rate in rates.items()
                if rate is not None
            },
            "bars compared": dg.MetadataValue.int(parity.bars),
            "bars that differ by cause": dg.MetadataValue.md(_by_cause(parity)),
            "match rate by timeframe": dg.MetadataValue.md(_by_timeframe(parity)),
            "match rate by instrument": dg.MetadataValue.md(_by_instrument(parity)),
            "sample of differences": dg.MetadataValue.md(_sample(parity)),
            "batch bars before or after the live session": dg.MetadataValue.int(parity.outside),
            "live bars never completed": dg.MetadataValue.int(parity.provisional),
            "instruments with live ticks as evidence": dg.MetadataValue.int(parity.with_ticks),
            "dagster/partition_row_count": dg.MetadataValue.int(sum(parity.by_cause.values())),
        }
        | (
            {"live alone": dg.MetadataValue.md(markdown.table(["instrument"], _alone(parity)))}
            if parity.without_batch
            else {}
        ),
        data_version=parity.content_sha256,
        checks=(parity_outcome(parity, policy),),
        has_data=parity.has_live_bars,
    )


def _alone(parity: LiveParity) -> list[tuple[str]]:
    return [(key,) for key in parity.without_batch]


def _by_cause(parity: LiveParity) -> str:
    return markdown.table(
        ["cause", "bars", "meaning"],
        [
            (cause, f"{bars:,}", LIVE_DIFFERENCE_MEANINGS[cause])
            for cause, bars in parity.by_cause.items()
        ],
    )


def _by_timeframe(parity: LiveParity) -> str:
    return markdown.table(
        ["timeframe", "match rate", "bars"],
        [
            (timeframe, f"{agreeing / bars:.6f}" if bars else "nothing compared", f"{bars:,}")
            for timeframe, (bars, agreeing) in parity.by_timeframe.items()
        ],
    )


def _by_instrument(parity: LiveParity) -> str:
    """The worst ones first."""
    ranked = sorted(parity.instruments, key=lambda one: one.agreeing / max(one.bars, 1))
    return markdown.table(
        ["instrument", "match rate", "bars", "that differ"],
        [
            (
                one.instrument_key,
                f"{one.agreeing / one.bars:.6f}" if one.bars else "nothing compared",
                f"{one.bars:,}",
                f"{one.bars - one.agreeing:,}",
            )
            for one in ranked
        ],
        limit=SHOWN,
    )


def _sample(parity: LiveParity) -> str:
    return markdown.table(
        ["instrument", "timeframe", "opens", "cause", "sample: live against batch", "columns"],
        [
            (
                row["instrument_key"],
                row["timeframe"],
                f"{row['ts_open']:%H:%M:%S}",
                row["cause"],
                row["sample"] or "one side has no bar",
                len(row["fields"]),
            )
            for row in parity.sample.iter_rows(named=True)
        ],
    )
