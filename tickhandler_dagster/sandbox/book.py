"""A day of one instrument's order book: every state, from which any view can be cut.

What belongs here: times of change, best prices, and the amount at any level and state. The views
themselves (snapshots, updates, quotes) are `book_frames.py`.

A level's amount is a hash of (level, how often it was refreshed), never stored: any slice of any
state is computed on its own, and two views of the same state cannot disagree.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND, day_start_us
from tickhandler_dagster.sandbox.listing import Kind, Listing, decimals_of
from tickhandler_dagster.sandbox.seeds import Flags, Floats, Ints, hashed_uniform

_REFRESH_PERIOD = 12
_BID, _ASK = 0, 1
_GRID_SHARE = 0.5e-4
_LARGEST_RATIO = 60.0
_EXTRA_STEPS, _MOST_EXTRA_STEPS = 0.9, 6
_SIDE_KEY = 0x1F83D9ABFB41BD6B
_KEY_SPACE = 1 << 63


@dataclass(frozen=True)
class BookDay:
    """All states of a book on a day, in order.

    Shape: every array has one entry per state.

    Attributes:
        listing: Which instrument.
        day: Which file day.
        key: Key of its hashes.
        times: Event times, increasing.
        arrivals: Times of arrival, increasing.
        steps: Number of the state, counted before any hole is cut.
        bids: Best bid, in steps of the price grid.
        asks: Best ask, in steps of the price grid.
        is_restart: The recorder (re)connected here: the update feed shows the whole book.
    """

    listing: Listing
    day: dt.date
    key: int
    times: Ints
    arrivals: Ints
    steps: Ints
    bids: Ints
    asks: Ints
    is_restart: Flags

    @cached_property
    def grid_step(self) -> float:
        """Distance of two levels: a multiple of the tick that is about half a basis point."""
        return grid_step(self.listing)

    def prices(self, levels: Ints) -> Floats:
        """Prices of levels; NaN at and below zero, where there is none."""
        prices = np.round(levels * self.grid_step, decimals_of(self.listing.tick))
        return np.asarray(np.where(levels >= 1, prices, np.nan))

    def lots(self, side: int, levels: Ints, steps: Ints) -> Ints:
        """Amount at levels in lots, at least one; zero at and below price zero.

        Args:
            side: 0 bid, 1 ask.
            levels: Levels of the price grid.
            steps: State numbers, of a shape that broadcasts with the levels.
        """
        # Keys one apart would give a level of one side its neighbour's amounts on the other.
        key = (self.key + side * _SIDE_KEY) % _KEY_SPACE
        phase = (hashed_uniform(key, levels) * _REFRESH_PERIOD).astype(np.int64)
        refreshes = (steps + phase) // _REFRESH_PERIOD
        # A power law: most levels are small, a few are walls.
        worth = np.minimum(
            hashed_uniform(key ^ 0x5DEECE66D, levels, refreshes) ** -0.6, _LARGEST_RATIO
        )
        lot_usd = (
            self.listing.unit_usd(np.maximum(levels, 1) * self.grid_step, self.day)
            * self.listing.lot
        )
        lots = np.maximum(np.rint(worth * (0.4 * self.listing.activity.level_usd) / lot_usd), 1.0)
        return np.asarray(np.where(levels >= 1, lots, 0), dtype=np.int64)

    def amounts(self, lots: Ints) -> Floats:
        """Amounts in the venue's unit."""
        return np.round(lots * self.listing.lot, decimals_of(self.listing.lot))

    def side_levels(self, side: int, depth: int) -> Ints:
        """The best `depth` levels of a side at each state, best first. Shape: (states, depth)."""
        offsets = np.arange(depth)
        if side == _BID:
            return np.asarray(self.bids[:, None] - offsets)
        return np.asarray(self.asks[:, None] + offsets)

    def without(self, hole: tuple[int, int]) -> BookDay:
        """The states outside the hole; the first after it is a restart."""
        is_kept = (self.times < hole[0]) | (self.times >= hole[1])
        first_after = int(np.searchsorted(self.times, hole[1]))
        is_restart = self.is_restart.copy()
        if first_after < is_restart.size:
            is_restart[first_after] = True
        arrays = {
            name: getattr(self, name)[is_kept]
            for name in ("times", "arrivals", "steps", "bids", "asks")
        }
        return replace(self, is_restart=is_restart[is_kept], **arrays)


def grid_step(listing: Listing) -> float:
    """Distance of two levels of the simulated book, a multiple of the tick."""
    if listing.kind is Kind.OPTION:
        return listing.tick
    quote_usd = listing.unit_quote_usd
    ticks = max(1, round(listing.reference_usd / quote_usd * _GRID_SHARE / listing.tick))
    return listing.tick * ticks


def best_levels(listing: Listing, key: int, mids: Floats) -> tuple[Ints, Ints]:
    """Best bid and ask around each mid price, on the price grid, at least one step apart."""
    middle = mids / grid_step(listing)
    draw = hashed_uniform(key + 7, np.arange(mids.size))
    widths = 1 + np.minimum(-_EXTRA_STEPS * np.log(draw), _MOST_EXTRA_STEPS).astype(np.int64)
    if listing.kind is Kind.OPTION:
        widths = widths + 1 + (0.04 * middle).astype(np.int64)
    bids = np.floor(middle - (widths - 1) / 2).astype(np.int64)
    return bids, np.maximum(bids + widths, 1)


def mean_spread(listing: Listing) -> float:
    """The spread that `best_levels` gives on average, in the price unit; not for options.

    One step, and one more for each whole step of an exponential draw.
    """
    extra = sum(math.exp(-steps / _EXTRA_STEPS) for steps in range(1, _MOST_EXTRA_STEPS + 1))
    return grid_step(listing) * (1 + extra)


def busy_times(
    rng: np.random.Generator, count: int, span: tuple[int, int], busy: tuple[dt.date, Floats]
) -> Ints:
    """Sorted times of `count` events in the span, denser where the day is busy.

    Args:
        rng: Source of the draw.
        count: How many.
        span: Half-open span of event times; may reach a little over the day's edges.
        busy: The day, and the activity of each of its seconds.
    """
    day, activity = busy
    start, end = span
    edges = day_start_us(day) + np.arange(activity.size + 1) * US_PER_SECOND
    edges[0] = min(int(edges[0]), start)
    edges[-1] = max(int(edges[-1]), end)
    edges = np.clip(edges, start, end)
    weight = np.concatenate(([0.0], np.cumsum(np.diff(edges) * activity)))
    draws = np.sort(rng.random(count)) * weight[-1]
    offsets = np.interp(draws, weight, edges - start)
    return np.asarray(np.minimum(start + offsets.astype(np.int64), end - 1), dtype=np.int64)


def share_of_day(span: tuple[int, int]) -> float:
    """Length of a span in days, at most one."""
    return min((span[1] - span[0]) / US_PER_DAY, 1.0)
