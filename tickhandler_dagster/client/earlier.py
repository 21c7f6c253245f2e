"""The earlier client and its candles, by the earlier names and arguments, over `MarketData`.

What belongs here: translation. What does not: any rule of reading; ticks (`earlier_ticks.py`) and
features (`earlier_features.py`). Dates are UTC days; as they
were documented, spans are by the bar's or tick's time and include both ends: an `end_date` that is
a day includes that day, and one that is a time includes that moment. Frames are Polars, sorted by
time. What used to be an empty frame is an error that says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tickhandler_dagster.client.market_data import MarketData
from tickhandler_dagster.client.opening import open_market_data
from tickhandler_dagster.client.spans import Moment, after_included, days_of, utc_span
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream
from tickhandler_dagster.market.timeframes import Timeframe


class DataClient:
    """Where the lake is.

    Args:
        where: A folder, `gs://bucket/prefix`, or an opened `MarketData`.
        config: Taken and not used, as callers pass one.
    """

    def __init__(self, where: str | Path | MarketData, config: object = None) -> None:
        self.data = where if isinstance(where, MarketData) else open_market_data(where)
        self.config = config

    def get_instrument_definitions(
        self,
        start_date: Moment,
        end_date: Moment,
        **attributes: Any,  # noqa: ANN401  (each has its type)
    ) -> pl.DataFrame:
        """Universes of the days, both included."""
        return self.data.instruments(start_date, after_included(end_date), **attributes).collect()

    def get_tick_data(
        self,
        instrument_ids: Sequence[str],
        start_date: Moment,
        end_date: Moment,
        data_types: Sequence[str] = ("trades", "book_snapshot_5"),
        *,
        max_date_range_days: int = 365,
        max_instruments_per_query: int = 1000,
    ) -> list[str]:
        """Paths in the lake of the files that hold these ticks.

        Raises:
            InvalidInput: more days or instruments than the bounds.
        """
        days = len(days_of(utc_span(start_date, after_included(end_date))))
        for subject, count, bound in (
            ("days", days, max_date_range_days),
            ("instruments", len(instrument_ids), max_instruments_per_query),
        ):
            if count > bound:
                raise InvalidInput(
                    subject,
                    "more than one call takes",
                    was=count,
                    expected=f"{bound} at most",
                    remedy="Ask for parts, or raise max_date_range_days, max_instruments_per_query",
                )
        paths: list[str] = []
        for data_type in data_types:
            rows = self.data.ticks(
                instrument_ids,
                start_date,
                after_included(end_date),
                data_type=data_type,
                clock="local",
                on_gap="keep",
            )
            paths += rows.plan().paths
        return paths

    def get_tick_data_paths(
        self,
        instrument_ids: Sequence[str],
        start_date: Moment,
        end_date: Moment,
        data_types: Sequence[str] = ("trades", "book_snapshot_5"),
        **bounds: int,
    ) -> list[str]:
        """The same as `get_tick_data`."""
        return self.get_tick_data(instrument_ids, start_date, end_date, data_types, **bounds)

    def read_parquet_file(self, name: str) -> pl.DataFrame:
        """A stored table by its path in the lake, whole and without any rule of reading.

        Raises:
            MissingUpstream: the lake has none of that name.
        """
        local = self.data.lake.store.local(name)
        if local is None:
            raise MissingUpstream(
                name,
                "not in the lake",
                remedy="Ask get_tick_data for paths, or MarketData, which needs none",
            )
        return pl.read_parquet(local, glob=False, hive_partitioning=False)

    def check_data_availability(
        self, start_date: Moment, end_date: Moment, *, venue: str
    ) -> pl.DataFrame:
        """The completeness of a venue's days, both included."""
        return self.data.completeness(start_date, after_included(end_date), venue=venue).collect()


class QueryHandler(DataClient):
    """The client by its other earlier name."""


class CandleDataReader:
    """Candles by the earlier name.

    Args:
        client: Where the lake is.
    """

    def __init__(self, client: DataClient) -> None:
        self._data = client.data

    def get_candles(
        self,
        instrument_id: str,
        timeframe: str,
        start_date: Moment,
        end_date: Moment,
        **options: Any,  # noqa: ANN401  (those of `MarketData.candles`)
    ) -> pl.DataFrame:
        """Bars from `start_date` to `end_date`, both included."""
        rows = self._data.candles(
            instrument_id, timeframe, start_date, after_included(end_date), **options
        )
        return rows.collect().sort("ts_open")

    def get_candles_for_timeframe(
        self, instrument_id: str, timeframe: str, date: Moment
    ) -> pl.DataFrame:
        """Bars of a day."""
        return self.get_candles(instrument_id, timeframe, date, date)

    def get_multiple_timeframes(
        self, instrument_id: str, timeframes: Sequence[str], start_date: Moment, end_date: Moment
    ) -> dict[str, pl.DataFrame]:
        """Bars by timeframe."""
        return {
            timeframe: self.get_candles(instrument_id, timeframe, start_date, end_date)
            for timeframe in timeframes
        }

    def get_available_timeframes(self, instrument_id: str, date: Moment) -> list[str]:
        """Timeframes of which the day has bars of the instrument."""
        found = []
        for timeframe in Timeframe:
            rows = self._data.candles(instrument_id, timeframe, date, after_included(date))
            try:
                rows.plan()
            except (MissingUpstream, InvalidInput):
                continue
            found.append(timeframe.value)
        return found

    def get_candle_summary(self, instrument_id: str, date: Moment) -> dict[str, int]:
        """Number of bars of the day by timeframe, whatever their state."""
        return {
            timeframe: self.get_candles(
                instrument_id, timeframe, date, date, on_gap="keep", include_provisional=True
            ).height
            for timeframe in self.get_available_timeframes(instrument_id, date)
        }
