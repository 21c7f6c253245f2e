"""What about a plan should be known before it is run: limits it meets.

What belongs here: the sentences. What does not: the numbers they are about.
"""

from __future__ import annotations

from tickhandler_dagster.market.costs.amounts import Amount
from tickhandler_dagster.market.costs.plan import Plan
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.quantities import share_of_quota
from tickhandler_dagster.market.costs.wording import byte_text


def plan_warnings(plan: Plan, prices: Prices, *, free_bytes: int | None) -> list[str]:
    """The limits that a plan meets, each as a sentence.

    Args:
        plan: The plan.
        prices: Quotas.
        free_bytes: Space on the lake's device; None where the lake is in a bucket.
    """
    total = plan.total
    found = []
    quota = share_of_quota(total, prices)
    if quota.high > 1:
        found.append(
            f"the download takes {quota.likely:.1f} days of the vendor's transfer quota of "
            f"{prices.vendor_quota:,.0f} GB per day, up to {quota.high:.1f}: "
            "plan fewer days, or set vendor_quota to your plan's"
        )
    need = _peak(plan)
    if free_bytes is not None and need.high > free_bytes:
        found.append(
            f"the lake needs {byte_text(need.likely)} and up to {byte_text(need.high)}, "
            f"and its device has {byte_text(free_bytes)} free"
        )
    most = max((len(days) for days in plan.warehouse.values()), default=0)
    if not total.load_jobs.is_zero and most > prices.bigquery_jobs_per_table:
        found.append(
            f"{most:,} days of a table are more than the {prices.bigquery_jobs_per_table:,.0f} "
            "load jobs that BigQuery allows per table and day: publish it over several days"
        )
    return found


def _peak(plan: Plan) -> Amount:
    """What is written; files on their way are small beside it."""
    return plan.total.stored_bytes
