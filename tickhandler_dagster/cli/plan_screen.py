"""How a plan is shown: a line per asset, sums with their range, limits; the same as JSON.

What belongs here: the words of the screen. What does not: making the plan (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tickhandler_dagster.market.costs.plan import Plan, PlanLine
from tickhandler_dagster.market.costs.plan_json import amount_json, plan_json
from tickhandler_dagster.market.costs.prices import AS_OF, Prices, price_rows
from tickhandler_dagster.market.costs.quantities import (
    Bill,
    Quantities,
    cloud_bill,
    share_of_quota,
    storage_by_class,
)
from tickhandler_dagster.market.costs.wording import (
    byte_text,
    count_text,
    money_text,
    ranged,
    time_text,
)

NOTHING_TO_DO = "Nothing to do: what the vendor has of the selection is there."

_WIDTH = 240
"""Characters of a line where nobody looks at it: wrapped tables cannot be searched."""


@dataclass(frozen=True)
class Estimate:
    """A plan and what it costs.

    Attributes:
        plan: The plan.
        prices: The tariff.
        has_bucket: The lake is in a bucket.
        has_bigquery: The warehouse is BigQuery.
        warnings: Limits it meets.
    """

    plan: Plan
    prices: Prices
    has_bucket: bool
    has_bigquery: bool
    warnings: tuple[str, ...]

    def bill(self, quantities: Quantities) -> Bill:
        """What Google charges this installation."""
        return cloud_bill(
            quantities, self.prices, has_bucket=self.has_bucket, has_bigquery=self.has_bigquery
        )


def screen_for(*, is_error: bool) -> Console:
    """A screen as wide as the terminal, or as wide as a table needs where there is none."""
    screen = Console(stderr=is_error)
    return screen if screen.is_terminal else Console(stderr=is_error, width=_WIDTH)


def show_estimate(screen: Console, estimate: Estimate) -> None:
    """Print everything there is to know before spending."""
    plan = estimate.plan
    chosen = plan.selection
    venues = ", ".join(chosen.venues)
    screen.print(f"{chosen.start} to {chosen.end}, {venues}; {plan.place}", highlight=False)
    if plan.is_empty:
        screen.print(NOTHING_TO_DO)
    table = Table(
        *(
            "asset",
            "partitions",
            "there",
            "vendor files",
            "there",
            "download",
            "rows",
            "in the lake",
        ),
        *("writes / reads / loads", "USD once", "USD per month", "time"),
    )
    table.columns[0].no_wrap = True
    for line in plan.lines:
        table.add_row(*_row(line, estimate))
    if plan.lines:
        screen.print(table)
    for text in (*_totals(estimate), *(f"note: {note}" for note in plan.notes)):
        screen.print(text, highlight=False, markup=False)
    for warning in estimate.warnings:
        screen.print(f"warning: {warning}.", highlight=False, markup=False)


def _row(line: PlanLine, estimate: Estimate) -> list[str]:
    taken, bill = line.quantities, estimate.bill(line.quantities)
    calls = (taken.writes, taken.reads, taken.load_jobs)
    return [
        line.asset,
        count_text(line.cells),
        count_text(line.cells_there),
        count_text(line.files),
        count_text(line.files_there),
        ranged(taken.download_bytes, byte_text),
        ranged(taken.rows, count_text),
        ranged(taken.stored_bytes, byte_text),
        " / ".join(count_text(one.likely) for one in calls),
        ranged(bill.once, money_text),
        ranged(bill.monthly, money_text),
        ranged(taken.seconds, time_text),
    ]


def _totals(estimate: Estimate) -> Iterable[str]:
    """The sums, a line each, with their range: nineteen of twenty times below the upper end."""
    plan, prices = estimate.plan, estimate.prices
    if plan.is_empty:
        return
    total, bill = plan.total, estimate.bill(plan.total)
    cloud = cloud_bill(total, prices)
    yield (
        f"vendor: {plan.files_to_fetch:,} files, {ranged(total.download_bytes, byte_text)}, "
        f"{ranged(total.requests, count_text)} requests, "
        f"{share_of_quota(total, prices).likely:.2f} days of {prices.vendor_quota:,.0f} GB a day; "
        "the catalogue is the stored one"
    )
    yield (
        f"lake: {ranged(total.stored_bytes, byte_text)}; "
        f"rows with those of tables: {ranged(total.rows, count_text)}"
    )
    yield (
        f"bucket operations: {ranged(total.writes, count_text)} writes (class A), "
        f"{ranged(total.reads, count_text)} reads (class B)"
    )
    yield (
        f"BigQuery: {ranged(total.load_jobs, count_text)} load jobs, "
        f"{ranged(total.warehouse_bytes, byte_text)} stored, "
        f"{ranged(total.query_bytes, byte_text)} read by dbt"
    )
    yield (
        f"money: {ranged(bill.once, money_text)} once, "
        f"{ranged(bill.monthly, money_text)} per month; {AS_OF}"
    )
    if not (estimate.has_bucket and estimate.has_bigquery):
        yield (
            f"in a bucket and BigQuery: {ranged(cloud.once, money_text)} once, "
            f"{ranged(cloud.monthly, money_text)} per month"
        )
    classes = storage_by_class(total.stored_bytes, prices).items()
    told = ", ".join(f"{name} {ranged(cost, money_text)}" for name, cost in classes)
    yield f"the lake's share of it per month by storage class: {told}"
    yield f"time: {ranged(total.seconds, time_text)}"


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """The same for a script."""
    bill = estimate.bill(estimate.plan.total)
    return {
        **plan_json(estimate.plan),
        "nothing_to_do": estimate.plan.is_empty,
        "usd_once": amount_json(bill.once),
        "usd_per_month": amount_json(bill.monthly),
        "prices": {
            name: {"value": value, "unit": unit, "source": source}
            for name, value, unit, source in price_rows(estimate.prices)
        },
        "warnings": list(estimate.warnings),
    }
