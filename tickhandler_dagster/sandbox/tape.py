"""A day of one instrument's trades: orders that hit the prevailing book and walk down it.

What belongs here: when, which side, which level, how much, and in what order fills arrive. Their
ids are `trade_ids.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tickhandler_dagster.market.days import US_PER_SECOND, day_start_us
from tickhandler_dagster.sandbox.book import BookDay
from tickhandler_dagster.sandbox.listing import Kind
from tickhandler_dagster.sandbox.seeds import Flags, Floats, Ints

_FOLLOWER_SHARE = 0.5
_FOLLOWER_DELAY_US = 20_000
_DEEPEST_SWEEP = 5
_SWEEP_STOPS = 0.72
_MIDNIGHT_ORDERS = 12
_LIQUID_FROM = 500
_SWAP_SHARE = 0.05
_EDGE_US = 120 * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class Tape:
    """Fills in order of arrival.

    Shape: every array has one entry per fill.

    Attributes:
        times: Event times.
        arrivals: Times of arrival, non-decreasing.
        numbers: Number of the fill within the day, counted at the exchange.
        is_buy: The taker bought.
        levels: Level of the book's price grid.
        lots: Size in lots.
    """

    times: Ints
    arrivals: Ints
    numbers: Ints
    is_buy: Flags
    levels: Ints
    lots: Ints

    def taken(self, chosen: Ints | Flags) -> Tape:
        """The chosen fills."""
        return Tape(*(getattr(self, name)[chosen] for name in self.__slots__))


def order_times(
    rng: np.random.Generator, times: Ints, span: tuple[int, int], cut: tuple[int, int]
) -> Ints:
    """Times of orders: independent ones, followers within milliseconds, and some around midnight.

    Args:
        rng: Source of the draw.
        times: Independent times.
        span: Half-open span the times stay in.
        cut: 00:00 of the day and of the next one.
    """
    result = times.copy()
    is_follower = rng.random(times.size) < _FOLLOWER_SHARE
    is_follower[:1] = False
    leader = np.maximum.accumulate(np.where(is_follower, 0, np.arange(times.size)))
    delays = rng.exponential(_FOLLOWER_DELAY_US, times.size).astype(np.int64)
    result[is_follower] = times[leader[is_follower]] + delays[is_follower]
    if times.size >= _LIQUID_FROM:
        for edge, midnight, chosen in zip(
            span, cut, (slice(0, _MIDNIGHT_ORDERS), slice(-_MIDNIGHT_ORDERS, None)), strict=True
        ):
            reach = max(abs(midnight - edge), 1_000)
            low, high = max(midnight - reach, span[0]), min(midnight + reach, span[1])
            if low < high:
                result[chosen] = rng.integers(low, high, _MIDNIGHT_ORDERS)
    return np.sort(np.clip(result, span[0], span[1] - 1))


def fills(rng: np.random.Generator, book: BookDay, times: Ints, pull: Floats) -> Tape:
    """As many fills as there are times; orders that sweep levels make several at one time.

    Args:
        rng: Source of the draw.
        book: The book they hit.
        times: Order times; only the first ones are used up when orders sweep.
        pull: Where the price goes next at each time, in standard deviations; takers lean that way.
    """
    count = times.size
    deepest = (
        1 if book.listing.kind is Kind.OPTION else min(_DEEPEST_SWEEP, book.listing.activity.depth)
    )
    swept = np.minimum(rng.geometric(_SWEEP_STOPS, count), deepest)
    orders = np.searchsorted(np.cumsum(swept), count, side="left") + 1 if count else 0
    # Orders are thinned over the whole day, not cut at its end, so that sweeps do not shorten the
    # session.
    chosen = (
        np.floor(np.arange(orders) * (count / orders)).astype(np.int64)
        if count
        else np.empty(0, np.int64)
    )
    swept = swept[:orders]
    order_of = np.repeat(np.arange(orders), swept)[:count]
    level_of = (
        np.arange(order_of.size) - np.repeat(np.cumsum(swept) - swept, swept)[:count]
    ).astype(np.int64)
    is_last = level_of == swept[order_of] - 1
    moments = times[chosen][order_of]
    states = np.searchsorted(book.times, moments, side="right") - 1
    leaning = 1 / (1 + np.exp(-np.clip(pull[chosen], -4, 4)))
    is_buy = (rng.random(orders) < leaning)[order_of]
    is_buy |= book.bids[states] < 1
    bid_levels = np.maximum(book.bids[states] - level_of, 1)
    levels = np.where(is_buy, book.asks[states] + level_of, bid_levels)
    shown = np.where(
        is_buy, book.lots(1, levels, book.steps[states]), book.lots(0, levels, book.steps[states])
    )
    part = np.maximum(np.ceil(rng.random(moments.size) ** 2 * shown), 1).astype(np.int64)
    return Tape(
        times=moments,
        arrivals=moments,
        numbers=np.arange(moments.size),
        is_buy=is_buy,
        levels=levels,
        lots=np.where(is_last, np.minimum(part, shown), shown),
    )


def reordered(rng: np.random.Generator, tape: Tape, book: BookDay) -> Tape:
    """The tape with some neighbours swapped, so that exchange times go backwards here and there.

    Only neighbours that hit the same state of the book are swapped, and none near midnight: the
    first keeps "the trade was inside the book before it" true on the arrival clock, the second
    keeps a file's events inside its session.
    """
    count = tape.times.size
    if count < _LIQUID_FROM:
        return tape
    state = np.searchsorted(book.times, tape.times, side="right")
    start = day_start_us(book.day)
    first = np.arange(0, count - 1, 2)
    is_allowed = (
        (state[first] == state[first + 1])
        & (tape.times[first] // 1_000 < tape.times[first + 1] // 1_000)
        & (tape.times[first] > start + _EDGE_US)
        & (tape.times[first] < start + 86_400 * US_PER_SECOND - _EDGE_US)
    )
    first = first[is_allowed & (rng.random(first.size) < _SWAP_SHARE)]
    order = np.arange(count)
    order[first], order[first + 1] = first + 1, first
    return replace(tape.taken(order), arrivals=tape.arrivals)
