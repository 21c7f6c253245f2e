"""The asset `exchange_catalog`: per venue, the vendor's latest word on what it has of it."""

from collections.abc import Iterator, Mapping

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import origin
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import Grid
from tickhandler_dagster.pipeline.exchange_catalog import FetchedCatalog, fetch_exchange_catalog
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.resources.platform import Vendor

KEY = dg.AssetKey("exchange_catalog")


def build_exchange_catalog(grid: Grid) -> dg.AssetsDefinition:
    """The asset over the grid's venues."""

    @dg.asset(
        key=KEY,
        partitions_def=grid.venues,
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
        group_name="reference",
        kinds={"json"},
    )
    def exchange_catalog(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        vendor: dg.ResourceParam[Vendor],
    ) -> Iterator[Event]:
        """What a venue lists and what the vendor has exported of it; one reply per venue.

        Refresh it daily: a new listing, the end of the export and incidents reach the platform
        through it alone.
        """

        def fetch(venue: VenueId) -> Outcomes:
            return {KEY: _outcome(fetch_exchange_catalog(vendor.metadata, lake, venue))}

        yield from emit(context, [VenueId(key) for key in context.partition_keys], fetch)

    return exchange_catalog


def _outcome(fetched: FetchedCatalog) -> CellOutcome:
    return CellOutcome(metadata=catalog_metadata(fetched), data_version=fetched.sha256)


def catalog_metadata(fetched: FetchedCatalog) -> Mapping[str, dg.MetadataValue]:
    """What a refreshed catalogue says of its venue, by a run or by the clock."""
    catalog = fetched.catalog
    incidents = markdown.table(
        ["from", "to", "status", "details"],
        [(item.start, item.end or "now", item.status, item.details) for item in catalog.incidents],
    )
    metadata: dict[str, dg.MetadataValue] = {
        "source": origin(is_simulated=catalog.is_simulated),
        "instruments": dg.MetadataValue.int(len(catalog.symbols)),
        "exported from": dg.MetadataValue.text(catalog.exported_from.isoformat()),
        "exported until": dg.MetadataValue.text(catalog.exported_until.isoformat()),
        "contract terms": dg.MetadataValue.text(
            "not covered by the key; rules of the venue are used"
            if fetched.contracts is None
            else f"{len(fetched.contracts)} records"
        ),
        "size in bytes": dg.MetadataValue.int(fetched.bytes),
    }
    return metadata | ({"incidents": dg.MetadataValue.md(incidents)} if catalog.incidents else {})
