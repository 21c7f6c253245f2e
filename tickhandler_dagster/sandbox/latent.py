"""The hidden price of every underlying: one continuous path with heavy tails and bursts.

What belongs here: the path and its intensity. What an instrument makes of it (basis, forward,
premium) is `fair_value.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.sandbox.seeds import Floats, Ints, stream

_SECONDS = 86_400
_FIRST_ANCHOR = dt.date(2019, 1, 1)
_ANCHOR_DAYS = 6_000
_MEAN_REVERSION = 0.01
_STUDENT_DOF = 4


@dataclass(frozen=True, slots=True)
class Asset:
    """A simulated asset.

    Attributes:
        price: Level its price returns to, in USD.
        daily_volatility: Standard deviation of a day's log return.
        market_share: Correlation with the common factor.
    """

    price: float
    daily_volatility: float
    market_share: float


ASSETS: Mapping[str, Asset] = MappingProxyType(
    {
        "BTC": Asset(60_000.0, 0.028, 0.9),
        "ETH": Asset(2_600.0, 0.036, 0.8),
        "XRP": Asset(0.55, 0.045, 0.5),
        "DOGE": Asset(0.11, 0.05, 0.5),
        "PEPE": Asset(8e-6, 0.06, 0.4),
        "TON": Asset(6.4, 0.05, 0.3),
        "WAVES": Asset(0.95, 0.06, 0.2),
    }
)

USD_PER_UNIT: Mapping[str, float] = MappingProxyType(
    {"USD": 1.0, "USDT": 1.0, "USDC": 1.0, "KRW": 1 / 1_380}
)
"""Currencies whose price does not move here."""


class LatentPrices:
    """Log prices in USD as a function of time, the same whatever was asked before.

    Args:
        seed: Seed of the whole market.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._day = lru_cache(maxsize=24)(self._compute_day)
        self._anchors = lru_cache(maxsize=None)(self._compute_anchors)

    def log_price(self, asset: str, times: Ints) -> Floats:
        """Log of the USD price of one unit of `asset` at each time.

        Units: times in microseconds from the Unix epoch.
        """
        if asset in USD_PER_UNIT:
            return np.full(times.shape, np.log(USD_PER_UNIT[asset]))
        result = np.empty(times.shape)
        days = times // US_PER_DAY
        for day in np.unique(days).tolist():
            chosen = days == day
            seconds = (times[chosen] - day * US_PER_DAY) / US_PER_SECOND
            result[chosen] = np.interp(seconds, np.arange(_SECONDS + 1), self._day(asset, day)[0])
        return result

    def activity(self, asset: str, day: dt.date) -> Floats:
        """How busy each second of `day` is, with a mean of one. Shape: (86400,)."""
        return self._day(asset, (day - dt.date(1970, 1, 1)).days)[1]

    def opening_price(self, asset: str, day: dt.date) -> float:
        """The USD price at 00:00 of `day`, without computing the day."""
        return float(np.exp(self._anchors(asset)[self._anchor_index(day)]))

    @staticmethod
    def _anchor_index(day: dt.date) -> int:
        return min(max((day - _FIRST_ANCHOR).days, 0), _ANCHOR_DAYS - 2)

    def _compute_anchors(self, asset: str) -> Floats:
        """Log prices at midnights: a walk that is pulled back to the asset's level."""
        terms = ASSETS[asset]
        shocks = (
            stream(self._seed, "anchors", asset).standard_normal(_ANCHOR_DAYS)
            * terms.daily_volatility
        )
        level = np.log(terms.price)
        anchors = np.empty(_ANCHOR_DAYS)
        deviation = 0.0
        for number, shock in enumerate(shocks.tolist()):
            deviation += shock - _MEAN_REVERSION * deviation
            anchors[number] = level + deviation
        return anchors

    def _volatility_profile(self, asset: str, day: int) -> Floats:
        rng = stream(self._seed, "bursts", asset, day)
        seconds = np.arange(_SECONDS)
        profile = 0.8 + 0.4 * np.sin(2 * np.pi * (seconds / _SECONDS - 0.3)) ** 2
        slow = np.interp(seconds, np.linspace(0, _SECONDS, 97), 0.35 * rng.standard_normal(97))
        profile *= np.exp(slow)
        for start in rng.integers(0, _SECONDS, rng.poisson(6)).tolist():
            tail = seconds[start:] - start
            profile[start:] += rng.uniform(2, 8) * np.exp(-tail / rng.uniform(40, 300))
        return np.asarray(profile / profile.mean(), dtype=np.float64)

    def _compute_day(self, asset: str, day: int) -> tuple[Floats, Floats]:
        """Log prices at 0..86400 s, a bridge between two midnights, and the activity per second."""
        terms = ASSETS[asset]
        profile = self._volatility_profile(asset, day)
        common = stream(self._seed, "market", day).standard_t(_STUDENT_DOF, _SECONDS)
        own = stream(self._seed, "returns", asset, day).standard_t(_STUDENT_DOF, _SECONDS)
        share = terms.market_share
        shocks = share * common + np.sqrt(1 - share**2) * own
        spread_of_sum = np.sqrt(_STUDENT_DOF / (_STUDENT_DOF - 2) * _SECONDS)
        walk = np.concatenate(([0.0], np.cumsum(profile * shocks))) * (
            terms.daily_volatility / spread_of_sum
        )
        index = self._anchor_index(dt.date(1970, 1, 1) + dt.timedelta(days=day))
        start, end = self._anchors(asset)[index : index + 2]
        ramp = np.linspace(0.0, 1.0, _SECONDS + 1)
        return start + walk + ramp * (end - start - walk[-1]), profile
