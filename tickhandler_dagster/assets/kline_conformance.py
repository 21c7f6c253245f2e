"""The asset `kline_conformance`: how 1m candles agree with the venue's own klines."""

from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets import instruments
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.checks.kline_outcomes import kline_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.kline_differences_table import (
    DIFFERENCE_CAUSE_MEANINGS,
    KLINE_DIFFERENCES_TABLE,
)
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.kline_conformance import (
    KlineConformance,
    KlineSource,
    compare_with_klines,
)
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import ProgressListener

KEY = dg.AssetKey("kline_conformance")
CHECKS = (CheckName.CONFORMS,)


def build_kline_conformance_asset(
    grid: Grid, policy: QualityPolicy, *, has_source: bool
) -> list[dg.AssetsDefinition]:
    """The asset over the venues with public klines; none where the grid has no such venue.

    It is there also where `KLINES_SOURCE` is off: a run then fails and says what to set. Left out,
    it could not be found, and the partitions of an installation would hang on a variable. It is
    then in a group of its own, so that no job takes it along and fails.

    Args:
        grid: Its partitions.
        policy: How broken rules are taken.
        has_source: `KLINES_SOURCE` is not off.
    """
    group = "quality" if has_source else "opt_in"
    return [] if grid.klines is None else [_build(grid, grid.klines, policy, group)]


def _build(
    grid: Grid, days: dg.MultiPartitionsDefinition, policy: QualityPolicy, group: str
) -> dg.AssetsDefinition:
    @dg.asset(
        key=KEY,
        deps=[
            dg.AssetDep(upstream, partition_mapping=grid.upstream_of_klines())
            for upstream in (candles_key(Timeframe.M1), instruments.KEY)
        ],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, days),
        output_required=False,
        group_name=group,
        kinds={"parquet"},
        metadata=column_schema(KLINE_DIFFERENCES_TABLE),
        description=(
            "Candles of 1m against the venue's own klines: one row per minute that differs, with "
            "both sides and what explains it.\n\n"
            "Opt-in: set KLINES_SOURCE to venue (public API, no key) or to a file or folder of "
            "klines; while it is off a run fails and says so. Klines are a second witness, not "
            "the truth: nothing is repaired from them."
        ),
    )
    def kline_conformance(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        klines: dg.ResourceParam[KlineSource],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def compare(cell: VenueDay) -> Outcomes:
            result = compare_with_klines(cell, lake=lake, source=klines, on_progress=progress)
            return {KEY: _outcome(result, policy)}

        yield from emit(context, cells_of(context), compare)

    return kline_conformance


def _outcome(result: KlineConformance, policy: QualityPolicy) -> CellOutcome:
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=result.is_simulated),
            **({} if result.rate is None else {"conformance rate": _float(result.rate)}),
            "conformance by instrument": dg.MetadataValue.md(_by_instrument(result)),
            "differences by cause": dg.MetadataValue.md(_by_cause(result)),
            "minutes compared": dg.MetadataValue.int(result.minutes),
            "dagster/partition_row_count": dg.MetadataValue.int(sum(result.by_cause.values())),
            "requests": dg.MetadataValue.int(result.requests),
        }
        | ({"without klines": dg.MetadataValue.md(_absent(result))} if result.absent else {}),
        data_version=result.content_sha256,
        checks=(kline_outcome(result, policy),),
    )


def _float(value: float) -> dg.MetadataValue:
    return dg.MetadataValue.float(value)


def _by_instrument(result: KlineConformance) -> str:
    """The worst ones first."""
    ranked = sorted(result.instruments, key=lambda one: (one.rate is None, one.rate or 0.0))
    return markdown.table(
        ["instrument", "conformance rate", "minutes", "that differ"],
        [
            (
                one.instrument_key,
                "nothing compared" if one.rate is None else f"{one.rate:.6f}",
                f"{one.minutes:,}",
                f"{one.differing:,}",
            )
            for one in ranked
        ],
    )


def _by_cause(result: KlineConformance) -> str:
    return markdown.table(
        ["cause", "minutes", "meaning"],
        [
            (cause, f"{count:,}", DIFFERENCE_CAUSE_MEANINGS[cause])
            for cause, count in result.by_cause.items()
        ],
    )


def _absent(result: KlineConformance) -> str:
    return markdown.table(["instrument", "reason"], result.absent.items())
