"""The library that downstream services import: candles, ticks, features and universes of a lake.

What belongs here: its public names. Nothing below loads Dagster, settings or the environment.
"""

from tickhandler_dagster.client.earlier import CandleDataReader, DataClient, QueryHandler
from tickhandler_dagster.client.earlier_features import HFTFeaturesReader, MFTFeaturesReader
from tickhandler_dagster.client.earlier_ticks import TickDataReader
from tickhandler_dagster.client.market_data import MarketData
from tickhandler_dagster.client.opening import open_market_data
from tickhandler_dagster.client.rows import ReadPlan, Rows

__all__ = [
    "CandleDataReader",
    "DataClient",
    "HFTFeaturesReader",
    "MFTFeaturesReader",
    "MarketData",
    "QueryHandler",
    "ReadPlan",
    "Rows",
    "TickDataReader",
    "open_market_data",
]
