"""The instruments of a live feed: whose rows they are, what they are worth, which channels serve.

What belongs here: from the universe and the subscribed data types to what the bar kernel has to be
told. What does not: ticks (`tails.py`) and windows of them (`windows.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from tickhandler_dagster.market.bars.day import Channels
from tickhandler_dagster.market.bars.facts import DayFacts
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.catalog import midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.liquidation_feeds import is_throttled
from tickhandler_dagster.market.related_instruments import near_key, reference_key
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.pipeline.candle_channels import SOURCES
from tickhandler_dagster.pipeline.candle_listing import DayOfVenue, Listing
from tickhandler_dagster.pipeline.channel_reading import SNAPSHOT_DEPTHS

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class LiveInstrument:
    """One instrument of a live feed.

    Attributes:
        key: Canonical key.
        venue: Its venue.
        symbol: The symbol in the spool.
        row: Its row of the universe.
        channels: The data type that serves each channel.
    """

    key: str
    venue: VenueId
    symbol: str
    row: Mapping[str, Any]
    channels: Mapping[Channel, DataType]

    @property
    def quote_type(self) -> DataType | None:
        """The data type of the best quotes: a feed of their own, else book snapshots."""
        return self.channels.get(Channel.TOP) or self.channels.get(Channel.LEVELS)

    @property
    def depth(self) -> int | None:
        """Levels per side of the book snapshots; None where there are none."""
        levels = self.channels.get(Channel.LEVELS)
        return None if levels is None else SNAPSHOT_DEPTHS[levels]

    @property
    def has_dense_ids(self) -> bool:
        """The venue numbers its trades one by one."""
        return VENUES[self.venue].has_dense_trade_ids

    def kernel_channels(self, day: dt.date) -> Channels:
        """What the bar kernel is told of the channels."""
        return Channels(
            depth=self.depth,
            has_quotes=self.quote_type is not None,
            is_quote_feed=Channel.TOP in self.channels,
            has_ticker=Channel.TICKER in self.channels,
            has_liquidations=Channel.LIQUIDATIONS in self.channels,
            is_throttled=is_throttled(self.venue, day),
        )

    def facts(self, window: Span) -> DayFacts:
        """What is known of a window of one day besides its ticks and gaps."""
        day_facts = self.facts_of_day(window.start // _US_PER_DAY)
        return dataclasses.replace(
            day_facts, day=window, listed=day_facts.listed.clipped_to(window)
        )

    def facts_of_day(self, day_number: int) -> DayFacts:
        """What is known of a whole day, days counted from the epoch."""
        return _facts_of_day(self, day_number)


_US_PER_DAY = 86_400_000_000


@lru_cache(maxsize=4_096)
def _facts_of_day(instrument: LiveInstrument, day_number: int) -> DayFacts:
    date = _EPOCH + dt.timedelta(days=day_number)
    day = Span(*day_span_us(date))
    cell = VenueDay(date, instrument.venue)
    listing = Listing(DayOfVenue(cell, day, (), date), instrument.row, is_stray=False)
    levels = instrument.channels.get(Channel.LEVELS)
    quotes = instrument.quote_type
    kind = instrument.row["instrument_type"]
    return DayFacts(
        instrument_key=instrument.key,
        venue=instrument.venue,
        day=day,
        listed=listing.listed,
        terms=listing.contract,
        closing=Closing(day=day, has_previous=True, has_next=False),
        is_perpetual=kind == InstrumentType.PERPETUAL,
        is_option=kind == InstrumentType.OPTION,
        expiry_us=listing.expiry_us,
        tick_size=instrument.row["tick_size"],
        book_source=None if levels is None else levels.value,
        quote_source=None if quotes is None else quotes.value,
    )


def live_instruments(
    universe: pl.DataFrame,
    venue: VenueId,
    data_types: Collection[DataType],
    *,
    keys: Collection[str] | None = None,
) -> list[LiveInstrument]:
    """The instruments of a venue that a feed of these data types serves with trades, by key.

    Args:
        universe: Rows of `INSTRUMENTS_TABLE`, of one day.
        venue: The venue.
        data_types: Types the feed is subscribed to.
        keys: Only these instruments; None for all.
    """
    found = []
    for row in universe.filter(pl.col("venue") == venue.value).iter_rows(named=True):
        if keys is not None and row["instrument_key"] not in keys:
            continue
        served = set(data_types) & {DataType(name) for name in row["data_types"]}
        if DataType.TRADES in served:
            found.append(
                LiveInstrument(
                    row["instrument_key"], venue, row["tardis_symbol"], row, _channels(served)
                )
            )
    return sorted(found, key=lambda instrument: instrument.key)


def types_of(instruments: Sequence[LiveInstrument]) -> list[DataType]:
    """The data types that serve a channel of some instrument, in a fixed order."""
    used = {name for one in instruments for name in one.channels.values()}
    return [name for name in DataType if name in used]


def _channels(served: Collection[DataType]) -> dict[Channel, DataType]:
    """The preferred type of each channel, as in the batch."""
    return {
        channel: candidates[0]
        for channel, types in SOURCES.items()
        if (candidates := [name for name in types if name in served])
    }


@dataclass(frozen=True, slots=True)
class Relations:
    """Which instrument others are measured against on a day.

    Attributes:
        reference: Key of the venue's reference instrument; None without one.
        near: Key of the dated future that expires first, by that of a later one.
    """

    reference: str | None
    near: Mapping[str, str]

    @property
    def legs(self) -> set[str]:
        """Keys of the instruments that others are measured against."""
        return {*self.near.values(), *([] if self.reference is None else [self.reference])}

    def order(self, instruments: Iterable[LiveInstrument]) -> list[LiveInstrument]:
        """Those that others stand on first, the reference before all."""
        legs = self.legs
        return sorted(
            instruments, key=lambda one: (one.key != self.reference, one.key not in legs, one.key)
        )


def relations(instruments: Sequence[LiveInstrument], date: dt.date) -> Relations:
    """The relations among instruments of one venue, by the batch's choice."""
    rows = [instrument.row for instrument in instruments]
    end = midnight(date + dt.timedelta(days=1))
    near = {instrument.key: near_key(instrument.row, rows, end) for instrument in instruments}
    return Relations(reference_key(rows), {key: leg for key, leg in near.items() if leg})
