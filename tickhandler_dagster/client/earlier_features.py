"""The earlier readers of features, by the earlier names and arguments, over `MarketData`.

What belongs here: translation. What does not: any rule of reading. As they were documented, spans
include both ends.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from tickhandler_dagster.client.earlier import DataClient
from tickhandler_dagster.client.spans import Moment, after_included
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_table import MFT_IDENTITY, mft_table
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe

HFT_TIMEFRAMES = (Timeframe.S15, Timeframe.M1)
"""Timeframes the earlier readers had microstructure features of."""


class HFTFeaturesReader:
    """Microstructure features by the earlier name.

    Args:
        client: Where the lake is.
    """

    timeframes: tuple[Timeframe, ...] = HFT_TIMEFRAMES
    source = "candles"

    def __init__(self, client: DataClient) -> None:
        self._data = client.data

    def get_hft_features(
        self,
        instrument_id: str,
        timeframe: str,
        start_date: Moment,
        end_date: Moment,
        **options: Any,  # noqa: ANN401  (those of `MarketData.features`)
    ) -> pl.DataFrame:
        """Features from `start_date` to `end_date`, both included."""
        return self._features(instrument_id, timeframe, start_date, end_date, **options)

    def get_hft_features_for_date(
        self, instrument_id: str, timeframe: str, date: Moment
    ) -> pl.DataFrame:
        """Features of a day."""
        return self.get_hft_features(instrument_id, timeframe, date, date)

    def get_available_hft_features(self) -> list[str]:
        """Names of all features."""
        return list(FEATURES)

    def get_hft_feature_summary(
        self, instrument_id: str, timeframe: str, date: Moment
    ) -> dict[str, float]:
        """By feature the share of the day's bars that have a value of it."""
        rows = self._features(instrument_id, timeframe, date, date, on_gap="keep")
        names = [name for name in self._names() if name in rows.columns]
        return {name: 1 - rows[name].null_count() / max(rows.height, 1) for name in names}

    def _names(self) -> list[str]:
        return list(FEATURES)

    def _features(
        self,
        instrument_id: str,
        timeframe: str,
        start_date: Moment,
        end_date: Moment,
        **options: Any,  # noqa: ANN401  (those of `MarketData.features`)
    ) -> pl.DataFrame:
        if parse_timeframe(timeframe) not in self.timeframes:
            raise InvalidInput(
                f"timeframe '{timeframe}'",
                "not one of this reader's",
                expected=f"one of {', '.join(self.timeframes)}",
                remedy="Ask MarketData.features for others",
            )
        rows = self._data.features(
            instrument_id,
            timeframe,
            start_date,
            after_included(end_date),
            source=self.source,
            **options,
        )
        return rows.collect().sort("ts_open")


class MFTFeaturesReader(HFTFeaturesReader):
    """Mid-frequency features by the earlier name.

    Args:
        client: Where the lake is.
    """

    timeframes = tuple(MFT_TIMEFRAMES)
    source = "mft"

    def get_mft_features(
        self,
        instrument_id: str,
        timeframe: str,
        start_date: Moment,
        end_date: Moment,
        **options: Any,  # noqa: ANN401  (those of `MarketData.features`)
    ) -> pl.DataFrame:
        """Features from `start_date` to `end_date`, both included."""
        return self._features(instrument_id, timeframe, start_date, end_date, **options)

    def get_mft_features_for_date(
        self, instrument_id: str, timeframe: str, date: Moment
    ) -> pl.DataFrame:
        """Features of a day."""
        return self.get_mft_features(instrument_id, timeframe, date, date)

    def get_mft_feature_summary(
        self, instrument_id: str, timeframe: str, date: Moment
    ) -> dict[str, float]:
        """By feature the share of the day's bars that have a value of it."""
        return self.get_hft_feature_summary(instrument_id, timeframe, date)

    def get_available_mft_features(self) -> list[str]:
        """Names of all features of the usual windows."""
        return self._names()

    def _names(self) -> list[str]:
        identity = {column.name for column in MFT_IDENTITY}
        return [name for name in mft_table(Windows()).names if name not in identity]
