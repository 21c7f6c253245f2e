"""Outcomes of the check `complete`: states of data, taken by the quality policy.

What does not belong here: which state data has (`market/completeness.py`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import dagster as dg

from tickhandler_dagster.checks.findings import rules_table
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.completeness_table import Completeness
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.quality.verdicts import RANK, verdict_of, worst
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.reporting import markdown

SHOWN = 200
"""Lines of a table in an event; the stored tables have them all."""


def ingest_outcome(
    rows: Sequence[Completeness],
    policy: QualityPolicy,
    *,
    gaps: Iterable[Gap],
    findings: Iterable[Finding],
    attempts: Sequence[Completeness] = (),
) -> CheckOutcome:
    """Whether the data type of a cell is there whole and plausible, as far as the policy cares.

    Args:
        rows: What is known of every expected instrument.
        policy: How broken rules are taken.
        gaps: Holes in what is there.
        findings: Broken rules.
        attempts: What asking again came to for instruments that keep what they had.
    """
    taken = [(finding, verdict_of(finding, policy)) for finding in findings]
    states = (row.verdict for row in (*rows, *attempts))
    verdict = worst((*states, *(verdict for _, verdict in taken)))
    holes = sorted(gaps, key=lambda gap: (gap.gap_start - gap.gap_end, gap.instrument_key))
    return CheckOutcome(
        CheckName.COMPLETE,
        verdict is Verdict.IGNORE,
        _counts(rows)
        | {str(state): dg.MetadataValue.int(count) for state, count in _by_state(rows).items()}
        | _noted(rows)
        | _not_replaced(attempts)
        | ({"holes": dg.MetadataValue.md(_holes_table(holes))} if holes else {})
        | ({"broken rules": dg.MetadataValue.md(rules_table(taken))} if taken else {}),
        verdict=verdict,
    )


def cell_outcome(rows: Sequence[Completeness]) -> CheckOutcome:
    """Whether everything a venue should have on a day is there, as far as the policy cares."""
    verdict = worst(row.verdict for row in rows)
    return CheckOutcome(
        CheckName.COMPLETE,
        verdict is Verdict.IGNORE,
        _counts(rows)
        | {"states by data type": dg.MetadataValue.md(states_table(rows))}
        | _noted(rows),
        verdict=verdict,
    )


def states_table(rows: Iterable[Completeness]) -> str:
    """A line per data type, a column per state that occurs, with numbers of instruments."""
    counts = Counter((row.data_type, row.state) for row in rows)
    states = [state for state in DataState if any(found is state for _, found in counts)]
    types = sorted({data_type for data_type, _ in counts})
    return markdown.table(
        ["data type", *states],
        [
            (data_type, *(f"{counts[data_type, state]:,}" for state in states))
            for data_type in types
        ],
    )


def _counts(rows: Sequence[Completeness]) -> dict[str, dg.MetadataValue]:
    by_verdict = Counter(row.verdict for row in rows)
    missing = [row for row in rows if row.state.is_missing]
    ignored = sum(row.verdict is Verdict.IGNORE for row in missing)
    return {
        "expected": dg.MetadataValue.int(len(rows)),
        "missing": dg.MetadataValue.int(len(missing) - ignored),
        "missing and ignored": dg.MetadataValue.int(ignored),
        "errors": dg.MetadataValue.int(by_verdict[Verdict.ERROR]),
        "warnings": dg.MetadataValue.int(by_verdict[Verdict.WARNING]),
    }


def _by_state(rows: Iterable[Completeness]) -> dict[DataState, int]:
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in DataState if counts[state]}


def _noted(rows: Iterable[Completeness]) -> dict[str, dg.MetadataValue]:
    """The rows the policy does not ignore, the worst first: verdict, then lost time."""
    noted = [row for row in rows if row.verdict is not Verdict.IGNORE]
    return {"not as they should be": dg.MetadataValue.md(_rows_table(noted))} if noted else {}


def _not_replaced(attempts: Sequence[Completeness]) -> dict[str, dg.MetadataValue]:
    """Every attempt, also where the policy ignores it: somebody asked for these files."""
    if not attempts:
        return {}
    return {
        "asked for again and not replaced": dg.MetadataValue.int(len(attempts)),
        "what the last attempt came to": dg.MetadataValue.md(_rows_table(attempts)),
    }


def _rows_table(rows: Iterable[Completeness]) -> str:
    ordered = sorted(
        rows, key=lambda row: (-RANK[row.verdict], -row.gap_us, row.instrument_key, row.data_type)
    )
    return markdown.table(
        ["instrument", "data type", "state", "reason", "verdict"],
        [
            (row.instrument_key, row.data_type, row.state, row.reason, row.verdict)
            for row in ordered
        ],
        limit=SHOWN,
    )


def _holes_table(holes: Sequence[Gap]) -> str:
    """The longest holes first."""
    return markdown.table(
        ["instrument", "from (UTC)", "to (UTC)", "kind", "evidence"],
        [
            (
                gap.instrument_key,
                gap.gap_start.time().isoformat(),
                gap.gap_end.time().isoformat(),
                gap.kind,
                gap.evidence,
            )
            for gap in holes
        ],
        limit=SHOWN,
    )
