"""The derivative ticker at the end of every bar: open interest, funding, premium and basis.

What belongs here: the state of the ticker by arrival and what follows from it. What does not: what
follows from columns of the same bar alone (`market/features/derivatives.py`).

The vendor merges several channels of a venue and repeats the merged state in every row, so a cell
may be older at the venue than its row. Age here is the age of the last row that carried the field:
how long ago the vendor last vouched for the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.funding import (
    TICKER_AGE_US,
    FundingRolls,
    FundingTracker,
    TickerMemory,
)
from tickhandler_dagster.market.bars.segments import bar_starts
from tickhandler_dagster.market.bars.ticker_ticks import (
    TICKER_FIELDS,
    TickerTicks,
    ticker_by_arrival,
)
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.family import NO_ARRIVAL, DayGrid, FamilyDay
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

LEAST_DAYS_TO_EXPIRY = 0.5
"""Nearer to expiry an annualised basis is a price step over almost no time."""

_AnyArray = TypeVar("_AnyArray", Float64Array, Int64Array)
_MARK = TICKER_FIELDS.index("mark_price")
_DAYS_PER_YEAR = 365
_US_PER_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class DerivativeKind:
    """What kind of derivative the ticker is of.

    Attributes:
        is_inverse: A contract is worth a fixed amount of the quote asset.
        is_perpetual: It has no expiry and pays funding.
        expiry_us: Expiry of a dated future, microseconds since the epoch; None otherwise.
    """

    is_inverse: bool = False
    is_perpetual: bool = False
    expiry_us: int | None = None

    @property
    def future_expiry_us(self) -> int | None:
        """Expiry where it is a dated future; None where it is not."""
        return None if self.is_perpetual else self.expiry_us


@dataclass(frozen=True, slots=True, eq=False)
class NearContract:
    """The nearest-expiring future beside a later one, by its mark price.

    Attributes:
        expiry_us: Its expiry, microseconds since the epoch.
        mark_prices: Mark price known at the end of each 15 s bar; NaN where none is.
        last_arrival: Latest arrival of a row they stand on; `NO_ARRIVAL` where there is none.
    """

    expiry_us: int
    mark_prices: Float64Array
    last_arrival: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class TickerCarry:
    """What a window leaves to the one that follows.

    Attributes:
        values: Last value of each of `TICKER_FIELDS`; None where none is known.
        arrivals: Arrival of the row it came with; `NO_ARRIVAL` where there is none.
        last_row: Arrival of the last row, `NO_ARRIVAL` where there is none.
        funding: Fundings seen.
    """

    values: tuple[float | None, ...]
    arrivals: tuple[int, ...]
    last_row: int
    funding: TickerMemory

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TickerCarry:
        """The carry from what JSON made of it."""
        return cls(
            values=tuple(found["values"]),
            arrivals=tuple(found["arrivals"]),
            last_row=found["last_row"],
            funding=TickerMemory.from_json(found["funding"]),
        )


class TickerDay:
    """Builds the ticker's columns of one instrument and day.

    Rows are cut by arrival, not by exchange time: the ticker is joined to trades and liquidations,
    and one recorder's clock is the only one they share.

    Args:
        grid: The day and the length of its bars.
        kind: What the instrument is.
        near: The future that expires before this one; None where there is none.
        memory: What the days before know; None where they were not computed.
        carried: What the window before left; None at the start of a day.
    """

    def __init__(
        self,
        grid: DayGrid,
        kind: DerivativeKind,
        *,
        near: NearContract | None = None,
        memory: TickerMemory | None = None,
        carried: TickerCarry | None = None,
    ) -> None:
        self._grid, self._kind, self._near = grid, kind, near
        self._tracker = FundingTracker(memory if carried is None else carried.funding)
        # Element 0 is the state before the day, element k + 1 what bar k's own rows say.
        shape = len(TICKER_FIELDS), grid.bars + 1
        self._values = np.full(shape, np.nan)
        self._arrivals = np.full(shape, NO_ARRIVAL, dtype=np.int64)
        self._rows = np.full(grid.bars + 1, NO_ARRIVAL, dtype=np.int64)
        self._funding = np.full((3, grid.bars + 1), np.nan)
        self._funding[:, 0] = self._tracker.known
        self._has_roll = np.zeros(grid.bars + 1, dtype=np.bool_)
        self._end = 0
        if carried is not None:
            self._take_over(carried)

    def prime(self, ticks: TickerTicks) -> None:
        """Take in what arrived before the day: the last row, and those of its last ten minutes.

        Raises:
            CorruptData: a row did not arrive before the day.
        """
        if not len(ticks):
            return
        ordered = ticker_by_arrival(ticks)
        if int(ordered.local_timestamp[-1]) >= self._grid.start_us:
            raise _out_of_place(ordered, f"before {self._grid.start_us}")
        self._tracker.add(ordered)
        self._funding[:, 0] = self._tracker.known
        self._take_in(ordered, np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.int64))

    def add(self, ticks: TickerTicks) -> None:
        """Take in the rows that arrived in a span of whole bars after the spans before it.

        Raises:
            CorruptData: a row arrived outside the day, or before the end of a span already added.
        """
        if not len(ticks):
            return
        ordered = ticker_by_arrival(ticks)
        starts, opens = bar_starts(ordered.local_timestamp, self._grid.timeframe.us)
        elements = (opens - self._grid.start_us) // self._grid.timeframe.us + 1
        if elements[0] <= self._end or elements[-1] > self._grid.bars:
            open_from = self._grid.start_us + self._end * self._grid.timeframe.us
            raise _out_of_place(ordered, f"[{open_from}, {self._grid.end_us})")
        self._end = int(elements[-1])
        self._take_in(ordered, starts, elements)
        rolls = self._tracker.add(ordered)
        if len(rolls.position):
            self._take_in_rolls(rolls, starts, elements)

    def finish(self) -> FamilyDay:
        """The statistics and what does not merge; the rows may come from any slicing."""
        states = self._states()
        statistics = {name: state[1:] for name, state in states.items()}
        worth, mark = statistics.pop("open_interest"), statistics["mark_price"]
        statistics["next_funding_time"] = statistics.pop("funding_timestamp")
        statistics |= self._fundings()
        statistics["open_interest"] = self._base(worth, mark)
        statistics["open_interest_notional"] = worth if self._kind.is_inverse else worth * mark
        rows = _last_known(self._rows)[1:]
        ages = (self._grid.closes - rows) / _US_PER_MS
        statistics["ticker_age_ms"] = np.where(rows == NO_ARRIVAL, np.nan, ages)
        statistics |= self._distances(mark, statistics["index_price"])
        if self._near is not None:
            rows = np.maximum(rows, self._of_near(self._near.last_arrival))
        return FamilyDay(statistics, rows, self._previous_interest(states))

    def mark_state(self) -> NearContract | None:
        """The mark price for a later future to compare itself with; on the grid of 15 s bars.

        Nulls: None where the instrument is not a dated future.
        """
        expiry_us = self._kind.future_expiry_us
        if expiry_us is None:
            return None
        arrivals = _last_known(self._arrivals[_MARK])
        return NearContract(expiry_us, self._states()["mark_price"][1:], arrivals[1:])

    def carry(self) -> TickerCarry:
        """What the next window takes over, and the next day of it (`funding`)."""
        last = np.maximum.accumulate(
            np.where(self._arrivals == NO_ARRIVAL, 0, np.arange(self._grid.bars + 1)), axis=1
        )[:, -1]
        fields = np.arange(len(TICKER_FIELDS))
        values = self._values[fields, last].tolist()
        return TickerCarry(
            values=tuple(None if math.isnan(value) else value for value in values),
            arrivals=tuple(self._arrivals[fields, last].tolist()),
            last_row=int(self._rows.max()),
            funding=self._tracker.memory(),
        )

    def _take_over(self, carried: TickerCarry) -> None:
        values = [np.nan if value is None else value for value in carried.values]
        self._values[:, 0] = values
        self._arrivals[:, 0] = carried.arrivals
        self._rows[0] = carried.last_row

    def _take_in(
        self,
        ticks: TickerTicks,
        starts: npt.NDArray[np.intp],
        elements: Int64Array,
    ) -> None:
        ends = np.append(starts[1:], len(ticks)) - 1
        self._rows[elements] = ticks.local_timestamp[ends]
        for number, name in enumerate(TICKER_FIELDS):
            column = getattr(ticks, name)
            last = ends
            if np.isnan(column[ends]).any():
                positions = np.where(np.isnan(column), -1, np.arange(len(column)))
                last = np.maximum.reduceat(positions, starts)
            known = last >= 0
            self._values[number, elements[known]] = column[last[known]]
            self._arrivals[number, elements[known]] = ticks.local_timestamp[last[known]]

    def _take_in_rolls(
        self,
        rolls: FundingRolls,
        starts: npt.NDArray[np.intp],
        elements: Int64Array,
    ) -> None:
        bar = elements[np.searchsorted(starts, rolls.position, side="right") - 1]
        is_last = np.append(bar[1:] != bar[:-1], True)
        found = np.stack((rolls.interval_h, rolls.settled, rolls.next_us))
        self._funding[:, bar[is_last]] = found[:, is_last]
        self._has_roll[bar[is_last]] = True

    def _states(self) -> dict[str, Float64Array]:
        """Each field at the day's start and at every bar's end. Shape: (bars + 1,) each."""
        element = np.arange(self._grid.bars + 1)
        moments = self._grid.start_us + element * self._grid.timeframe.us
        states = {}
        for number, name in enumerate(TICKER_FIELDS):
            arrivals = self._arrivals[number]
            last = np.maximum.accumulate(np.where(arrivals == NO_ARRIVAL, 0, element))
            is_fresh = arrivals[last] >= moments - TICKER_AGE_US
            states[name] = np.where(is_fresh, self._values[number][last], np.nan)
        return states

    def _fundings(self) -> dict[str, Float64Array]:
        element = np.arange(self._grid.bars + 1)
        last = np.maximum.accumulate(np.where(self._has_roll, element, 0))[1:]
        interval_h, settled, next_us = self._funding[:, last]
        # The next funding is past and nobody saw how it went: the one before is no longer the last.
        is_last = self._grid.closes <= next_us + TICKER_AGE_US
        return {
            "funding_interval_h": interval_h,
            "funding_settled": np.where(is_last, settled, np.nan),
        }

    def _base(self, worth: Float64Array, mark: Float64Array) -> Float64Array:
        return _ratio(worth, mark) if self._kind.is_inverse else worth

    def _previous_interest(
        self, states: Mapping[str, Float64Array]
    ) -> dict[Timeframe, dict[str, Float64Array]]:
        """Open interest at each bar's open, at the price of the bar's end."""
        worth, mark = states["open_interest"], states["mark_price"]
        found = {}
        for timeframe in Timeframe:
            if timeframe in self._grid.timeframes and timeframe.us >= self._grid.timeframe.us:
                step = timeframe.us // self._grid.timeframe.us
                found[timeframe] = {"oi_previous": self._base(worth[:-1:step], mark[step::step])}
        return found

    def _distances(self, mark: Float64Array, index: Float64Array) -> dict[str, Float64Array]:
        unknown = np.full(self._grid.bars, np.nan)
        basis = _ratio(mark, index) - 1.0
        expiry_us = self._kind.future_expiry_us
        found = {
            "perp_premium": basis if self._kind.is_perpetual else unknown,
            "futures_basis": unknown,
            "futures_basis_annualised": unknown,
            "calendar_spread": unknown,
            "roll_yield_per_day": unknown,
        }
        if expiry_us is None:
            return found
        days = (expiry_us - self._grid.closes) / US_PER_DAY
        yearly = basis * _DAYS_PER_YEAR / np.maximum(days, LEAST_DAYS_TO_EXPIRY)
        found["futures_basis"] = basis
        found["futures_basis_annualised"] = np.where(days >= LEAST_DAYS_TO_EXPIRY, yearly, np.nan)
        return found | self._calendar(mark, expiry_us)

    def _calendar(self, mark: Float64Array, expiry_us: int) -> dict[str, Float64Array]:
        near = self._near
        if near is None or near.expiry_us >= expiry_us:
            return {}
        is_listed = self._grid.closes <= near.expiry_us
        spread = _ratio(mark, self._of_near(near.mark_prices)) - 1.0
        spread = np.where(is_listed, spread, np.nan)
        days = (expiry_us - near.expiry_us) / US_PER_DAY
        return {"calendar_spread": spread, "roll_yield_per_day": spread / days}

    def _of_near(self, values: _AnyArray) -> _AnyArray:
        """What the near contract has at the ends of this grid's bars."""
        step = self._grid.timeframe.us // BASE_TIMEFRAME.us
        return values[step - 1 :: step]


def _last_known(arrivals: Int64Array) -> Int64Array:
    """The latest arrival up to each element; `NO_ARRIVAL` before the first."""
    return np.asarray(np.maximum.accumulate(arrivals))


def _ratio(above: Float64Array, below: Float64Array) -> Float64Array:
    """The quotient; NaN where the lower price is not positive, as a spread's price can be."""
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)


def _out_of_place(ticks: TickerTicks, expected: str) -> CorruptData:
    return CorruptData(
        "derivative ticker: slice of rows",
        "outside the part of the day still open",
        was=f"arrivals {ticks.local_timestamp[0]}..{ticks.local_timestamp[-1]} µs",
        expected=f"{expected} µs",
        remedy="Add spans of whole bars in the order of arrival",
    )
