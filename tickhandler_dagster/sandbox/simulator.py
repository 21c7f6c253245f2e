"""The simulated vendor: a seeded market behind the `Source` protocol.

What belongs here: which frames make which file, and the cache. The market itself is in the modules
this one imports.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.book_frames import snapshot_frame, top_frame, update_frame
from tickhandler_dagster.sandbox.catalog_reply import (
    exchange_details,
    exchange_summary,
    group_data_types,
    instrument_record,
)
from tickhandler_dagster.sandbox.chain import chain_frame
from tickhandler_dagster.sandbox.csv_file import csv_file
from tickhandler_dagster.sandbox.incidents import incidents_around
from tickhandler_dagster.sandbox.instrument_day import InstrumentDay, InstrumentDays
from tickhandler_dagster.sandbox.listing import GROUP_OF_KIND, Listing
from tickhandler_dagster.sandbox.seeds import salt
from tickhandler_dagster.sandbox.source import Json
from tickhandler_dagster.sandbox.ticker_frames import liquidation_frame, ticker_frame, trade_frame
from tickhandler_dagster.sandbox.trade_ids import IdScope
from tickhandler_dagster.sandbox.universe import Window, listings_of

DEFAULT_WINDOW = Window(dt.date(2024, 7, 1), dt.date(2025, 1, 1), dt.date(2024, 8, 9))
_CACHED_FILES = 32


class Simulator:
    """A market of fourteen venues, the same for the same seed whatever is asked in what order.

    Args:
        seed: Seed of the whole market.
        scale: Factor on the number of rows; 1 gives about 20,000 trades a day of a liquid
            perpetual.
        window: Days that exist.
    """

    def __init__(
        self, seed: int = 7, *, scale: float = 1.0, window: Window = DEFAULT_WINDOW
    ) -> None:
        self._seed = seed
        self._window = window
        self._incidents = incidents_around(window.event)
        self._days = InstrumentDays(seed, scale, window, self._incidents)
        self._lock = threading.Lock()
        self.listings = lru_cache(maxsize=None)(self._listings)
        self.exchange = lru_cache(maxsize=None)(self._exchange)
        self._file = lru_cache(maxsize=_CACHED_FILES)(self._render)
        self._frames: Mapping[DataType, Callable[[InstrumentDay], pl.DataFrame]] = MappingProxyType(
            {
                DataType.TRADES: lambda one: trade_frame(one, self._id_scope(one)),
                DataType.LIQUIDATIONS: lambda one: liquidation_frame(one, self._id_scope(one)),
                DataType.INCREMENTAL_BOOK_L2: lambda one: update_frame(one.book),
                DataType.QUOTES: lambda one: top_frame(one.book, DataType.QUOTES),
                DataType.BOOK_TICKER: lambda one: top_frame(one.book, DataType.BOOK_TICKER),
                DataType.BOOK_SNAPSHOT_5: lambda one: snapshot_frame(
                    one.book, DataType.BOOK_SNAPSHOT_5
                ),
                DataType.BOOK_SNAPSHOT_25: lambda one: snapshot_frame(
                    one.book, DataType.BOOK_SNAPSHOT_25
                ),
                DataType.DERIVATIVE_TICKER: self._ticker_frame,
                DataType.OPTIONS_CHAIN: self._chain_frame,
            }
        )

    @property
    def is_simulated(self) -> bool:
        """Always."""
        return True

    @property
    def window(self) -> Window:
        """Days that exist."""
        return self._window

    def exchanges(self) -> list[Json]:
        """All fourteen venues."""
        return [exchange_summary(venue, self._window) for venue in VenueId]

    def instruments(self, exchange: str) -> list[Json] | None:
        """A record per listing; None for an unknown exchange."""
        if exchange not in set(VenueId):
            return None
        return [instrument_record(one, self._window) for one in self.listings(VenueId(exchange))]

    def dataset(
        self, exchange: str, data_type: DataType, day: dt.date, symbol: str
    ) -> bytes | None:
        """The file of an instrument or group; None where the venue has no such symbol or type."""
        # One file at a time: the caches below are shared, and two threads would compute the same
        # day twice.
        with self._lock:
            return self._file(VenueId(exchange), data_type, day, symbol)

    def day(self, listing: Listing, day: dt.date) -> InstrumentDay:
        """The simulated day behind the files of an instrument."""
        return self._days.day_of(listing, day)

    def _listings(self, venue: VenueId) -> tuple[Listing, ...]:
        # A plain string equals the member and would otherwise fill the cache with itself.
        return listings_of(VenueId(venue), self._window, self._days.latent)

    def _exchange(self, exchange: str) -> Json | None:
        if exchange not in set(VenueId):
            return None
        venue = VenueId(exchange)
        return exchange_details(
            venue, self.listings(venue), self._window, self._incidents.get(venue, ())
        )

    def _members(self, venue: VenueId, data_type: DataType, symbol: str) -> list[Listing]:
        """The instruments whose rows a file holds: one, or all of a kind."""
        if symbol in set(GROUP_OF_KIND.values()):
            return [
                one
                for one in self.listings(venue)
                if GROUP_OF_KIND[one.kind] == symbol
                and data_type in group_data_types(venue, one.kind)
            ]
        return [
            one
            for one in self.listings(venue)
            if one.dataset_id == symbol and data_type in one.data_types
        ]

    def _render(
        self, venue: VenueId, data_type: DataType, day: dt.date, symbol: str
    ) -> bytes | None:
        members = self._members(venue, data_type, symbol)
        if not members:
            return None
        frame_of = self._frames[data_type]
        present = [one for one in members if self._days.span(one, day) is not None]
        return csv_file([frame_of(self.day(one, day)) for one in present])

    def _id_scope(self, one: InstrumentDay) -> IdScope:
        listing = one.listing
        return IdScope(
            listing,
            one.book.day,
            salt(self._seed, "ids", listing.venue, listing.raw_id),
            self.listings(listing.venue).index(listing),
            one.fills_before,
        )

    def _ticker_frame(self, one: InstrumentDay) -> pl.DataFrame:
        listing, day = one.listing, one.book.day
        span = self._days.span(listing, day)
        count = self._days.scaled(listing.activity.tickers, span) if span else 0
        times = self._days.sampled(listing, day, "ticker", count)
        return ticker_frame(one, self._days.fair, times, self._days.arrivals(listing, day, times))

    def _chain_frame(self, one: InstrumentDay) -> pl.DataFrame:
        listing, day = one.listing, one.book.day
        return chain_frame(
            one,
            self._days.fair,
            self._days.marks(listing, day),
            lambda times: self._days.arrivals(listing, day, times),
        )
