"""Prices, quotas and speeds that estimates use: one table, each number replaceable.

What belongs here: numbers with their unit and where they come from. List prices change and differ
by region and contract: they are good for the size of a bill, and have to be checked before anybody
quotes them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tickhandler_dagster.market.errors import InvalidInput

AS_OF = "list price, check before quoting (from memory, early 2025, US regions)"


def _number(value: float, unit: str, source: str) -> float:
    return field(default=value, metadata={"unit": unit, "source": source})


def _price(value: float, unit: str) -> float:
    return _number(value, unit, AS_OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Every number of an estimate that is no statistic; its unit is in the field's metadata."""

    gcs_standard: float = _price(0.020, "USD per GiB and month")
    gcs_nearline: float = _price(0.010, "USD per GiB and month")
    gcs_coldline: float = _price(0.004, "USD per GiB and month")
    gcs_archive: float = _price(0.0012, "USD per GiB and month")
    gcs_class_a: float = _price(0.005, "USD per 1,000 writes and listings")
    gcs_class_b: float = _price(0.0004, "USD per 1,000 reads")
    bigquery_active: float = _price(0.020, "USD per GiB and month")
    bigquery_long_term: float = _price(0.010, "USD per GiB and month")
    bigquery_load: float = _price(0.0, "USD per GiB loaded")
    bigquery_query: float = _price(6.25, "USD per TiB read")
    bigquery_jobs_per_table: float = _number(1500, "load jobs per table and day", "documented")
    vendor_quota: float = _number(
        1000, "GB of transfer per day", "the vendor's smallest plan; set yours"
    )
    vendor_requests: float = _number(3000, "requests per minute", "documented")
    download_rate: float = _number(20, "MB per second", "32 cold streams, as operators report")
    request_latency: float = _number(0.2, "seconds per file", "assumed")
    ingest_rate: float = _number(
        0.6, "million rows per CPU-second", "rough: simulated market, audits included"
    )
    candle_rate: float = _number(
        1.5, "million rows per CPU-second", "the goal of benchmarks/README.md"
    )
    feature_rate: float = _number(0.02, "million bars per CPU-second", "rough: simulated bars")
    file_seconds: float = _number(0.05, "CPU-seconds per file", "rough: simulated market")
    cell_seconds: float = _number(0.5, "seconds per cell of an asset", "rough: runs over ranges")


def prices_with(changes: Mapping[object, object]) -> Prices:
    """The table with some numbers replaced.

    Raises:
        InvalidInput: a name is not in the table, or its value is no number from 0 on.

    Example:
        >>> prices_with({"bigquery_query": 5}).bigquery_query
        5.0
    """
    known = [item.name for item in dataclasses.fields(Prices)]
    numbers: dict[str, float] = {}
    for name, value in changes.items():
        if name not in known:
            raise InvalidInput(
                f"'{name}'",
                "not a number of the price table",
                expected=f"one of {', '.join(known)}",
                remedy="Use a name from the list",
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(float(str(value))) or float(str(value)) < 0:
            raise InvalidInput(
                f"'{name}'",
                "not a price",
                was=repr(value),
                expected="a number from 0 on",
                remedy="Correct it in the file of --prices",
            )
        numbers[str(name)] = float(str(value))
    return dataclasses.replace(Prices(), **numbers)


def price_rows(prices: Prices) -> list[tuple[str, float, str, str]]:
    """The table as rows of name, number, unit and where the number comes from."""
    default = Prices()
    return [
        (
            item.name,
            getattr(prices, item.name),
            item.metadata["unit"],
            item.metadata["source"]
            if getattr(prices, item.name) == getattr(default, item.name)
            else "set by hand",
        )
        for item in dataclasses.fields(Prices)
    ]
