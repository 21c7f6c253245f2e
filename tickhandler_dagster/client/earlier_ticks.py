"""The earlier reader of ticks, by the earlier names and arguments, over `MarketData`.

What belongs here: translation. What does not: any rule of reading. As they were documented, spans
include both ends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.counted_file import ReadCount, open_counted
from tickhandler_dagster.adapters.row_group_reads import RowGroupFile
from tickhandler_dagster.client.earlier import DataClient
from tickhandler_dagster.client.spans import Moment, after_included, moment_of, moment_us
from tickhandler_dagster.client.ticks import Clock
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream


class TickDataReader:
    """Ticks by the earlier name.

    Args:
        client: Where the lake is.
    """

    def __init__(self, client: DataClient) -> None:
        self._data = client.data

    def get_tick_data(
        self,
        instrument_id: str,
        start_time: Moment,
        end_time: Moment,
        data_types: Sequence[str] = ("trades",),
        **options: Any,  # noqa: ANN401  (those of `MarketData.ticks`)
    ) -> pl.DataFrame:
        """Ticks from `start_time` to `end_time`, both included, with their data type."""
        frames = [
            self._data.ticks(
                instrument_id, start_time, after_included(end_time), data_type=name, **options
            )
            .collect()
            .with_columns(pl.lit(name).alias("data_type"))
            for name in data_types
        ]
        return pl.concat(frames, how="diagonal").sort("timestamp", maintain_order=True)

    def get_tick_data_optimized(
        self,
        instrument_id: str,
        start_time: Moment,
        end_time: Moment,
        data_types: Sequence[str] = ("trades",),
        *,
        use_predicate_pushdown: bool = True,  # noqa: ARG002  (an earlier argument)
        **options: Any,  # noqa: ANN401  (those of `MarketData.ticks`)
    ) -> pl.DataFrame:
        """The same as `get_tick_data`, which reads no row group that is not needed either."""
        return self.get_tick_data(instrument_id, start_time, end_time, data_types, **options)

    def get_tick_data_streaming(
        self,
        instrument_id: str,
        start_time: Moment,
        end_time: Moment,
        *,
        chunk_size: int = 10_000,
        **options: Any,  # noqa: ANN401  (those of `get_tick_data`)
    ) -> Iterator[pl.DataFrame]:
        """The same in frames of at most `chunk_size` rows."""
        yield from self.get_tick_data(instrument_id, start_time, end_time, **options).iter_slices(
            chunk_size
        )

    def get_sparse_candles(
        self,
        instrument_id: str,
        candle_times: Sequence[Moment],
        data_types: Sequence[str] = ("trades",),
        buffer_minutes: float = 5,
        **options: Any,  # noqa: ANN401  (those of `MarketData.ticks`)
    ) -> dict[Moment, pl.DataFrame]:
        """Ticks within so many minutes of each time; only the row groups near one are read."""
        near = dt.timedelta(minutes=buffer_minutes)
        frame = pl.concat(
            [
                self._data.ticks(
                    instrument_id,
                    data_type=name,
                    around=candle_times,
                    before=near,
                    after=near,
                    **options,
                )
                .collect()
                .with_columns(pl.lit(name).alias("data_type"))
                for name in data_types
            ],
            how="diagonal",
        )
        found = {}
        for time in candle_times:
            moment = moment_of(moment_us(time))
            is_near = (pl.col("timestamp") >= moment - near) & (pl.col("timestamp") < moment + near)
            found[time] = frame.filter(is_near)
        return found

    def get_sparse_data_ranges(
        self,
        instrument_id: str,
        date: Moment,
        data_types: Sequence[str] = ("trades",),
        time_partition_minutes: int = 1,  # noqa: ARG002  (an earlier argument: parts are as stored)
    ) -> dict[str, list[tuple[dt.datetime, dt.datetime, int, int]]]:
        """By data type the parts that a day's file is read in.

        A part is a row group: its first and last arrival, its first byte, and the first after it.
        """
        found = {}
        for name in data_types:
            rows = self._data.ticks(
                instrument_id,
                date,
                after_included(date),
                data_type=name,
                clock="local",
                on_gap="keep",
            )
            parts = [part for path in rows.plan().paths for part in self._parts(path)]
            found[name] = [
                (moment_of(first), moment_of(last), start, end) for first, last, start, end in parts
            ]
        return found

    def get_data_summary(self, instrument_id: str, date: Moment) -> dict[str, int]:
        """Number of rows of the day's file by data type, of those that the lake has."""
        found = {}
        for kind in DataType:
            rows = self._data.ticks(
                instrument_id,
                date,
                after_included(date),
                data_type=kind.value,
                clock="local",
                on_gap="keep",
            )
            try:
                found[kind.value] = rows.plan().rows
            except (MissingUpstream, InvalidInput):
                continue
        return found

    def get_available_instruments(self, date: Moment, **attributes: Any) -> list[str]:  # noqa: ANN401
        """Keys of the day's universe."""
        frame = self._data.instruments(date, after_included(date), **attributes).collect()
        return frame["instrument_key"].to_list()

    def _parts(self, path: str) -> list[tuple[int, int, int, int]]:
        opened = open_counted(self._data.lake.store, path, ReadCount())
        if opened is None:
            return []
        with opened:
            return RowGroupFile(opened, path, Clock.LOCAL.column).parts()
