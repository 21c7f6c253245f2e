"""Golden vectors of price indicators: `python tests/mft/golden/prices` with TA-Lib and numpy.

Simulated bars without gaps and what TA-Lib says of some of them. The library is no dependency of
the project: the numbers are kept, with the version they are from.
"""

import json
from pathlib import Path

import numpy as np
import talib

BARS = 700
EARLY, LATE = range(280, 400, 20), range(560, BARS, 10)
ENDS = (*EARLY, *LATE)


def simulated():
    """Heavy-tailed returns with trends; prices on a tick of 0.01, as venues quote."""
    rng = np.random.default_rng(20240808)
    drift = np.repeat(rng.normal(0, 3e-4, BARS // 50), 50)
    close = np.round(250 * np.exp(np.cumsum(drift + rng.standard_t(4, BARS) * 8e-4)), 2)
    opened = np.round(np.concatenate([[250.0], close[:-1]]) * np.exp(rng.normal(0, 1e-4, BARS)), 2)
    high = np.round(np.maximum(opened, close) + rng.exponential(0.12, BARS), 2)
    low = np.round(np.minimum(opened, close) - rng.exponential(0.12, BARS), 2)
    volume = np.round(rng.lognormal(2, 1, BARS), 3)
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def indicators(bars):
    """By the entry's name; each definition is the library's own output or a ratio of two."""
    high, low, close, volume = (bars[name] for name in ("high", "low", "close", "volume"))
    line, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    balance = talib.OBV(close, volume)
    found = {
        "macd": line,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "macd_to_price_12_26_9": line / close,
        "macd_signal_to_price_12_26_9": signal / close,
        "macd_histogram_to_price_12_26_9": histogram / close,
        "bollinger_upper": upper,
        "bollinger_lower": lower,
        "bollinger_position": (close - lower) / (upper - lower),
        "bollinger_percent_b_20": (close - lower) / (upper - lower),
        "bollinger_width": (upper - lower) / middle,
        "bollinger_width_20": (upper - lower) / middle,
        "atr_14": talib.ATR(high, low, close, 14),
        "natr_pct_14": talib.NATR(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "wma_5": talib.WMA(close, 5),
        "volume_sma_5": talib.SMA(volume, 5),
        "volume_ema_5": talib.EMA(volume, 5),
    }
    for bars_back in (5, 20, 60):
        change = np.full(BARS, np.nan)
        change[bars_back:] = balance[bars_back:] - balance[:-bars_back]
        found[f"obv_change_{bars_back}"] = change
    for period in (5, 14):
        found[f"rsi_{period}"] = talib.RSI(close, period)
    for horizon in (1, 5, 15, 60):
        found[f"roc_pct_{horizon}"] = talib.ROC(close, horizon)
        found[f"momentum_{horizon}"] = talib.ROCP(close, horizon)
    for horizon in (3, 5, 10, 20):
        found[f"price_momentum_{horizon}"] = talib.ROCP(close, horizon)
    for count in (20, 60):
        found[f"trend_slope_{count}"] = talib.LINEARREG_SLOPE(np.log(close), count)
    for count in (5, 10, 20):
        found[f"price_volatility_{count}"] = talib.STDDEV(close, count)
        found[f"ema_{count}"] = talib.EMA(close, count)
    for count in (5, 10, 20, 60):
        found[f"sma_{count}"] = talib.SMA(close, count)
    return found


def main():
    bars = simulated()
    content = {
        "made_with": {"TA-Lib": talib.__version__},
        "bars": {name: values.tolist() for name, values in bars.items()},
        "early": list(EARLY),
        "late": list(LATE),
        "values": {
            name: {str(end): float(values[end]) for end in ENDS}
            for name, values in indicators(bars).items()
        },
    }
    Path(__file__).with_name("golden.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
