"""The asset `instruments`: the universe of a venue on a day, under canonical keys."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.checks.outcomes import CheckOutcome, schema_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments import Universe
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.partitions.grid import DATE, VENUE, Grid, cells_of
from tickhandler_dagster.pipeline.universe import StoredUniverse, build_instruments
from tickhandler_dagster.pipeline.verification import verify_instruments
from tickhandler_dagster.reporting import markdown

KEY = dg.AssetKey("instruments")


def build_instruments_asset(grid: Grid) -> dg.AssetsDefinition:
    """The asset over the core grid; its catalogue is found by venue alone."""
    by_venue = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=VENUE)

    @dg.asset(
        key=KEY,
        deps=[dg.AssetDep("exchange_catalog", partition_mapping=by_venue)],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, (CheckName.SCHEMA_HOLDS, CheckName.COMPLETE), grid.core),
        output_required=False,
        group_name="reference",
        kinds={"parquet"},
        metadata=column_schema(INSTRUMENTS_TABLE),
    )
    def instruments(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[Event]:
        """The point-in-time universe: one row per instrument that the venue lists on the day.

        Built from the stored catalogue, with contract terms as of the day.
        """

        def build(cell: VenueDay) -> Outcomes:
            return {KEY: _outcome(lake, cell, build_instruments(lake, cell))}

        yield from emit(context, cells_of(context), build)

    return instruments


def _outcome(lake: Lake, cell: VenueDay, stored: StoredUniverse) -> CellOutcome:
    frame = stored.universe.frame
    types = Counter(frame.get_column("instrument_type").to_list())
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=bool(frame.get_column("is_simulated").any())),
            DATE: dg.MetadataValue.text(cell.date.isoformat()),
            "dagster/partition_row_count": dg.MetadataValue.int(frame.height),
            "by type": dg.MetadataValue.md(
                markdown.table(["type", "instruments"], sorted(types.items()))
            ),
            "left out by policy": dg.MetadataValue.json(dict(stored.universe.excluded)),
            "without contract terms": dg.MetadataValue.int(
                frame.get_column("contract_size").null_count()
            ),
            "size in bytes": dg.MetadataValue.int(stored.bytes),
        },
        data_version=stored.sha256,
        checks=(schema_outcome(verify_instruments(lake, cell)), _complete(stored.universe)),
    )


def _complete(universe: Universe) -> CheckOutcome:
    """Every listed symbol has a key of its own."""
    unread = [(symbol, reason) for symbol, reason in universe.unparsed]
    unread += [
        (", ".join(item.symbols), f"read as one key {item.key}; kept: {item.kept or 'none'}")
        for item in universe.collisions
    ]
    return CheckOutcome(
        CheckName.COMPLETE,
        not unread,
        {
            "instruments": dg.MetadataValue.int(universe.frame.height),
            "symbols without a key": dg.MetadataValue.int(len(unread)),
        }
        | (
            {"symbols": dg.MetadataValue.md(markdown.table(["symbol", "reason"], unread))}
            if unread
            else {}
        ),
    )
