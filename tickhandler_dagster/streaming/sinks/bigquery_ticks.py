"""Live ticks into BigQuery, each exactly once.

What belongs here: which stream a delivery goes to, at which offset, and what becomes of rows that
BigQuery refuses. What does not: requests (`adapters/bigquery_storage_write.py`) and what a delivery
is (`tick_sink.py`).

The state between deliveries is the stream's name and the number of rows in it. A delivery that is
tried again names the same offset, and BigQuery says that it has the rows. What it refused is
written down before the rest is sent, so that a second try sends the same rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.bigquery_storage_write import (
    REQUEST_BYTES,
    Appended,
    Outcome,
    StorageWriter,
    fitting,
    record_batch,
)
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.dead_letters_table import DEAD_LETTERS_TABLE, dead_letters
from tickhandler_dagster.market.live.live_files import DeadLettersFile
from tickhandler_dagster.market.live.live_tables import LiveTable, live_tick_table
from tickhandler_dagster.market.quality.row_rules import REASON
from tickhandler_dagster.streaming.sinks.tick_target import (
    Delivered,
    DeliveryPolicy,
    SaveState,
    TickDelivery,
    delivery_day,
)

REQUEST_POLICY = DeliveryPolicy(seconds=60.0, rows=250_000, bytes=2 * REQUEST_BYTES)
"""A request of eight megabytes, or what a minute brought; rows take more in memory than sent."""

_log = logging.getLogger(__name__)


class BigQueryTickTarget:
    """Tables `ticks_<type>` of the live dataset.

    Args:
        writer: Appends.
        lake: Where refused rows are kept.
        policy: When a request is made.
        request_bytes: Of a request at most.
    """

    def __init__(
        self,
        writer: StorageWriter,
        lake: Lake,
        *,
        policy: DeliveryPolicy = REQUEST_POLICY,
        request_bytes: int = REQUEST_BYTES,
    ) -> None:
        self._writer = writer
        self._lake = lake
        self._policy = policy
        self._request_bytes = request_bytes

    @property
    def policy(self) -> DeliveryPolicy:
        """When a request is made."""
        return self._policy

    def fit(self, rows: pl.DataFrame, data_type: DataType) -> int:
        """How many of the first rows make one request."""
        return fitting(rows, live_tick_table(data_type).table, self._request_bytes)

    def deliver(
        self, delivery: TickDelivery, state: Mapping[str, Any], save: SaveState
    ) -> Delivered:
        """Append it, unless an earlier try did.

        Raises:
            StorageUnavailable: not now; the rows may be there or not, the next try finds out.
            StorageDenied: the credentials do not permit it.
            CorruptData: the table has other columns, or lost rows that it had confirmed.
        """
        table = live_tick_table(delivery.data_type)
        state = self._stream_of(delivery, table, state, save)
        while True:
            refused: dict[int, str] = {int(k): v for k, v in state["refused"].items()}
            sent = _without(delivery.rows, refused)
            self._bury(delivery, refused)
            answer = self._append(table, sent, state)
            if answer.outcome is Outcome.REFUSED:
                places = sent.get_column("_place")
                found = {str(places[place]): words for place, words in answer.refused.items()}
                state = {**state, "refused": {**state["refused"], **found}}
            elif answer.outcome is Outcome.STREAM_GONE:
                _log.warning(
                    "BigQuery forgot the stream of %s; rows %d to %d are sent to a new one and may "
                    "be there twice, if the answer to an earlier try was lost",
                    table.name,
                    delivery.sequence,
                    delivery.sequence + delivery.rows.height - 1,
                )
                state = self._new_stream(delivery, table)
            else:
                offset = state["offset"] + sent.height
                after = {**state, "offset": offset, "refused": {}}
                return Delivered(sent.height, len(refused), after)
            save(state)

    def close(self) -> None:
        """End the connections."""
        self._writer.close()

    def _append(self, table: LiveTable, sent: pl.DataFrame, state: Mapping[str, Any]) -> Appended:
        if sent.is_empty():
            return Appended(Outcome.APPENDED)
        rows = record_batch(sent, table.table)
        return self._writer.append(state["stream"], rows, state["offset"])

    def _stream_of(
        self, delivery: TickDelivery, table: LiveTable, state: Mapping[str, Any], save: SaveState
    ) -> Mapping[str, Any]:
        """The state with the stream of the delivery's day: a day's stream is at most a day old."""
        if state.get("day") == delivery_day(delivery).isoformat():
            return state
        if "stream" in state:
            self._writer.finalize(state["stream"])
        made = self._new_stream(delivery, table)
        save(made)
        return made

    def _new_stream(self, delivery: TickDelivery, table: LiveTable) -> Mapping[str, Any]:
        return {
            "stream": self._writer.create_stream(table.name),
            "day": delivery_day(delivery).isoformat(),
            "offset": 0,
            "refused": {},
        }

    def _bury(self, delivery: TickDelivery, refused: Mapping[int, str]) -> None:
        """Keep refused rows, over what an earlier try kept."""
        if not refused:
            return
        places = sorted(refused)
        rows = delivery.rows[places].with_columns(
            pl.Series(REASON, [refused[place] for place in places], dtype=pl.String())
        )
        name = live_tick_table(delivery.data_type).name
        self._lake.write_table(
            DeadLettersFile(name, delivery_day(delivery), delivery.venue, delivery.sequence),
            dead_letters(rows, name),
            DEAD_LETTERS_TABLE,
        )


def _without(rows: pl.DataFrame, refused: Mapping[int, str]) -> pl.DataFrame:
    return rows.with_row_index("_place").filter(~pl.col("_place").is_in(list(refused)))
