"""An estimated number: the likely value between a low and a high one.

What belongs here: the value and its arithmetic. What does not: where a range comes from
(`file_sizes.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_T95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)
"""95 % quantile of Student's t for 1, 2 … degrees of freedom; the normal one beyond the table."""

_NORMAL95 = 1.645
_LEAST_SPREAD = 0.05
"""Days that happened to be alike do not make the next one certain: deviation of logarithms."""

_ONE_DAY = 3.0
"""Factor of the range after a single day."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number not known yet.

    Attributes:
        likely: Expected.
        low: One in twenty is lower.
        high: One in twenty is higher.

    Example:
        >>> Amount.exact(2) + Amount(1.0, 0.5, 3.0)
        Amount(likely=3.0, low=2.5, high=5.0)
    """

    likely: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def exact(cls, value: float) -> Amount:
        """A number that is known."""
        return cls(float(value), float(value), float(value))

    def __add__(self, other: Amount) -> Amount:
        """The sum; ranges add up as they are.

        Busy days come together, on all instruments and venues: errors do not cancel as independent
        ones would, and a narrower range of the total would promise too much.
        """
        return Amount(self.likely + other.likely, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Amount:
        """The amount `factor` times, which is not negative."""
        return Amount(self.likely * factor, self.low * factor, self.high * factor)

    def within(self, spread: Spread) -> Amount:
        """The amount where days differ by `spread`."""
        return Amount(self.likely * spread.centre, self.low * spread.low, self.high * spread.high)

    def at_least(self, other: Amount) -> Amount:
        """The larger of both, value by value."""
        return Amount(
            max(self.likely, other.likely), max(self.low, other.low), max(self.high, other.high)
        )

    @property
    def is_zero(self) -> bool:
        """Nothing at all."""
        return self.high == 0


ZERO = Amount()


@dataclass(frozen=True, slots=True)
class Spread:
    """By which factors a day differs from what the statistics say of it."""

    centre: float = 1.0
    low: float = 1.0
    high: float = 1.0

    def widened(self, factor: float) -> Spread:
        """A range wider by `factor` on both sides."""
        return Spread(self.centre, self.low / factor, self.high * factor)


TIME_SPREAD = Spread(1.0, 0.5, 3.0)
"""Of a time computed from speeds: machines differ, and do other things as well."""


def spread_of(ratios: Sequence[float]) -> Spread:
    """The range of the next ratio after these: 5 % and 95 % of a lognormal prediction.

    Args:
        ratios: What days had over what the statistics say of them; those of 0 say nothing.

    Example:
        >>> wide, narrow = spread_of([0.5, 1.0, 2.0]), spread_of([0.9, 1.0, 1.1])
        >>> wide.high > narrow.high > 1 > narrow.low > wide.low
        True
    """
    logs = [math.log(ratio) for ratio in ratios if ratio > 0]
    if len(logs) < 2:  # noqa: PLR2004  (a deviation needs two)
        return Spread().widened(_ONE_DAY)
    mean = sum(logs) / len(logs)
    variance = sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)
    deviation = max(math.sqrt(variance), _LEAST_SPREAD)
    quantile = _T95[len(logs) - 2] if len(logs) - 2 < len(_T95) else _NORMAL95
    reach = quantile * deviation * math.sqrt(1 + 1 / len(logs))
    return Spread(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


def add_up(amounts: Iterable[Amount]) -> Amount:
    """The sum of them; zero of none."""
    return sum(amounts, ZERO)
