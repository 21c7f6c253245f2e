"""The outcome of comparing live bars with the batch's.

What does not belong here: the comparison (`market/live/parity.py`) and how a policy takes a finding
(`checks/findings.py`).
"""

import dataclasses

import dagster as dg

from tickhandler_dagster.checks.findings import findings_outcome
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.pipeline.live_parity import LiveParity


def parity_outcome(parity: LiveParity, policy: QualityPolicy) -> CheckOutcome:
    """Every broken rule that the policy does not ignore; a day without live bars passes empty."""
    outcome = findings_outcome(parity.findings, policy, name=CheckName.AGREES)
    return dataclasses.replace(
        outcome,
        metadata={
            "bars compared": dg.MetadataValue.int(parity.bars),
            "bars never completed": dg.MetadataValue.int(parity.provisional),
            **outcome.metadata,
        },
    )
