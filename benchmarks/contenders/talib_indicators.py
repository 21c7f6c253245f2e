"""TA-Lib as one would write it: a stated part of the features, one pass over all days.

What it computes: rates of change, moving averages, MACD, RSI, Bollinger bands, ATR, directional
movement, standard deviations, slopes and on-balance volume, under this project's names. What it
does not, and this project does: the other columns, gaps, bars without trades, finality, when each
value could be known, other instruments and venues, a file and a manifest for each day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import talib
from job import Job

LIBRARY = "TA-Lib"

_COLUMNS = ["ts_open", "high", "low", "close", "volume"]
_TIMEFRAME = "1m"


def mft(job: Job) -> None:
    """Every instrument's whole series, one file each."""
    for symbol in sorted(path.stem for path in _day(job.lake, job.date).glob("*.parquet")):
        bars = _series(job.lake, symbol)
        values = {name: bars[name].to_numpy() for name in _COLUMNS[1:]}
        columns = {"ts_open": bars["ts_open"], **_indicators(values)}
        pq.write_table(pa.table(columns), job.folder / f"{symbol}.parquet", compression="zstd")


def result_mft(job: Job) -> Path:
    """The series of the measured instrument."""
    return job.folder / f"{job.symbol}.parquet"


def _day(lake: Path, date: str) -> Path:
    return lake / f"processed_candles/by_date/day-{date}/timeframe-{_TIMEFRAME}"


def _series(lake: Path, symbol: str) -> pa.Table:
    files = sorted(
        lake.glob(f"processed_candles/by_date/*/timeframe-{_TIMEFRAME}/{symbol}.parquet")
    )
    # One by one: a data set of many files would read the partition out of their folders' names.
    parts = (pq.ParquetFile(file).read(columns=_COLUMNS) for file in files)
    return pa.concat_tables(parts).combine_chunks()


def _indicators(bars: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    high, low, close, volume = (bars[name] for name in ("high", "low", "close", "volume"))
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    balance = talib.OBV(close, volume)
    logs = np.log(close)
    return {
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "macd_to_price_12_26_9": macd / close,
        "macd_signal_to_price_12_26_9": signal / close,
        "macd_histogram_to_price_12_26_9": histogram / close,
        "bollinger_upper": upper,
        "bollinger_lower": lower,
        "bollinger_percent_b_20": (close - lower) / (upper - lower),
        "bollinger_width_20": (upper - lower) / middle,
        "atr_14": talib.ATR(high, low, close, 14),
        "natr_pct_14": talib.NATR(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "wma_5": talib.WMA(close, 5),
        "volume_sma_5": talib.SMA(volume, 5),
        "volume_ema_5": talib.EMA(volume, 5),
        **{f"obv_change_{count}": _change(balance, count) for count in (5, 20, 60)},
        **{f"trend_slope_{count}": talib.LINEARREG_SLOPE(logs, count) for count in (20, 60)},
        **dict(_of_closes(close)),
    }


def _of_closes(close: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for count in (5, 14):
        yield f"rsi_{count}", talib.RSI(close, count)
    for count in (3, 5, 10, 20):
        yield f"price_momentum_{count}", talib.ROCP(close, count)
    for count in (1, 5, 15, 60):
        yield f"momentum_{count}", talib.ROCP(close, count)
        yield f"roc_pct_{count}", talib.ROC(close, count)
    for count in (5, 10, 20):
        yield f"price_volatility_{count}", talib.STDDEV(close, count)
        yield f"ema_{count}", talib.EMA(close, count)
    for count in (5, 10, 20, 60):
        yield f"sma_{count}", talib.SMA(close, count)


def _change(values: np.ndarray, count: int) -> np.ndarray:
    changes = np.full(len(values), np.nan)
    changes[count:] = values[count:] - values[:-count]
    return changes
