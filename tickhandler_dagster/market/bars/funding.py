"""Fundings as they pass by: the interval between them and the rate each was settled at.

What belongs here: what is learnt when the ticker's next funding time moves on. What does not: the
ticker's state (`ticker.py`).

Both outlive the neighbouring day's file (a funding is eight hours apart from the next, and two must
be seen for an interval), so they are handed from day to day as a `TickerMemory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticker_ticks import TickerTicks
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_SECOND

TICKER_AGE_US = 600 * US_PER_SECOND
"""After this long without a row that carries it, a value of the ticker is no longer known."""

_US_PER_HOUR = 3_600 * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class TickerMemory:
    """What the ticker's kernel must know of the days before; None where it is not known.

    Attributes:
        interval_h: Hours between the last two fundings seen to follow each other.
        settled: Rate of the last funding that was seen to pass.
        next_us: Latest next funding time named, microseconds since the epoch.
        rate: Last rate of a row that names that time and is stamped before it.
        rate_us: Exchange time of that row.
    """

    interval_h: float | None = None
    settled: float | None = None
    next_us: int | None = None
    rate: float | None = None
    rate_us: int | None = None

    def to_json(self) -> dict[str, float | int | None]:
        """The fields, as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, mapping: Mapping[str, float | int | None]) -> TickerMemory:
        """The memory with these fields.

        Example:
            >>> memory = TickerMemory(interval_h=8.0, next_us=1_723_132_800_000_000)
            >>> TickerMemory.from_json(memory.to_json()) == memory
            True
        """
        whole = {
            name: None if value is None else int(value)
            for name, value in mapping.items()
            if name.endswith("_us")
        }
        return cls(
            interval_h=mapping["interval_h"],
            settled=mapping["settled"],
            rate=mapping["rate"],
            **whole,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FundingRolls:
    """The moments at which the next funding time moved on; NaN is "not known".

    Attributes:
        position: Row that names the new time first.
        interval_h: Interval known from then on.
        settled: Rate that the passed funding was settled at.
        next_us: The new time.
    """

    position: Int64Array
    interval_h: Float64Array
    settled: Float64Array
    next_us: Float64Array


_NO_ROLLS = FundingRolls(np.empty(0, dtype=np.int64), *(np.empty(0) for _ in range(3)))


class FundingTracker:
    """Follows the next funding time through rows in order of arrival.

    A new time counts as the one after the old where it is seen within half a step of the old:
    a funding that passed while the recorder was down would otherwise double the interval, and the
    rate before it would be taken for the one after it.

    Args:
        memory: What the days before know.
    """

    def __init__(self, memory: TickerMemory | None) -> None:
        known = memory or TickerMemory()
        self._interval_h = _or_nan(known.interval_h)
        self._settled = _or_nan(known.settled)
        self._next_us = _or_nan(known.next_us)
        self._rate = _or_nan(known.rate)
        self._rate_us = _or_nan(known.rate_us)

    def add(self, ticks: TickerTicks) -> FundingRolls:
        """Take in the rows; the last ones that the memory knows already change nothing."""
        rows = np.flatnonzero(~np.isnan(ticks.funding_timestamp))
        return self._rolls(ticks, rows) if len(rows) else _NO_ROLLS

    @property
    def known(self) -> tuple[float, float, float]:
        """Interval in hours, settled rate and next time as of the last row; NaN is unknown."""
        return self._interval_h, self._settled, self._next_us

    def memory(self) -> TickerMemory:
        """What the days after must know."""
        return TickerMemory(
            interval_h=_or_none(self._interval_h),
            settled=_or_none(self._settled),
            next_us=_whole(self._next_us),
            rate=_or_none(self._rate),
            rate_us=_whole(self._rate_us),
        )

    def _rolls(self, ticks: TickerTicks, rows: Int64Array) -> FundingRolls:
        due, stamped = ticks.funding_timestamp[rows], ticks.timestamp[rows]
        latest = np.fmax.accumulate(np.concatenate(([self._next_us], due)))
        is_roll = ~(latest[1:] <= latest[:-1])
        # Just after an event rows still name the old time while the rate may be the new one's.
        counts = (due == latest[1:]) & (stamped < due) & ~np.isnan(ticks.funding_rate[rows])
        rolled = np.flatnonzero(is_roll)
        rolls = _NO_ROLLS
        if len(rolled):
            rates, rates_us = self._rates_before(ticks, rows, counts, rolled)
            rolls = self._learnt(rows, rolled, latest, stamped, (rates, rates_us))
        self._remember(ticks, rows, counts, rolled)
        self._next_us = float(latest[-1])
        return rolls

    def _rates_before(
        self,
        ticks: TickerTicks,
        rows: Int64Array,
        counts: npt.NDArray[np.bool_],
        rolled: Int64Array,
    ) -> tuple[Float64Array, Float64Array]:
        """Last counting rate before each roll and its exchange time."""
        last = np.maximum.accumulate(np.where(counts, np.arange(len(rows)), -1))
        before = np.where(rolled > 0, last[rolled - 1], -1)
        since_roll = np.concatenate(([-1], rolled[:-1]))
        is_own = before >= np.maximum(since_roll, 0)
        carried = np.full(len(rolled), np.nan), np.full(len(rolled), np.nan)
        carried[0][0], carried[1][0] = self._rate, self._rate_us
        row = rows[before]
        return (
            np.where(is_own, ticks.funding_rate[row], carried[0]),
            np.where(is_own, ticks.timestamp[row], carried[1]),
        )

    def _learnt(
        self,
        rows: Int64Array,
        rolled: Int64Array,
        latest: Float64Array,
        stamped: Int64Array,
        before: tuple[Float64Array, Float64Array],
    ) -> FundingRolls:
        old, new = latest[rolled], latest[rolled + 1]
        is_next = stamped[rolled] - old < (new - old) / 2
        rates, rates_us = before
        settled = np.where(is_next & (old - rates_us <= TICKER_AGE_US), rates, np.nan)
        steps = np.concatenate(
            ([self._interval_h], np.where(is_next, (new - old) / _US_PER_HOUR, np.nan))
        )
        known = np.maximum.accumulate(np.where(np.isnan(steps), 0, np.arange(len(steps))))
        intervals = steps[known][1:]
        self._interval_h, self._settled = float(intervals[-1]), float(settled[-1])
        return FundingRolls(rows[rolled], intervals, settled, new)

    def _remember(
        self,
        ticks: TickerTicks,
        rows: Int64Array,
        counts: npt.NDArray[np.bool_],
        rolled: Int64Array,
    ) -> None:
        if len(rolled):
            self._rate = self._rate_us = np.nan
        counting = np.flatnonzero(counts)
        if len(counting) and (not len(rolled) or counting[-1] >= rolled[-1]):
            row = rows[counting[-1]]
            self._rate = float(ticks.funding_rate[row])
            self._rate_us = float(ticks.timestamp[row])


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _whole(value: float) -> int | None:
    return None if np.isnan(value) else int(value)
