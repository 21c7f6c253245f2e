"""All that is known of an instrument's day besides its ticks.

What belongs here: the facts. What does not: where they come from (`pipeline/candle_inputs.py`) and
what becomes of them (`frame.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.venues import VenueId

KERNEL_VERSION = "3"
"""Goes up with every change that can change a bar; bars of another version are built anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Hashes of the vendor's files a day's bars can be cut from, one per channel that has one.

    Attributes:
        previous: Files of the day before.
        own: Files of the day.
        following: Files of the day after.
    """

    previous: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    following: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """In the order of the days."""
        return (*self.previous, *self.own, *self.following)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """All that is known of an instrument's day besides its ticks.

    Attributes:
        instrument_key: Canonical key.
        venue: Its venue.
        day: The UTC day.
        listed: When the instrument was listed, inside the day.
        terms: What its amounts are worth.
        closing: Which neighbouring files are in.
        clock: `exchange`, or `local` where the venue gives no exchange time.
        is_ingested: The day's trades are in the lake, or are known to be none.
        gaps: Spans in which trades are missing: incidents the vendor reports, and known holes.
        book_gaps: The same of the best quotes and of the book levels, as far as they are in use.
        previous: Last trade before the day; None where none is known.
        sources: The vendor's files.
        is_perpetual: It is a perpetual.
        is_option: It is an option.
        expiry_us: Time of expiry; None where it has none.
        tick_size: Price step; None where unknown.
        book_source: Data type of the book levels; None where there are none.
        quote_source: Data type of the best quotes; None where there are none.
        has_memory: The bars of the day before are known.
    """

    instrument_key: str
    venue: VenueId
    day: Span
    listed: Span
    terms: ContractTerms
    closing: Closing
    clock: str = "exchange"
    is_ingested: bool = True
    gaps: Sequence[Span] = ()
    book_gaps: Mapping[Channel, Sequence[Span]] = field(default_factory=dict)
    previous: PreviousTrade | None = None
    sources: Sources = Sources()
    is_perpetual: bool = False
    is_option: bool = False
    expiry_us: int | None = None
    tick_size: float | None = None
    book_source: str | None = None
    quote_source: str | None = None
    has_memory: bool = False

    def gaps_of(self, channel: Channel) -> Sequence[Span]:
        """Spans in which rows of the best quotes or book levels are missing.

        Best quotes without a feed of their own are the first level of the book.
        """
        levels = self.book_gaps.get(Channel.LEVELS, self.gaps)
        return levels if channel is Channel.LEVELS else self.book_gaps.get(channel, levels)
