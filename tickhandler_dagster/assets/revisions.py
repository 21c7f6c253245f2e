"""The asset `revisions`: what the vendor has today of the files that were taken on a day."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.checks.revision_outcomes import revisions_outcome, states_table
from tickhandler_dagster.market.data_types import parse_data_type
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.revisions_table import REVISIONS_TABLE
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.recheck import RecheckResult, RevisionSource, recheck
from tickhandler_dagster.resources.platform import ProgressListener

KEY = dg.AssetKey("revisions")
CHECKS = (CheckName.UNREVISED,)

_DESCRIPTION = (
    "Revisions: one row per vendor file that was taken, with what the vendor has of it today.\n\n"
    "Sizes are compared, and headers with those of earlier looks; `content` compares hashes. A "
    "partition is green when somebody looked; its check says what was found. "
    "`tickhandler recheck --repair` fetches what changed again."
)


class RecheckConfig(dg.Config):
    """Run config of a recheck.

    Attributes: see the description of each.
    """

    data_types: list[str] = Field(
        default=[], description="Data types to ask about; all that were taken where empty."
    )
    content: bool = Field(
        default=False,
        description="Read every file whole and compare hashes: proof, at the price of a download.",
    )


def build_revisions_asset(grid: Grid) -> dg.AssetsDefinition:
    """The asset over the core grid.

    It asks the vendor, once per file, so that it is in a group of its own that `validate` and
    selections of `quality` do not take along.

    Args:
        grid: Its partitions.
    """

    @dg.asset(
        key=KEY,
        deps=[
            dg.AssetDep(raw_ticks_key(data_type), partition_mapping=grid.upstream_of(data_type))
            for data_type in grid.by_type
        ],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, grid.core),
        output_required=False,
        group_name="vendor",
        kinds={"parquet"},
        metadata=column_schema(REVISIONS_TABLE),
        description=_DESCRIPTION,
    )
    def revisions(
        context: dg.AssetExecutionContext,
        config: RecheckConfig,
        lake: dg.ResourceParam[Lake],
        revision_source: dg.ResourceParam[RevisionSource],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def look(cell: VenueDay) -> Outcomes:
            result = recheck(
                cell,
                lake=lake,
                data_types=tuple(map(parse_data_type, config.data_types)),
                probe=revision_source,
                content=config.content,
                on_progress=progress,
            )
            return {KEY: _outcome(result)}

        yield from emit(context, cells_of(context), look)

    return revisions


def _outcome(result: RecheckResult) -> CellOutcome:
    is_simulated = any(item.taken.is_simulated for item in result.revisions)
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=is_simulated),
            "states": dg.MetadataValue.md(states_table(result)),
            "dagster/partition_row_count": dg.MetadataValue.int(len(result.revisions)),
            "files asked about": dg.MetadataValue.int(result.asked),
            "size in bytes": dg.MetadataValue.int(result.bytes),
        },
        data_version=result.sha256,
        checks=(revisions_outcome(result),),
    )
