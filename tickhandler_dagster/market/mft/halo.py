"""Which days before its own a day of features reads: declared by the entries, not guessed.

What belongs here: from look-backs and joined columns to days. What does not: reading them
(`pipeline`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tickhandler_dagster.market.mft.carry import TRAILING_DAYS
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.flow import SLOT_WEEKS
from tickhandler_dagster.market.timeframes import Timeframe

SLOT_INPUTS = ("slot_volume_mean_4w", "slot_volume_count_4w")
"""Joined columns that come from the same slot of earlier weeks."""

DAILY_INPUTS = (
    "funding_mean_30d",
    "funding_std_30d",
    "funding_count_30d",
    "realized_variance_30d",
)
"""Joined columns that come from 24 h candles of earlier days."""

_DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True)
class Halo:
    """Days before its own that a day reads, as numbers of days back.

    Attributes:
        series: Days whose bars are one series with the day's: 1, 2, … up to the longest look-back.
        slots: Single days, whole weeks back, for the same slot of the week.
        daily: Days whose 24 h candle is read.
    """

    series: tuple[int, ...]
    slots: tuple[int, ...]
    daily: tuple[int, ...]

    @property
    def own_days(self) -> int:
        """The earliest day back whose candles of the same timeframe are read."""
        return max((*self.series, *self.slots), default=0)

    @property
    def daily_days(self) -> int:
        """The earliest day back whose 24 h candles are read."""
        return max(self.daily, default=0)


def halo_bars(features: Iterable[MftFeature]) -> int:
    """The longest look-back, in bars; 0 where there are no features."""
    return max((feature.look_back for feature in features), default=0)


def halo_of(features: Sequence[MftFeature], timeframe: Timeframe) -> Halo:
    """Days that a day of all these features reads.

    Example:
        >>> halo_of((), Timeframe.M1)
        Halo(series=(), slots=(), daily=())
    """
    days = -(-halo_bars(features) // timeframe.bars_per_day)
    weeks = SLOT_WEEKS if reads(features, SLOT_INPUTS) else 0
    return Halo(
        series=tuple(range(1, days + 1)),
        slots=tuple(_DAYS_PER_WEEK * week for week in range(1, weeks + 1)),
        daily=tuple(range(1, TRAILING_DAYS + 1)) if reads(features, DAILY_INPUTS) else (),
    )


def halo_days(timeframe: Timeframe, features: Sequence[MftFeature]) -> int:
    """The earliest day back that a day of all these features reads, of any timeframe."""
    halo = halo_of(features, timeframe)
    return max(halo.own_days, halo.daily_days)


def reads(features: Iterable[MftFeature], columns: Collection[str]) -> bool:
    """A feature reads one of the columns."""
    return any(name in columns for feature in features for name in feature.inputs)
