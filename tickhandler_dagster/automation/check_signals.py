"""Evaluations of checks as signals: one subject per asset, check and partition.

What does not belong here: how severe a failure is (`checks/policy.py` said so when the check was
evaluated) and who hears of it (`market/alerts`).
"""

from __future__ import annotations

import dagster as dg

from tickhandler_dagster.assets.events import CELLS_THAT_FAILED
from tickhandler_dagster.automation.event_pages import Recorded
from tickhandler_dagster.automation.wording import asset_path, cell_group, cell_name, shown
from tickhandler_dagster.market.alerts.signal import IncidentKind, Signal, Urgency

URGENCIES = {
    dg.AssetCheckSeverity.WARN: Urgency.WARNING,
    dg.AssetCheckSeverity.ERROR: Urgency.ERROR,
}


def check_signal(recorded: Recorded) -> Signal | None:
    """What an evaluation says of its cell; None for the summary of a range, told cell by cell."""
    evaluation = recorded.event.asset_check_evaluation_data
    if evaluation.partition is None and CELLS_THAT_FAILED in evaluation.metadata:
        return None
    name = f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"
    subject = cell_name(name, evaluation.partition)
    return Signal(
        kind=IncidentKind.FAILED_CHECK,
        subject=subject,
        is_bad=not evaluation.passed,
        urgency=URGENCIES[evaluation.severity],
        group=cell_group(name, evaluation.partition),
        at_us=recorded.at_us,
        summary=_summary(subject, evaluation),
        details={"run": recorded.entry.run_id, **shown(evaluation.metadata)},
        link=f"{asset_path(evaluation.asset_key)}?view=checks&checkDetail={evaluation.check_name}",
    )


def _summary(subject: str, evaluation: dg.AssetCheckEvaluation) -> str:
    if evaluation.passed:
        return f"{subject}: the check passes."
    counts = [
        f"{label} {value.value:,}"
        for label, value in evaluation.metadata.items()
        if isinstance(value, dg.IntMetadataValue) and value.value is not None
    ]
    return f"{subject}: the check fails{' with ' if counts else ''}{', '.join(counts)}."
