"""The outcome of comparing bars with the venue's own klines.

What does not belong here: the comparison (`market/kline_comparison.py`).
"""

import dagster as dg

from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.quality.verdicts import verdict_of, worst
from tickhandler_dagster.pipeline.kline_conformance import KlineConformance
from tickhandler_dagster.reporting import markdown


def kline_outcome(result: KlineConformance, policy: QualityPolicy) -> CheckOutcome:
    """Every broken rule that the policy does not ignore, with minutes and a sample."""
    taken = [(verdict_of(finding, policy), finding) for finding in result.findings]
    bad = [(verdict, finding) for verdict, finding in taken if verdict is not Verdict.IGNORE]
    listing = markdown.table(
        ["instrument", "rule", "verdict", "minutes", "of minutes", "sample: bar against kline"],
        [
            (one.instrument_key, one.rule, verdict, f"{one.rows:,}", f"{one.of_rows:,}", one.sample)
            for verdict, one in bad
        ],
    )
    return CheckOutcome(
        CheckName.CONFORMS,
        not bad,
        {
            "minutes compared": dg.MetadataValue.int(result.minutes),
            "instruments without klines": dg.MetadataValue.int(len(result.absent)),
            "broken rules": dg.MetadataValue.int(len(bad)),
        }
        | ({"findings": dg.MetadataValue.md(listing)} if bad else {}),
        verdict=worst(verdict for verdict, _ in bad) if bad else None,
    )
