"""The asset `completeness`: for everything a venue should have on a day, one state and reason."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets import instruments
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import heading, origin
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.checks.completeness import cell_outcome, states_table
from tickhandler_dagster.checks.findings import findings_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE, Completeness
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.holes import duration
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.quality.verdicts import RANK
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.completeness import CompletenessResult, build_completeness
from tickhandler_dagster.pipeline.count_audit import audit_counts
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.reporting.completeness_pictures import draw_completeness

KEY = dg.AssetKey("completeness")
CHECKS = (CheckName.COMPLETE, CheckName.PLAUSIBLE)

_DESCRIPTION = (
    "Completeness: one row per instrument and data type of a venue and day, with its state, the "
    "reason, and how the quality policy takes it.\n\n"
    "Made from the catalogue, manifests and audits, without reading ticks; also where nothing was "
    "ingested. Materialize it again after a data type came in."
)


def build_completeness_asset(
    grid: Grid, policy: QualityPolicy, downloads: Mapping[VenueId, Sequence[DataType]]
) -> dg.AssetsDefinition:
    """The asset over the core grid.

    Args:
        grid: Its partitions.
        policy: How states and broken rules are taken.
        downloads: Data types that this installation downloads, by venue; others are not missed.
    """

    @dg.asset(
        key=KEY,
        deps=[
            dg.AssetDep(instruments.KEY),
            *(
                dg.AssetDep(raw_ticks_key(data_type), partition_mapping=grid.upstream_of(data_type))
                for data_type in grid.by_type
            ),
        ],
        partitions_def=grid.core,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(KEY, CHECKS, grid.core),
        output_required=False,
        group_name="quality",
        kinds={"parquet"},
        metadata=column_schema(COMPLETENESS_TABLE),
        description=_DESCRIPTION,
    )
    def completeness(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[Event]:
        def build(cell: VenueDay) -> Outcomes:
            audit_counts(lake, cell)
            result = build_completeness(
                cell,
                lake=lake,
                catalog=stored_catalog(lake, cell.venue),
                universe=read_instruments(lake, cell),
                data_types=downloads.get(cell.venue, ()),
                policy=policy,
            )
            return {KEY: _outcome(result, policy)}

        yield from emit(context, cells_of(context), build)

    return completeness


def _outcome(result: CompletenessResult, policy: QualityPolicy) -> CellOutcome:
    rows = result.rows
    is_simulated = any(row.is_simulated for row in rows)
    title = heading(f"completeness {result.cell}", is_simulated=is_simulated)
    lost = [row.lost_trades for row in rows if row.lost_trades is not None]
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=is_simulated),
            "states by data type": dg.MetadataValue.md(states_table(rows)),
            "picture of the states": dg.MetadataValue.md(
                markdown.picture(_picture(title, rows), title)
            ),
            "dagster/partition_row_count": dg.MetadataValue.int(len(rows)),
            "holes": dg.MetadataValue.int(sum(row.gaps for row in rows)),
            "time in holes, all instruments": dg.MetadataValue.text(
                duration(sum(row.gap_us for row in rows))
            ),
            "lost trades": dg.MetadataValue.int(sum(lost)),
            "instruments whose trade numbers count up": dg.MetadataValue.int(len(lost)),
            "size in bytes": dg.MetadataValue.int(result.bytes),
        },
        data_version=result.sha256,
        checks=(cell_outcome(rows), findings_outcome(result.findings, policy)),
    )


def _picture(title: str, rows: Sequence[Completeness]) -> bytes:
    """The matrix of states, instruments with the worst verdicts on top."""
    data_types = sorted({row.data_type for row in rows})
    by_instrument: dict[str, dict[DataType, Completeness]] = {}
    for row in rows:
        by_instrument.setdefault(row.instrument_key, {})[row.data_type] = row
    badness = {
        key: sum(RANK[row.verdict] for row in found.values())
        for key, found in by_instrument.items()
    }
    lines: list[tuple[str, list[DataState | None]]] = [
        (key, [_state(by_instrument[key].get(data_type)) for data_type in data_types])
        for key in sorted(by_instrument, key=lambda key: (-badness[key], key))
    ]
    return draw_completeness(title, data_types, lines)


def _state(row: Completeness | None) -> DataState | None:
    return None if row is None else row.state
