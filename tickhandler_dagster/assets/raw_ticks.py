"""The assets `raw_ticks/<data type>`: the vendor's daily files as verified Parquet."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import dagster as dg
from pydantic import Field

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets import instruments
from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.events import CellOutcome, Event, Outcomes, emit
from tickhandler_dagster.assets.origin import heading, origin
from tickhandler_dagster.checks.completeness import ingest_outcome
from tickhandler_dagster.checks.outcomes import CheckOutcome, ticks_outcome
from tickhandler_dagster.checks.policy import CheckName, check_specs
from tickhandler_dagster.instance.pools import TARDIS
from tickhandler_dagster.market.completeness import TypeEvidence, ingested_rows
from tickhandler_dagster.market.completeness_table import Completeness
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.restriction import Restriction, parse_instrument_type
from tickhandler_dagster.partitions.grid import Grid, cells_of
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, RawTicksResult, ingest_raw_ticks
from tickhandler_dagster.pipeline.tick_audits import RawAudit, audit_raw_ticks
from tickhandler_dagster.pipeline.universe import read_instruments
from tickhandler_dagster.reporting import markdown
from tickhandler_dagster.reporting.pictures import draw_states
from tickhandler_dagster.resources.platform import ProgressListener, Vendor

FAMILY = "raw_ticks"
FILES_FETCHED = "files fetched"
"""Metadata of a materialization: what it got from the vendor."""


_DESCRIPTION = (
    "verified ticks of every instrument of a venue and day.\n\n"
    "The day is that of the vendor's file, cut by arrival time. A partition holds what there is; "
    "its check `complete` says what there is not; running it again fetches only what is missing."
)


class RawTicksConfig(dg.Config):
    """Run config of a raw asset.

    Attributes:
        force: Fetch every file again, also those that are there.
        instruments: Canonical keys whose files are fetched again; all others are kept.
        instrument_types: Types of instruments to fetch; all where empty. What is left out is
            `not_ingested`, and the check `complete` says so.
        max_instruments: So many instruments at most, the first by their keys; 0 for all.
        max_workers: Files downloaded at the same time; 0 for what the settings say.
    """

    force: bool = False
    instruments: list[str] = Field(default=[])
    instrument_types: list[str] = Field(default=[])
    max_instruments: int = Field(default=0, ge=0)
    max_workers: int = Field(default=0, ge=0, le=1000)

    @property
    def restriction(self) -> Restriction:
        """Which instruments the run takes.

        Raises:
            InvalidInput: a type is unknown.
        """
        types = frozenset(map(parse_instrument_type, self.instrument_types))
        return Restriction(types, self.max_instruments)

    def limits(self, usual: IngestLimits) -> IngestLimits:
        """How much happens at once in this run."""
        if not self.max_workers:
            return usual
        return replace(usual, max_concurrent_requests=self.max_workers)


def raw_ticks_key(data_type: DataType) -> dg.AssetKey:
    """The asset's key, `raw_ticks/<data type>`."""
    return dg.AssetKey([FAMILY, data_type.value])


def build_raw_ticks(grid: Grid, policy: QualityPolicy) -> list[dg.AssetsDefinition]:
    """One asset for every data type that a venue of the grid can have.

    Args:
        grid: Their partitions.
        policy: How states and broken rules are taken.
    """
    return [_build(grid, data_type, policy) for data_type in grid.by_type]


def _build(grid: Grid, data_type: DataType, policy: QualityPolicy) -> dg.AssetsDefinition:
    key = raw_ticks_key(data_type)
    days = grid.by_type[data_type]

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(instruments.KEY, partition_mapping=grid.upstream_of(data_type))],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(key, (CheckName.SCHEMA_HOLDS, CheckName.COMPLETE), days),
        output_required=False,
        pool=TARDIS,
        group_name=FAMILY,
        kinds={"parquet"},
        metadata=column_schema(RAW_TABLES[data_type].stored),
        description=f"{data_type}: {_DESCRIPTION}",
    )
    def raw_ticks(
        context: dg.AssetExecutionContext,
        config: RawTicksConfig,
        *,
        lake: dg.ResourceParam[Lake],
        vendor: dg.ResourceParam[Vendor],
        limits: dg.ResourceParam[IngestLimits],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[Event]:
        def ingest(cell: VenueDay) -> Outcomes:
            catalog, universe = stored_catalog(lake, cell.venue), read_instruments(lake, cell)
            result = ingest_raw_ticks(
                cell,
                data_type,
                lake=lake,
                catalog=catalog,
                universe=universe,
                datasets=vendor.datasets,
                limits=config.limits(limits),
                force=config.force,
                again=frozenset(config.instruments),
                restriction=config.restriction,
                on_progress=progress,
            )
            audit = audit_raw_ticks(
                lake, cell, data_type, rows=result.rows, universe=universe, catalog=catalog
            )
            return {key: _outcome(f"{key.to_user_string()} {cell}", result, audit, policy)}

        yield from emit(context, cells_of(context), ingest)

    return raw_ticks


def _outcome(
    subject: str, result: RawTicksResult, audit: RawAudit, policy: QualityPolicy
) -> CellOutcome:
    rows = result.rows
    known = ingested_rows(
        TypeEvidence(manifest=rows, audits=audit.audits, gaps=audit.gaps, findings=audit.findings),
        policy,
    )
    is_simulated = any(row.is_simulated for row in rows)
    title = heading(subject, is_simulated=is_simulated)
    states = Counter(str(row.state) for row in known)
    attempts = ingested_rows(TypeEvidence(manifest=result.not_replaced), policy)
    picture = draw_states(title, [(row.instrument_key, row.state) for row in known])
    stamps = [stamp for row in rows for stamp in (row.first_timestamp, row.last_timestamp) if stamp]
    return CellOutcome(
        metadata={
            "source": origin(is_simulated=is_simulated),
            # Apart: the page shows a short table in place, a picture behind a link.
            "states": dg.MetadataValue.md(markdown.table(["state", "instruments"], states.items())),
            "picture of the states": dg.MetadataValue.md(markdown.picture(picture, title)),
            "instruments": dg.MetadataValue.int(len(rows)),
            "dagster/partition_row_count": dg.MetadataValue.int(sum(row.rows for row in rows)),
            "rows in quarantine": dg.MetadataValue.int(sum(row.quarantined_rows for row in rows)),
            "size in bytes": dg.MetadataValue.int(sum(row.bytes for row in rows)),
            FILES_FETCHED: dg.MetadataValue.int(result.fetched),
            "instruments kept": dg.MetadataValue.int(result.reused),
            "instruments not replaced": dg.MetadataValue.int(len(attempts)),
            "fetched bytes": dg.MetadataValue.int(result.fetched_bytes),
            "seconds waited for memory": dg.MetadataValue.float(round(result.memory_wait_s, 1)),
            "tick files read by the checks": dg.MetadataValue.int(audit.files_read),
        }
        | (
            {
                "first exchange time": dg.MetadataValue.text(min(stamps).isoformat()),
                "last exchange time": dg.MetadataValue.text(max(stamps).isoformat()),
            }
            if stamps
            else {}
        ),
        data_version=result.data_version,
        checks=_checks(known, attempts, audit, policy),
        # Nothing was made: the earlier run's materialization is still the latest.
        has_data=result.has_data and not result.is_refused,
        problem=result.problem,
    )


def _checks(
    known: Sequence[Completeness],
    attempts: Sequence[Completeness],
    audit: RawAudit,
    policy: QualityPolicy,
) -> tuple[CheckOutcome, ...]:
    # What became of the vendor's rows is the first check's; every other finding is the second's.
    others = [one for one in audit.findings if one.rule is not RuleName.ROWS_NOT_CONSERVED]
    return (
        ticks_outcome(audit.schema, audit.findings, policy),
        ingest_outcome(known, policy, gaps=audit.gaps, findings=others, attempts=attempts),
    )
