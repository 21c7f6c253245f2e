"""The outcomes of `bar_audit`: bars against smaller bars, and prices against other prices.

What does not belong here: comparing them (`market/audits`) and how a policy takes a finding
(`checks/findings.py`).
"""

import dataclasses

import dagster as dg

from tickhandler_dagster.checks.findings import findings_outcome
from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.policy import QualityPolicy
from tickhandler_dagster.pipeline.bar_audit import BarAudit
from tickhandler_dagster.reporting import markdown

SHOWN = 20
"""Instruments in a listing; the findings table has them all."""


def rolls_up_outcome(audit: BarAudit, policy: QualityPolicy) -> CheckOutcome:
    """Whether every larger bar is what the 15 s bars inside it add up to."""
    outcome = findings_outcome(audit.roll_up, policy, name=CheckName.ROLLS_UP)
    return _with(
        outcome,
        {
            "instruments compared": dg.MetadataValue.int(audit.instruments),
            "bars compared": dg.MetadataValue.int(audit.bars),
            "bars that differ": dg.MetadataValue.int(sum(one.rows for one in audit.roll_up)),
        },
        audit.roll_up,
    )


def prices_outcome(audit: BarAudit, policy: QualityPolicy) -> CheckOutcome:
    """Whether prices agree: closes with the other market and the index, trades with quotes."""
    outcome = findings_outcome(audit.prices + audit.quotes, policy, name=CheckName.PRICES_AGREE)
    return _with(
        outcome,
        {
            "instruments with spot or perpetual beside": dg.MetadataValue.int(len(audit.pairs)),
            "instruments with an index price": dg.MetadataValue.int(audit.with_index),
            "instruments with quotes": dg.MetadataValue.int(audit.with_quotes),
            "trades held against quotes": dg.MetadataValue.int(audit.judged_trades),
            "trades outside quotes": dg.MetadataValue.int(sum(one.rows for one in audit.quotes)),
        },
        # of bars alone: thousands of trades, ignored by default, would hide what is a warning
        audit.prices,
    )


def _with(
    outcome: CheckOutcome, compared: dict[str, dg.MetadataValue], findings: tuple[Finding, ...]
) -> CheckOutcome:
    listing = {"instruments": dg.MetadataValue.md(_instruments(findings))} if findings else {}
    return dataclasses.replace(outcome, metadata={**compared, **outcome.metadata, **listing})


def _instruments(findings: tuple[Finding, ...]) -> str:
    """The instruments with most wrong bars first: where, how many, since when, and a sample."""
    ordered = sorted(findings, key=lambda one: (-one.rows, one.instrument_key))
    return markdown.table(
        ["instrument", "rule", "bars", "of", "from", "to", "sample"],
        [
            (
                one.instrument_key,
                one.rule,
                f"{one.rows:,}",
                f"{one.of_rows:,}",
                one.first_at,
                one.last_at,
                one.sample,
            )
            for one in ordered
        ],
        limit=SHOWN,
    )
