"""The windows of mid-frequency features, in bars.

What belongs here: the defaults and their rules. A YAML file may replace any of them (`settings/`
reads it); names of columns carry the window, so that another window is another column.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows by family of features, each a number of bars.

    Attributes:
        horizons: Horizons of returns, momentum and changes.
        volatility: Windows of volatility estimators.
        vol_ratios: (short, long) pairs of volatility windows.
        averages: Windows of moving averages, z-scores and positions in a range.
        ewma_half_lives: Half-lives of exponentially weighted volatility.
        rsi: Periods of the relative strength index.
        macd: (fast, slow, signal) periods.
        bollinger: Windows of Bollinger bands.
        atr: Periods of average true range and directional movement.
        trend: Windows of the regression of log price on time.
        autocorrelation: Windows of autocorrelation and lead-lag.
        lags: Lags of autocorrelation and lead-lag.
        variance_ratio: (q, window) pairs.
        hurst: Windows of the Hurst exponent.
        moments: Windows of skewness, kurtosis and drawdown.
        reference: Windows of beta, correlation and residual to the reference instrument.
        flow: Windows of volume, flow and cost averages.
        carry: Windows of funding, open interest, basis and surface features.
    """

    horizons: tuple[int, ...] = (1, 5, 15, 60)
    volatility: tuple[int, ...] = (20, 60)
    vol_ratios: tuple[tuple[int, int], ...] = ((20, 60),)
    averages: tuple[int, ...] = (5, 10, 20, 60)
    ewma_half_lives: tuple[int, ...] = (11,)
    rsi: tuple[int, ...] = (5, 14)
    macd: tuple[tuple[int, int, int], ...] = ((12, 26, 9),)
    bollinger: tuple[int, ...] = (20,)
    atr: tuple[int, ...] = (14,)
    trend: tuple[int, ...] = (20, 60)
    autocorrelation: tuple[int, ...] = (60, 120)
    lags: tuple[int, ...] = (1, 2, 3)
    variance_ratio: tuple[tuple[int, int], ...] = ((2, 60), (5, 120))
    hurst: tuple[int, ...] = (256,)
    moments: tuple[int, ...] = (60,)
    reference: tuple[int, ...] = (60, 120)
    flow: tuple[int, ...] = (5, 20, 60)
    carry: tuple[int, ...] = (20, 60)
