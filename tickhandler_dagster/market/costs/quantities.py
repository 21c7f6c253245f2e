"""What work takes, and what that costs: quantities, money, seconds.

What belongs here: the sums and the tariff. What does not: estimating the quantities themselves
(`file_sizes.py`, `pipeline/plan.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from tickhandler_dagster.market.costs.amounts import ZERO, Amount, add_up
from tickhandler_dagster.market.costs.prices import Prices

GIB, TIB = 2.0**30, 2.0**40
_PER_THOUSAND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """What a piece of work takes; every field adds up.

    Attributes:
        download_bytes: From the vendor.
        rows: Rows written.
        stored_bytes: Bytes the lake gets.
        requests: To the vendor.
        writes: Objects stored, which a bucket counts as class A.
        reads: Objects read or asked for, class B.
        load_jobs: Of BigQuery.
        warehouse_bytes: Logical bytes that BigQuery stores.
        query_bytes: Bytes that dbt's models read.
        seconds: Of wall time.
    """

    download_bytes: Amount = ZERO
    rows: Amount = ZERO
    stored_bytes: Amount = ZERO
    requests: Amount = ZERO
    writes: Amount = ZERO
    reads: Amount = ZERO
    load_jobs: Amount = ZERO
    warehouse_bytes: Amount = ZERO
    query_bytes: Amount = ZERO
    seconds: Amount = ZERO

    def __add__(self, other: Quantities) -> Quantities:
        """Both together."""
        return Quantities(
            **{name: getattr(self, name) + getattr(other, name) for name in QUANTITY_NAMES}
        )

    @property
    def is_nothing(self) -> bool:
        """Every field is 0."""
        return all(getattr(self, name).is_zero for name in QUANTITY_NAMES)


QUANTITY_NAMES = tuple(item.name for item in dataclasses.fields(Quantities))
NOTHING = Quantities()


def total_of(items: Iterable[Quantities]) -> Quantities:
    """The sum of them; nothing of none."""
    return sum(items, NOTHING)


@dataclass(frozen=True, slots=True)
class Bill:
    """Money in USD.

    Attributes:
        once: For doing the work.
        monthly: For keeping its result a month.
    """

    once: Amount
    monthly: Amount


def cloud_bill(
    quantities: Quantities, prices: Prices, *, has_bucket: bool = True, has_bigquery: bool = True
) -> Bill:
    """What Google charges; the vendor charges by plan, and the machine is not counted.

    Args:
        quantities: What is done.
        prices: The tariff.
        has_bucket: The lake is in a bucket.
        has_bigquery: The warehouse is BigQuery.
    """
    bucket = (
        quantities.writes.times(prices.gcs_class_a / _PER_THOUSAND),
        quantities.reads.times(prices.gcs_class_b / _PER_THOUSAND),
    )
    queries = (
        quantities.warehouse_bytes.times(prices.bigquery_load / GIB),
        quantities.query_bytes.times(prices.bigquery_query / TIB),
    )
    kept = quantities.stored_bytes.times(prices.gcs_standard / GIB)
    tables = quantities.warehouse_bytes.times(prices.bigquery_active / GIB)
    return Bill(
        once=add_up((*(bucket if has_bucket else ()), *(queries if has_bigquery else ()))),
        monthly=add_up((*((kept,) if has_bucket else ()), *((tables,) if has_bigquery else ()))),
    )


def storage_by_class(stored: Amount, prices: Prices) -> dict[str, Amount]:
    """USD per month of keeping bytes in a bucket, by storage class."""
    per_gib = {
        "standard": prices.gcs_standard,
        "nearline": prices.gcs_nearline,
        "coldline": prices.gcs_coldline,
        "archive": prices.gcs_archive,
    }
    return {name: stored.times(price / GIB) for name, price in per_gib.items()}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does the work.

    Attributes:
        cores: That compute at the same time.
        downloads: Files on their way at the same time.
    """

    cores: int
    downloads: int


def ingest_seconds(
    files: Amount, source_bytes: Amount, rows: Amount, *, prices: Prices, machine: Machine
) -> Amount:
    """Wall time of fetching and converting: whichever of line, latency, limit and cores is slowest.

    They go on side by side, so that the slowest is what one waits for.
    """
    requests_per_s = min(
        machine.downloads / max(prices.request_latency, 1e-9), prices.vendor_requests / 60
    )
    computing = rows.times(1e-6 / max(prices.ingest_rate, 1e-9)) + files.times(prices.file_seconds)
    line = source_bytes.times(1e-6 / max(prices.download_rate, 1e-9))
    return line.at_least(files.times(1 / max(requests_per_s, 1e-9))).at_least(
        computing.times(1 / machine.cores)
    )


def share_of_quota(quantities: Quantities, prices: Prices) -> Amount:
    """Days of the vendor's transfer quota that the downloads use up."""
    return quantities.download_bytes.times(1e-9 / max(prices.vendor_quota, 1e-9))
