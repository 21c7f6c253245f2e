"""Outcomes of checks in Dagster's terms: passed or not, and metadata a person can act on.

What does not belong here: evaluating rules (`market`, `pipeline`) and recording outcomes
(`assets/events.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.checks.policy import POLICY, CheckName
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.schema_check import SchemaReport
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.pipeline.surface_inputs import OptionInput
from tickhandler_dagster.reporting import markdown


@dataclass(frozen=True)
class CheckOutcome:
    """One evaluation of one check.

    Attributes:
        name: Which check.
        has_passed: What the name says is so.
        metadata: Shown beside the outcome.
    """

    name: CheckName
    has_passed: bool
    metadata: Mapping[str, dg.MetadataValue]

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """Severity by policy."""
        return POLICY[self.name].severity


def schema_outcome(report: SchemaReport) -> CheckOutcome:
    """All broken rules of a partition, with counts, a sample and the instruments."""
    return CheckOutcome(
        CheckName.SCHEMA_HOLDS,
        report.has_passed,
        {
            "rows checked": dg.MetadataValue.int(report.rows),
            "broken rules": dg.MetadataValue.int(len(report.failures)),
            "rows that break a rule": dg.MetadataValue.int(
                sum(case.rows for case in report.failures)
            ),
        }
        | ({"failures": dg.MetadataValue.md(_cases(report))} if report.failures else {}),
    )


def conservation_outcome(report: SchemaReport, *, trades: int, rows_used: int) -> CheckOutcome:
    """Whether trades in the stored bars, rows read and the manifests' counts agree."""
    return CheckOutcome(
        CheckName.CONSERVES_TRADES,
        report.has_passed and trades == rows_used,
        {
            "trades in bars": dg.MetadataValue.int(trades),
            "raw rows of the day": dg.MetadataValue.int(rows_used),
        }
        | ({"failures": dg.MetadataValue.md(_cases(report))} if report.failures else {}),
    )


def _cases(report: SchemaReport) -> str:
    return markdown.table(
        ["instrument", "column", "rule", "rows", "sample"],
        [
            (case.subject, case.column, case.rule, f"{case.rows:,}", ", ".join(case.sample))
            for case in report.failures
        ],
    )


def completeness_outcome(rows: Sequence[ManifestRow]) -> CheckOutcome:
    """Every instrument whose data should be there and is not, with its state and reason."""
    missing = [row for row in rows if row.state.is_missing]
    listing = markdown.table(
        ["instrument", "state", "reason"],
        [
            (row.instrument_key, row.state, row.reason or STATE_MEANINGS[row.state])
            for row in missing
        ],
    )
    counts = {state: sum(row.state is state for row in rows) for state in DataState}
    return CheckOutcome(
        CheckName.COMPLETE,
        not missing,
        {
            "expected": dg.MetadataValue.int(len(rows)),
            "missing": dg.MetadataValue.int(len(missing)),
        }
        | {str(state): dg.MetadataValue.int(count) for state, count in counts.items() if count}
        | ({"missing instruments": dg.MetadataValue.md(listing)} if missing else {}),
    )


def chain_outcome(missing: Sequence[OptionInput], *, options: int) -> CheckOutcome:
    """Every option whose chain rows should be there and are not: surfaces stand on the others."""
    listing = markdown.table(
        ["instrument", "state", "reason"],
        [(option.instrument_key, option.state, option.reason) for option in missing],
    )
    return CheckOutcome(
        CheckName.COMPLETE,
        not missing,
        {
            "expected": dg.MetadataValue.int(options),
            "missing": dg.MetadataValue.int(len(missing)),
        }
        | ({"missing options": dg.MetadataValue.md(listing)} if missing else {}),
    )


def halo_outcome(missing: Sequence[str], *, partitions: int) -> CheckOutcome:
    """Every candle partition of the halo that was never made: windows over it are null."""
    listing = markdown.table(["candles that are missing"], [(one,) for one in missing], limit=100)
    return CheckOutcome(
        CheckName.HALO_IS_COMPLETE,
        not missing,
        {
            "partitions of earlier days": dg.MetadataValue.int(partitions),
            "missing": dg.MetadataValue.int(len(missing)),
        }
        | ({"missing partitions": dg.MetadataValue.md(listing)} if missing else {}),
    )
