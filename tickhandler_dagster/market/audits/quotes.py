"""Trades far beyond the best quotes that stood when they arrived.

What belongs here: the join by arrival, the bound, and what is kept of trades past it. What does
not: which files the rows come from (`pipeline/quote_audit.py`).

Both sides come in blocks of rising arrival. A block of quotes is given up as soon as no trade can
ask for it: memory is one block of each, however unlike their lengths are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.arrival_join import JOIN_AGE_US
from tickhandler_dagster.market.bars.quotes import BoolArray
from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.quality.broken_rows import moment
from tickhandler_dagster.market.quality.findings import SAMPLE_SIZE

QUOTE_RULES = "1"
"""Version of the bound and of the join: with another one, what was counted earlier is void."""

_ROUNDING = 1e-12
"""Share of the ask by which sums of decimals may be off; the finest price step is 1e-9 of it."""

_NEVER, _FOREVER = -(2**62), 2**62


@dataclass(frozen=True, slots=True, eq=False)
class TradePrices:
    """Trades in order of arrival.

    Attributes:
        arrival: Microseconds since the epoch, by the recorder's clock.
        timestamp: The same by the exchange's clock.
        price: As traded.
    """

    arrival: Int64Array
    timestamp: Int64Array
    price: Float64Array

    def __len__(self) -> int:
        return len(self.arrival)

    def part(self, start: int, end: int) -> TradePrices:
        """The trades from one position up to another."""
        return TradePrices(
            self.arrival[start:end], self.timestamp[start:end], self.price[start:end]
        )


@dataclass(frozen=True, slots=True, eq=False)
class TopPrices:
    """States of the best quotes in order of arrival.

    Attributes:
        arrival: Microseconds since the epoch, by the recorder's clock.
        bid: Best bid; NaN where that side is empty.
        ask: Best ask; NaN where that side is empty.
    """

    arrival: Int64Array
    bid: Float64Array
    ask: Float64Array


@dataclass(frozen=True, slots=True)
class OutsideTrade:
    """A trade beyond the quotes by more than their spread.

    Attributes:
        timestamp: Exchange time, microseconds since the epoch.
        price: As traded.
        bid: Best bid when it arrived.
        ask: Best ask when it arrived.
    """

    timestamp: int
    price: float
    bid: float
    ask: float

    @property
    def spreads(self) -> float:
        """How far past the nearer quote it is, in spreads."""
        return max(self.price - self.ask, self.bid - self.price) / (self.ask - self.bid)

    @property
    def text(self) -> str:
        """The trade and its quotes in words.

        Example:
            >>> OutsideTrade(7_250_000, 101.5, 100.0, 100.5).text
            '00:00:07.250000: 101.5 beside bid 100.0, ask 100.5 (2.0 spreads past it)'
        """
        return (
            f"{moment(self.timestamp):%H:%M:%S.%f}: {self.price} beside bid {self.bid}, "
            f"ask {self.ask} ({self.spreads:,.1f} spreads past it)"
        )


@dataclass(frozen=True, slots=True)
class OutsideQuotes:
    """What the trades of a file are beside its quotes.

    Attributes:
        trades: Trades looked at.
        judged: Those with a state to be held against.
        outside: Judged trades beyond the quotes by more than their spread.
        first: Earliest exchange time of those outside; None for none.
        last: Latest exchange time of those outside; None for none.
        farthest: A few of those outside, the most spreads away first.
    """

    trades: int = 0
    judged: int = 0
    outside: int = 0
    first: int | None = None
    last: int | None = None
    farthest: tuple[OutsideTrade, ...] = ()


class QuotesBeside:
    """Holds trades against the last state of the best quotes that arrived strictly before them.

    A trade is judged where that state has both sides, bid below ask, and is at most `JOIN_AGE_US`
    old. Where the last state is crossed or one-sided, an older one says nothing of the market: such
    a trade is not judged, while bars, which need some mid, take the older one.

    Args:
        quotes: Gives the next block of states that can hold arrivals from a moment on, None after
            the last one. Arrivals rise over all blocks, and no block is empty.
    """

    def __init__(self, quotes: Callable[[int], TopPrices | None]) -> None:
        self._next = quotes
        # A first state that is never normal answers for "none", so that no look-up needs a branch.
        self._held = TopPrices(np.array([_NEVER]), np.array([np.nan]), np.array([np.nan]))
        self._known_until = _NEVER
        self._found = OutsideQuotes()

    def add(self, trades: TradePrices) -> None:
        """Judge the next trades of the file."""
        place = 0
        while place < len(trades):
            # all states before an arrival are known once a state at it or after it is
            end = int(np.searchsorted(trades.arrival, self._known_until, side="right"))
            if end > place:
                self._judge(trades.part(place, end))
                place = end
            else:
                self._read_on(int(trades.arrival[place]) - JOIN_AGE_US)

    def finish(self) -> OutsideQuotes:
        """What was found so far."""
        return self._found

    def _read_on(self, since_us: int) -> None:
        block = self._next(since_us)
        if block is None:
            self._known_until = _FOREVER
            return
        held = self._held
        self._held = TopPrices(
            np.concatenate((held.arrival[-1:], block.arrival)),
            np.concatenate((held.bid[-1:], block.bid)),
            np.concatenate((held.ask[-1:], block.ask)),
        )
        self._known_until = int(block.arrival[-1])

    def _judge(self, trades: TradePrices) -> None:
        at = np.searchsorted(self._held.arrival, trades.arrival, side="left") - 1
        bid, ask = self._held.bid[at], self._held.ask[at]
        is_fresh = self._held.arrival[at] >= trades.arrival - JOIN_AGE_US
        is_judged = is_fresh & (bid < ask)  # false where either is NaN
        outside = np.flatnonzero(is_judged & _is_outside(trades.price, bid, ask))
        found = self._found
        self._found = dataclasses.replace(
            found,
            trades=found.trades + len(trades),
            judged=found.judged + int(is_judged.sum()),
        )
        if len(outside):
            times = trades.timestamp[outside]
            self._keep(times, *(values[outside] for values in (trades.price, bid, ask)))

    def _keep(
        self, times: Int64Array, price: Float64Array, bid: Float64Array, ask: Float64Array
    ) -> None:
        """Count trades outside; the few that are farthest away are kept, of equals the earlier."""
        spreads = np.maximum(price - ask, bid - price) / (ask - bid)
        farthest = np.argsort(-spreads, kind="stable")[:SAMPLE_SIZE]
        new = [
            OutsideTrade(int(times[at]), float(price[at]), float(bid[at]), float(ask[at]))
            for at in farthest
        ]
        found = self._found
        edges = [edge for edge in (found.first, found.last) if edge is not None]
        self._found = dataclasses.replace(
            found,
            outside=found.outside + len(times),
            first=min([int(times.min()), *edges]),
            last=max([int(times.max()), *edges]),
            farthest=tuple(
                sorted([*found.farthest, *new], key=lambda one: -one.spreads)[:SAMPLE_SIZE]
            ),
        )


def _is_outside(price: Float64Array, bid: Float64Array, ask: Float64Array) -> BoolArray:
    allowed = (ask - bid) + _ROUNDING * np.abs(ask)
    return (price > ask + allowed) | (price < bid - allowed)
