"""The assets `live/…`: what a live session makes, shown by Dagster and made outside it.

What belongs here: which live tables there are, their columns, and the checks that a session's
reports evaluate. What does not: the session (`streaming/`) and its reports
(`automation/live_reports.py`).

Dagster does not run the stream: an op that never ends holds a place among the runs, dies with its
worker and is not started again. A session reports to the instance instead, and these definitions
give its reports a place.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from tickhandler_dagster.assets.columns import column_schema
from tickhandler_dagster.assets.live_parity import GROUP
from tickhandler_dagster.checks.policy import POLICY, CheckName
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.live.live_candle_table import LIVE_CANDLE_TABLE
from tickhandler_dagster.market.live.live_tick_table import LIVE_TICK_TABLES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.streaming.sidecar_plan import LIVE_TYPES

LIVE = "live"
FEED = dg.AssetKey([LIVE, "feed"])
FEED_CHECKS = (CheckName.FED, CheckName.IN_TIME)

WARN_AFTER, FAIL_AFTER = dt.timedelta(minutes=5), dt.timedelta(minutes=15)
"""Without a report a table is stale after that; a session reports every minute."""


def ticks_key(data_type: DataType) -> dg.AssetKey:
    """The live table of a data type.

    Example:
        >>> ticks_key(DataType.TRADES).to_user_string()
        'live/ticks_trades'
    """
    return dg.AssetKey([LIVE, f"ticks_{data_type.value.lower()}"])


def live_candles_key(timeframe: Timeframe) -> dg.AssetKey:
    """The live bars of a timeframe.

    Example:
        >>> live_candles_key(Timeframe.M1).to_user_string()
        'live/candles_1m'
    """
    return dg.AssetKey([LIVE, f"candles_{timeframe}"])


def build_live_tables() -> list[dg.AssetSpec]:
    """Every live table as an asset that no run can make."""
    freshness = dg.FreshnessPolicy.time_window(fail_window=FAIL_AFTER, warn_window=WARN_AFTER)
    feed = dg.AssetSpec(
        FEED,
        group_name=GROUP,
        freshness_policy=freshness,
        kinds={"stream"},
        description=(
            "The feeds of the running live session, one report a minute: connected or not, lag, "
            "skew of the clocks, gaps, rows lost to overflow, size of the spool.\n\n"
            "Made by `tickhandler streaming-candles` or `streaming-ticks`, not by a run."
        ),
    )
    ticks = [
        dg.AssetSpec(
            ticks_key(data_type),
            deps=[FEED],
            group_name=GROUP,
            freshness_policy=freshness,
            kinds={"stream", "parquet"},
            metadata=column_schema(LIVE_TICK_TABLES[data_type]),
            description=(
                f"Live ticks of {data_type}, by arrival, in the lake under `live_ticks/` or in "
                "BigQuery. Tomorrow's files of the vendor are the truth; these are what was known."
            ),
        )
        for data_type in LIVE_TYPES
    ]
    candles = [
        dg.AssetSpec(
            live_candles_key(timeframe),
            deps=[FEED],
            group_name=GROUP,
            freshness_policy=None if timeframe.us > FAIL_AFTER.total_seconds() * 1e6 else freshness,
            kinds={"stream", "parquet"},
            metadata=column_schema(LIVE_CANDLE_TABLE),
            description=(
                f"Live bars of {timeframe} of the batch's kernel: provisional at the end of the "
                "grace, complete once what looks past the end is in, amended where rows came late. "
                "`live_parity` compares them with the batch."
            ),
        )
        for timeframe in Timeframe
    ]
    return [feed, *ticks, *candles]


def feed_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks of the feed, evaluated by the session's reports and anew on demand."""
    return [
        dg.AssetCheckSpec(name.value, asset=FEED, description=POLICY[name].description)
        for name in FEED_CHECKS
    ]
