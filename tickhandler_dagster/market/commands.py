"""The command lines that remedies name, so that errors and docs say the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

CODE_LOCATION = "tickhandler_dagster.definitions"


def materialize(asset: str, partition: object) -> str:
    """The command that makes a partition of an asset.

    Example:
        >>> materialize("instruments", "2024-08-08|upbit").partition("definitions ")[2]
        "--select instruments --partition '2024-08-08|upbit'"
    """
    return (
        f"dagster asset materialize -m {CODE_LOCATION} --select {asset} --partition '{partition}'"
    )


def backfill(asset: str, first: dt.date, last: dt.date, venues: Iterable[str]) -> str:
    """The command that makes days of an asset, both included.

    Example:
        >>> day = dt.date(2024, 8, 8)
        >>> backfill("candles/1m", day, day, ["upbit"]).partition("backfill ")[2]
        '--start-date 2024-08-08 --end-date 2024-08-08 --venues upbit --assets candles/1m'
    """
    return (
        f"tickhandler backfill --start-date {first} --end-date {last} "
        f"--venues {','.join(venues)} --assets {asset}"
    )
