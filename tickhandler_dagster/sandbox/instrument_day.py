"""One instrument on one file day: its book, its fills and its forced orders, put together once.

What belongs here: how many rows a day has, what it draws from, and the hole an incident leaves.
Rows are cut from it by `book_frames.py`, `ticker_frames.py` and `chain.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND, day_span_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.book import BookDay, best_levels, busy_times, share_of_day
from tickhandler_dagster.sandbox.clock import VenueClock
from tickhandler_dagster.sandbox.derivative_state import liquidated_trades, liquidations
from tickhandler_dagster.sandbox.fair_value import FairValues
from tickhandler_dagster.sandbox.incidents import Incident
from tickhandler_dagster.sandbox.latent import LatentPrices
from tickhandler_dagster.sandbox.listing import Listing
from tickhandler_dagster.sandbox.seeds import Flags, Floats, Ints, salt, stream, uniform_of
from tickhandler_dagster.sandbox.tape import Tape, fills, order_times, reordered
from tickhandler_dagster.sandbox.universe import Window

_PULL_AHEAD_US = 5 * US_PER_SECOND
_CACHED_DAYS = 256
_FEWEST_STATES = 3
_MARK_PERIOD_US = 4 * 60 * US_PER_SECOND


@dataclass(frozen=True)
class InstrumentDay:
    """A day of an instrument.

    Attributes:
        listing: Which instrument.
        book: Its book; empty where it does not trade that day.
        tape: Its fills.
        forced: Its liquidations.
        fills_before: Fills on the days before, for ids that count on.
    """

    listing: Listing
    book: BookDay
    tape: Tape
    forced: Tape
    fills_before: int


class InstrumentDays:
    """Makes days of instruments; the same for the same arguments, in any order.

    Args:
        seed: Seed of the whole market.
        scale: Factor on the number of rows.
        window: Days that exist.
        incidents: Times in which a venue's recorder was down.
    """

    def __init__(
        self,
        seed: int,
        scale: float,
        window: Window,
        incidents: Mapping[VenueId, tuple[Incident, ...]],
    ) -> None:
        self._seed = seed
        self._scale = scale
        self._window = window
        self._incidents = incidents
        self.latent = LatentPrices(seed)
        self.fair = FairValues(seed, self.latent)
        self._clocks = {venue: VenueClock(seed, venue) for venue in VenueId}
        self.day_of = lru_cache(maxsize=_CACHED_DAYS)(self._simulate)
        self._fills_until = lru_cache(maxsize=None)(self._count_fills_until)

    def span(self, listing: Listing, day: dt.date) -> tuple[int, int] | None:
        """Event times of the instrument in the file of `day`; None where it does not trade."""
        return listing.lives_in(*self._clocks[listing.venue].session(day))

    def arrivals(self, listing: Listing, day: dt.date, times: Ints) -> Ints:
        """Times of arrival of events of that file."""
        return self._clocks[listing.venue].arrival(day, times)

    def fill_count(self, listing: Listing, day: dt.date) -> int:
        """Fills of the instrument in the file of `day`, without simulating it."""
        span = self.span(listing, day)
        names = (listing.venue, listing.raw_id, day)
        if span is None or uniform_of(self._seed, "idle", *names) < listing.activity.idle_share:
            return 0
        expected = listing.activity.trades * self._scale * share_of_day(span)
        drawn = expected * (0.6 + 0.8 * uniform_of(self._seed, "fills", *names))
        return int(drawn + uniform_of(self._seed, "rounding", *names))

    def outside_incidents(self, venue: VenueId, times: Ints) -> Flags:
        """Whether the recorder was up at each time."""
        is_up = np.ones(times.shape, dtype=bool)
        for incident in self._incidents.get(venue, ()):
            is_up &= (times < incident.start_us) | (times >= incident.end_us)
        return is_up

    def sampled(self, listing: Listing, day: dt.date, name: str, count: int) -> Ints:
        """Sorted distinct event times of `count` events of that name, outside incidents."""
        span = self.span(listing, day)
        if span is None:
            return np.empty(0, dtype=np.int64)
        rng = stream(self._seed, name, listing.venue, listing.raw_id, day)
        times = np.unique(busy_times(rng, count, span, (day, self._activity(listing, day))))
        return times[self.outside_incidents(listing.venue, times)]

    def marks(self, listing: Listing, day: dt.date) -> Ints:
        """Times at which a venue says an option's mark anew, however quiet its book is.

        A mark follows the underlying: an option that nobody quotes has a fresh one all the same,
        and at any scale.
        """
        span = self.span(listing, day)
        if span is None:
            return np.empty(0, dtype=np.int64)
        phase = int(
            _MARK_PERIOD_US * uniform_of(self._seed, "marks", listing.venue, listing.raw_id)
        )
        first = span[0] // _MARK_PERIOD_US * _MARK_PERIOD_US + phase
        times = np.arange(first, span[1], _MARK_PERIOD_US, dtype=np.int64)
        return times[(times >= span[0]) & self.outside_incidents(listing.venue, times)]

    def scaled(self, rows: int, span: tuple[int, int]) -> int:
        """Rows for a span, given the rows of a whole day at scale one."""
        return int(rows * self._scale * share_of_day(span))

    def _activity(self, listing: Listing, day: dt.date) -> Floats:
        return self.latent.activity(listing.base, day)

    def _count_fills_until(self, listing: Listing, day: dt.date) -> int:
        """Fills in the files before that of `day`."""
        total = 0
        listed = dt.date(1970, 1, 1) + dt.timedelta(days=listing.listed_us // US_PER_DAY - 1)
        current = max(self._window.first, listed)
        while current < day:
            total += self.fill_count(listing, current)
            current += dt.timedelta(days=1)
        return total

    def _simulate(self, listing: Listing, day: dt.date) -> InstrumentDay:
        key = salt(self._seed, "levels", listing.venue, listing.raw_id)
        book = self._book(listing, day, key)
        tape = self._tape(listing, day, book)
        forced = self._forced(listing, book, tape)
        for incident in self._incidents.get(listing.venue, ()):
            book = book.without((incident.start_us, incident.end_us))
        tape = tape.taken(self.outside_incidents(listing.venue, tape.times))
        forced = forced.taken(self.outside_incidents(listing.venue, forced.times))
        return InstrumentDay(listing, book, tape, forced, self._fills_until(listing, day))

    def _book(self, listing: Listing, day: dt.date, key: int) -> BookDay:
        span = self.span(listing, day)
        if span is None:
            times = np.empty(0, dtype=np.int64)
        else:
            rng = stream(self._seed, "book", listing.venue, listing.raw_id, day)
            count = max(_FEWEST_STATES, self.scaled(listing.activity.books, span))
            moments = busy_times(rng, count, span, (day, self._activity(listing, day)))
            resumed = [
                one.end_us
                for one in self._incidents.get(listing.venue, ())
                if span[0] < one.end_us < span[1]
            ]
            times = np.unique(
                np.concatenate((moments, [span[0]], np.asarray(resumed, dtype=np.int64)))
            ).astype(np.int64)
        steps = np.arange(times.size)
        bids, asks = best_levels(listing, salt(key, day), self.fair.mid(listing, times))
        is_restart = (
            steps == times.size // 2
            if times.size > _FEWEST_STATES
            else np.zeros(times.size, dtype=bool)
        )
        return BookDay(
            listing,
            day,
            key,
            times,
            self.arrivals(listing, day, times),
            steps,
            bids,
            asks,
            is_restart,
        )

    def _tape(self, listing: Listing, day: dt.date, book: BookDay) -> Tape:
        rng = stream(self._seed, "tape", listing.venue, listing.raw_id, day)
        span = self.span(listing, day)
        count = self.fill_count(listing, day)
        if span is None or count == 0:
            nothing = np.empty(0, dtype=np.int64)
            return Tape(nothing, nothing, nothing, nothing.astype(bool), nothing, nothing)
        times = busy_times(rng, count, span, (day, self._activity(listing, day)))
        times = order_times(rng, times, span, day_span_us(day))
        moves = self.latent.log_price(listing.base, times + _PULL_AHEAD_US) - self.latent.log_price(
            listing.base, times
        )
        pull = moves / (moves.std() + 1e-12)
        tape = fills(rng, book, times, pull)
        tape = replace(tape, arrivals=self.arrivals(listing, day, tape.times))
        return reordered(rng, tape, book)

    def _forced(self, listing: Listing, book: BookDay, tape: Tape) -> Tape:
        if DataType.LIQUIDATIONS not in listing.data_types or book.times.size <= _FEWEST_STATES:
            return tape.taken(np.empty(0, dtype=np.int64))
        share = share_of_day((int(book.times[0]), int(book.times[-1])))
        rng = stream(self._seed, "forced", listing.venue, listing.raw_id, book.day)
        count = int(rng.poisson(listing.activity.liquidations * self._scale * share))
        if listing.venue is VenueId.DERIBIT:
            return liquidated_trades(self.fair, book, tape, count)
        return liquidations(self._seed, self.fair, book, count)
