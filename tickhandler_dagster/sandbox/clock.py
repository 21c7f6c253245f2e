"""The recorder's clock: when an event of a venue arrives, and which events a daily file holds.

What belongs here: latency, skew and the cut at midnight. Files are cut by arrival, so a file's
events begin a little before
00:00 of the venue's clock, or a little after where the recorder's clock is behind.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.days import US_PER_SECOND, day_start_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.seeds import Floats, Ints, stream, uniform_of

SKEW_US: Mapping[VenueId, int] = MappingProxyType(
    {
        **dict.fromkeys(VenueId, 0),
        VenueId.BYBIT: -1_270_000,
        VenueId.BINANCE_DELIVERY: -310_000,
        VenueId.UPBIT: 240_000,
    }
)
"""Recorder clock minus venue clock."""

_GRID_S = 0.2
_EDGE_S = 60.0
_MIN_SLOPE = 0.05
_LONGEST_STALL_S = 20.0


class VenueClock:
    """Arrival times at the recorder of one venue.

    Args:
        seed: Seed of the whole market.
        venue: Which venue.
    """

    def __init__(self, seed: int, venue: VenueId) -> None:
        self._seed = seed
        self._venue = venue
        self._offset = lru_cache(maxsize=None)(self._compute_offset)
        self._arrivals = lru_cache(maxsize=2)(self._compute_arrivals)

    def session(self, day: dt.date) -> tuple[int, int]:
        """The half-open span of event times whose arrivals make up the file of `day`."""
        following = day + dt.timedelta(days=1)
        return day_start_us(day) - self._offset(day), day_start_us(following) - self._offset(
            following
        )

    def arrival(self, day: dt.date, times: Ints) -> Ints:
        """Arrival of events of that session: increasing in the event time, and inside the day."""
        start = day_start_us(day)
        grid, arrivals = self._arrivals(day)
        seconds = np.interp((times - start) / US_PER_SECOND, grid, arrivals)
        moments = np.floor(seconds * US_PER_SECOND + 0.5).astype(np.int64)
        return start + np.clip(moments, 0, 86_400 * US_PER_SECOND - 1)

    def _compute_offset(self, day: dt.date) -> int:
        """Arrival minus event time in the minute around 00:00 of `day`.

        It is one number for both sides of midnight: only then does the order of events survive the
        cut without either day having to know the other's events.
        """
        delay_s = min(
            0.05 * (1 - uniform_of(self._seed, "midnight", self._venue, day)) ** -0.9, 3.0
        )
        return int(delay_s * US_PER_SECOND) + SKEW_US[self._venue]

    def _compute_arrivals(self, day: dt.date) -> tuple[Floats, Floats]:
        rng = stream(self._seed, "latency", self._venue, day)
        grid = np.arange(-_EDGE_S, 86_400 + _EDGE_S + _GRID_S, _GRID_S)
        delay = 0.008 + 0.03 * rng.lognormal(0.0, 0.6, grid.size)
        stalls = rng.integers(int(600 / _GRID_S), int(86_000 / _GRID_S), rng.poisson(15))
        delay[stalls] += np.minimum(0.2 * rng.pareto(1.2, stalls.size), _LONGEST_STALL_S)
        delay += SKEW_US[self._venue] / US_PER_SECOND
        delay[grid <= _EDGE_S] = self._offset(day) / US_PER_SECOND
        delay[grid >= 86_400 - _EDGE_S] = self._offset(day + dt.timedelta(days=1)) / US_PER_SECOND
        # One connection delivers in order: what follows a stalled message waits behind it and then
        # arrives in a bunch. The small slope keeps distinct events apart, so that "the book before
        # this trade" has one answer on both clocks.
        arrivals = np.maximum.accumulate(grid + delay - _MIN_SLOPE * grid) + _MIN_SLOPE * grid
        return grid, np.asarray(arrivals, dtype=np.float64)
