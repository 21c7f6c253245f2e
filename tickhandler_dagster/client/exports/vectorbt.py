"""A pandas frame as vectorbt takes it: a row for each bar's end, a column for each instrument.

What belongs here: the shape. What does not: rules of reading. Checked with vectorbt 1.2.0.

A bar's row is its end, since all instruments must share their rows; `available_at`, which each bar
has of its own, is a little later. Who decides on a row therefore trades on a later one, as
vectorbt's users do by shifting signals by one; a bar that was not known even then is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tickhandler_dagster.client.market_data import Instruments, MarketData
from tickhandler_dagster.client.spans import Moment
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.timeframes import Timeframe, parse_timeframe

if TYPE_CHECKING:
    import pandas as pd

_NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}


def vectorbt_frame(
    data: MarketData,
    instruments: Instruments,
    timeframe: str,
    start: Moment,
    end: Moment,
    **options: Any,  # noqa: ANN401  (those of `MarketData.candles`)
) -> pd.DataFrame:
    """Open, high, low, close and volume; `frame["Close"]` has a column for each instrument.

    Nulls: bars in which nobody traded (but for `fill`), bars that are masked (`on_gap="mask"`), and
    bars that were first known after the end of the bar that follows.

    Args:
        data: The lake.
        instruments: Keys or patterns; None where attributes say which.
        timeframe: 15s to 24h.
        start: First moment.
        end: First moment after.
        options: Those of `MarketData.candles`, attributes of instruments among them, but for
            `columns`.

    Raises:
        InvalidInput: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415  (optional: nothing else here needs it)
    except ImportError:
        raise InvalidInput(
            "pandas", "not installed", remedy="Install pandas, which vectorbt needs as well"
        ) from None
    rows = _known_in_time(
        data.candles(instruments, timeframe, start, end, columns=list(_NAMES), **options).collect(),
        parse_timeframe(timeframe),
    )
    wide = rows.pivot(  # noqa: PD010  (of Polars, which has no other)
        "instrument_key", index="ts_close", values=list(_NAMES)
    ).sort("ts_close")
    keys = rows["instrument_key"].unique(maintain_order=True).to_list()
    # a pivot of several values names its columns after both, value first
    places = [(name, key) for name in _NAMES for key in keys]
    frame = wide.drop("ts_close").to_pandas()[[f"{name}_{key}" for name, key in places]]
    frame.columns = pd.MultiIndex.from_tuples(
        [(_NAMES[name], key) for name, key in places], names=["field", "instrument_key"]
    )
    frame.index = pd.DatetimeIndex(wide["ts_close"].to_pandas(), name="ts_close")
    return frame


def _known_in_time(bars: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """The bars, null where they were first known after the end of the bar that follows."""
    is_known = pl.col("available_at") <= pl.col("ts_close") + pl.duration(microseconds=timeframe.us)
    return bars.with_columns(pl.when(is_known).then(pl.col(name)).alias(name) for name in _NAMES)
