"""The spread that the highs and lows of two neighbouring bars give away.

What does not belong here: highs and lows (`base.py`).
"""

from __future__ import annotations

import math

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array

_BPS = 1e4
_DIVISOR = 3 - 2 * math.sqrt(2)


def corwin_schultz_spread_bps(high: Float64Array, low: Float64Array) -> Float64Array:
    """Relative spread from each bar and the one before it, in basis points of the price.

    A bar's range holds the variance of the bar and the spread once; the range of two bars together
    holds the variance twice and the spread still once. With `b` the sum of both squared log ranges,
    `g` the log range of both bars together and `d = 3 - 2√2`, the spread is `2(e^s - 1)/(e^s + 1)`
    of `s = (√(2b) - √b)/d - g/√d`.

    Args:
        high: Highest price of each bar of one timeframe, one element per bar of the day; NaN where
            nothing traded.
        low: Lowest price likewise.

    Nulls: NaN for the day's first bar, where either bar has no trade, and where the estimate is
        negative: ranges that overlap too little hold no spread, and 0 would be a made-up one.
    Source: Corwin and Schultz, A Simple Way to Estimate Bid-Ask Spreads from Daily High and Low
        Prices, Journal of Finance 67 (2012).

    Example:
        >>> high, low = np.array([101.0, 101.0]), np.array([100.0, 100.0])
        >>> corwin_schultz_spread_bps(high, low).round(6).tolist()
        [nan, 99.502488]
    """
    squares = np.square(np.log(high / low))
    single = squares[1:] + squares[:-1]
    joint = np.log(np.maximum(high[1:], high[:-1]) / np.minimum(low[1:], low[:-1]))
    log_spread = (np.sqrt(2 * single) - np.sqrt(single)) / _DIVISOR - joint / math.sqrt(_DIVISOR)
    spread = np.full(len(high), np.nan)
    spread[1:] = np.where(log_spread >= 0, 2 * np.tanh(log_spread / 2) * _BPS, np.nan)
    return spread
