"""The outcome of findings: broken rules, taken by the quality policy.

What does not belong here: finding them (`pipeline`), and states (`completeness.py`).
"""

from collections.abc import Iterable, Sequence

import dagster as dg

from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.quality.rules import RULES, RuleName
from tickhandler_dagster.market.quality.verdicts import RANK, verdict_of, worst
from tickhandler_dagster.reporting import markdown

NAMED = 5
"""Instruments that a line names; the findings table has them all."""


def findings_outcome(
    findings: Sequence[Finding], policy: QualityPolicy, *, name: CheckName = CheckName.PLAUSIBLE
) -> CheckOutcome:
    """Whether no rule is broken that the policy does not ignore; all of them in one table."""
    taken = [(finding, verdict_of(finding, policy)) for finding in findings]
    verdict = worst(verdict for _, verdict in taken)
    counts = {one: sum(verdict is one for _, verdict in taken) for one in Verdict}
    return CheckOutcome(
        name,
        verdict is Verdict.IGNORE,
        {
            "findings": dg.MetadataValue.int(len(findings)),
            "errors": dg.MetadataValue.int(counts[Verdict.ERROR]),
            "warnings": dg.MetadataValue.int(counts[Verdict.WARNING]),
            "ignored": dg.MetadataValue.int(counts[Verdict.IGNORE]),
        }
        | ({"broken rules": dg.MetadataValue.md(rules_table(taken))} if taken else {}),
        verdict=verdict,
    )


def rules_table(taken: Iterable[tuple[Finding, Verdict]]) -> str:
    """A line per verdict, source and rule, the worst first, with instruments, rows and a sample."""
    groups: dict[tuple[Verdict, str, RuleName], list[Finding]] = {}
    for finding, verdict in taken:
        groups.setdefault((verdict, finding.source, finding.rule), []).append(finding)
    ordered = sorted(groups.items(), key=lambda item: (-RANK[item[0][0]], item[0][1:]))
    return markdown.table(
        ["verdict", "source", "rule", "what is so", "instruments", "rows", "sample"],
        [
            (
                verdict,
                source,
                rule,
                RULES[rule].meaning,
                _named([finding.instrument_key for finding in found]),
                f"{sum(finding.rows for finding in found):,}",
                _largest(found).sample,
            )
            for (verdict, source, rule), found in ordered
        ],
    )


def _named(keys: Sequence[str]) -> str:
    hidden = len(keys) - NAMED
    return ", ".join(sorted(keys)[:NAMED]) + (f" and {hidden:,} more" if hidden > 0 else "")


def _largest(found: Sequence[Finding]) -> Finding:
    return min(found, key=lambda finding: (-finding.rows, finding.instrument_key))
