"""Live bars into BigQuery: every publication a row, the last word in a view.

What belongs here: holding what is published until it is flushed, and rows that BigQuery refuses.
What does not: requests (`adapters/bigquery_storage_write.py`).

Bars go to a table's default stream, at least once: a bar that comes twice has the same key and
revision, and `candles_<timeframe>_latest` shows each bar once. Offsets would need a cursor beside
the engine's checkpoint, for what the view does anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tickhandler_dagster.adapters.bigquery_storage_write import (
    REQUEST_BYTES,
    Outcome,
    StorageWriter,
    fitting,
    record_batch,
)
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.errors import StorageUnavailable
from tickhandler_dagster.market.live.dead_letters_table import DEAD_LETTERS_TABLE, dead_letters
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_files import DeadLettersFile
from tickhandler_dagster.market.live.live_tables import live_candle_table
from tickhandler_dagster.market.quality.row_rules import REASON
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.ports import BarBatch

MOST_WAITING_ROWS = 200_000
"""Half a gigabyte of bars: beyond, a warehouse that takes nothing is the engine's to hear of."""

_KEY = list(LIVE_CANDLE_TABLE.key)


class BigQueryBarSink:
    """Tables `candles_<timeframe>` of the live dataset.

    Args:
        writer: Appends.
        lake: Where refused rows are kept.
        request_bytes: Of a request at most.
    """

    def __init__(
        self, writer: StorageWriter, lake: Lake, *, request_bytes: int = REQUEST_BYTES
    ) -> None:
        self._writer = writer
        self._lake = lake
        self._request_bytes = request_bytes
        self._waiting: dict[Timeframe, pl.DataFrame] = {}
        self.refused = 0
        """Rows kept as dead letters since the start."""

    def publish(self, batches: Sequence[BarBatch]) -> None:
        """Hold them until `flush`; a publication that is held already counts once.

        Raises:
            StorageUnavailable: too many are held already, as BigQuery takes nothing.
        """
        if sum(frame.height for frame in self._waiting.values()) > MOST_WAITING_ROWS:
            raise StorageUnavailable(
                "live bars",
                "BigQuery takes nothing, and enough wait in memory",
                was=f"more than {MOST_WAITING_ROWS} rows",
                remedy="See the errors before this one; the same bars are offered again",
            )
        for batch in batches:
            held = self._waiting.get(batch.timeframe)
            frames = [batch.bars] if held is None else [held, batch.bars]
            merged = pl.concat(frames).unique(_KEY, keep="first", maintain_order=True)
            self._waiting[batch.timeframe] = merged

    def flush(self) -> None:
        """Append what is held; BigQuery has it when this returns.

        Raises:
            StorageUnavailable: not now; what was not appended is still held.
            StorageDenied: the credentials do not permit it.
            CorruptData: a table has other columns.
        """
        for timeframe in list(self._waiting):
            while not (rows := self._waiting[timeframe]).is_empty():
                count = fitting(rows, LIVE_CANDLE_TABLE, self._request_bytes)
                self._append(timeframe, rows.head(count))
                self._waiting[timeframe] = rows.slice(count)
            del self._waiting[timeframe]

    def close(self) -> None:
        """Append what is held and end the connections."""
        self.flush()
        self._writer.close()

    def _append(self, timeframe: Timeframe, rows: pl.DataFrame) -> None:
        stream = self._writer.default_stream(live_candle_table(timeframe).name)
        numbered = rows.with_row_index("sequence")
        while not numbered.is_empty():
            batch = record_batch(numbered, LIVE_CANDLE_TABLE)
            answer = self._writer.append(stream, batch)
            if answer.outcome is not Outcome.REFUSED:
                return
            places = sorted(answer.refused)
            words = pl.Series(REASON, [answer.refused[place] for place in places])
            self._bury(timeframe, numbered[places].with_columns(words))
            numbered = (
                numbered.with_row_index("_at").filter(~pl.col("_at").is_in(places)).drop("_at")
            )

    def _bury(self, timeframe: Timeframe, dead: pl.DataFrame) -> None:
        name = live_candle_table(timeframe).name
        for rows in dead.partition_by("venue"):
            first = rows.row(0, named=True)
            number = int(first["published_at"].timestamp() * 1_000_000) + first["sequence"]
            place = DeadLettersFile(
                name, first["published_at"].date(), VenueId(first["venue"]), number
            )
            letters = dead_letters(
                rows.with_columns(pl.col("sequence").cast(pl.Int64())),
                name,
                symbol="instrument_key",
            )
            self._lake.write_table(place, letters, DEAD_LETTERS_TABLE)
            self.refused += rows.height
