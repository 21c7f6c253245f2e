"""Outcomes of checks in Dagster's terms: passed or not, and metadata a person can act on.

What does not belong here: evaluating rules (`market`, `pipeline`) and recording outcomes
(`assets/events.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from tickhandler_dagster.checks.policy import POLICY, CheckName
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.verdicts import verdict_of, worst
from tickhandler_dagster.market.schema_check import SchemaReport
from tickhandler_dagster.pipeline.surface_inputs import OptionInput
from tickhandler_dagster.reporting import markdown


@dataclass(frozen=True)
class CheckOutcome:
    """One evaluation of one check.

    Attributes:
        name: Which check.
        has_passed: What the name says is so.
        metadata: Shown beside the outcome.
        verdict: The worst verdict of the quality policy; None where it does not decide.
    """

    name: CheckName
    has_passed: bool
    metadata: Mapping[str, dg.MetadataValue]
    verdict: Verdict | None = None

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """Severity by the quality policy, else that of the check."""
        if self.verdict is None:
            return POLICY[self.name].severity
        is_error = self.verdict is Verdict.ERROR
        return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


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


def ticks_outcome(
    report: SchemaReport, findings: Iterable[Finding], policy: QualityPolicy
) -> CheckOutcome:
    """`schema_outcome` of raw ticks, and every row of the vendor's files accounted for.

    Args:
        report: Broken rules of the table: always an error.
        findings: Broken rules of the partition; of them counts what became of the rows.
        policy: How rows that are not accounted for are taken.
    """
    lost = [finding for finding in findings if finding.rule is RuleName.ROWS_NOT_CONSERVED]
    schema = schema_outcome(report)
    verdict = worst(
        (
            Verdict.IGNORE if schema.has_passed else Verdict.ERROR,
            *(verdict_of(finding, policy) for finding in lost),
        )
    )
    listing = markdown.table(
        ["instrument", "rows", "of rows", "sample"],
        [
            (finding.instrument_key, f"{finding.rows:,}", f"{finding.of_rows:,}", finding.sample)
            for finding in lost
        ],
    )
    return CheckOutcome(
        CheckName.SCHEMA_HOLDS,
        verdict is Verdict.IGNORE,
        {
            **schema.metadata,
            "rows not conserved": dg.MetadataValue.int(sum(finding.rows for finding in lost)),
        }
        | ({"rows that are nowhere": dg.MetadataValue.md(listing)} if lost else {}),
        verdict=verdict,
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
