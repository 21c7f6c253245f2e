"""What a tick sink delivers to: the port, and the lake as one.

What belongs here: a delivery, and files of it. What does not: when one is made (`tick_sink.py`) and
BigQuery (`bigquery_ticks.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_files import LiveTicksFile
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES, SEQUENCE
from tickhandler_dagster.market.venues import VenueId

_HOUR = "_hour"


@dataclass(frozen=True, slots=True)
class TickDelivery:
    """Rows that are delivered together, the same ones however often it is tried.

    Attributes:
        venue: Whose.
        data_type: Of which type.
        rows: Rows of the live table, numbered; at least one.
    """

    venue: VenueId
    data_type: DataType
    rows: pl.DataFrame

    @property
    def sequence(self) -> int:
        """Number of the first row."""
        return int(self.rows.item(0, SEQUENCE))


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a delivery.

    Attributes:
        rows: Rows that are in the table.
        dead: Rows that it did not take.
        target: What the target wants to know with the next delivery.
    """

    rows: int
    dead: int
    target: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """When rows that wait are delivered.

    Attributes:
        seconds: The oldest has waited so long.
        rows: So many wait.
        bytes: They take so much memory, which also bounds what is read ahead.
    """

    seconds: float
    rows: int
    bytes: int


FILE_POLICY = DeliveryPolicy(seconds=300.0, rows=1_000_000, bytes=128_000_000)
"""A file of the lake: twelve an hour at most where the feed is slow."""

SaveState = Callable[[Mapping[str, Any]], None]


class TickTarget(Protocol):
    """Takes deliveries; one that comes again, after a crash or an error, is there once."""

    @property
    def policy(self) -> DeliveryPolicy:
        """When a delivery is worth its cost."""
        ...

    def fit(self, rows: pl.DataFrame, data_type: DataType) -> int:
        """How many of the first rows make one delivery; at least one."""
        ...

    def deliver(
        self, delivery: TickDelivery, state: Mapping[str, Any], save: SaveState
    ) -> Delivered:
        """Take it, durably.

        Args:
            delivery: What.
            state: What the last delivery returned or this one saved.
            save: Makes a new state durable in the middle of a delivery.

        Raises:
            TransientError: not now; it is offered again.
            PermanentError: never; the sink stops, capture does not.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class LakeTickTarget:
    """Ticks as Parquet files of the lake, named by the number of their first row.

    Args:
        lake: Where to.
        policy: When a file is written; a larger one is read faster, and lacks the newest ticks
            for longer.
    """

    def __init__(self, lake: Lake, policy: DeliveryPolicy = FILE_POLICY) -> None:
        self._lake = lake
        self._policy = policy

    @property
    def policy(self) -> DeliveryPolicy:
        """When a file is written."""
        return self._policy

    def fit(self, rows: pl.DataFrame, data_type: DataType) -> int:
        """How many of the first rows make one delivery: all of them."""
        del data_type
        return rows.height

    def deliver(
        self, delivery: TickDelivery, state: Mapping[str, Any], save: SaveState
    ) -> Delivered:
        """Write its files, one per hour of arrival, over what an earlier try left.

        Raises:
            StorageFull: the device has no space left.
            StorageUnavailable: the bucket does not answer.
            StorageDenied: the lake may not be written.
        """
        del save  # files need no memory between tries: their names say which rows they hold
        hour = pl.col("local_timestamp").dt.truncate("1h").rle_id()
        numbered = delivery.rows.with_columns(hour.alias(_HOUR))
        for part in numbered.partition_by(_HOUR, maintain_order=True, include_key=False):
            self._lake.write_table(
                _file(delivery, part), part, LIVE_TICK_TABLES[delivery.data_type]
            )
        return Delivered(delivery.rows.height, 0, state)

    def close(self) -> None:
        """Nothing is held open."""


def delivery_day(delivery: TickDelivery) -> dt.date:
    """The UTC day in which a delivery's first row arrived."""
    arrival: dt.datetime = delivery.rows.item(0, "local_timestamp")
    return arrival.date()


def _file(delivery: TickDelivery, part: pl.DataFrame) -> LiveTicksFile:
    arrival: dt.datetime = part.item(0, "local_timestamp")
    return LiveTicksFile(
        arrival.date(),
        delivery.data_type,
        delivery.venue,
        f"{arrival:%H}",
        int(part.item(0, SEQUENCE)),
    )
