"""What an instrument's bars are built from: raw files of three days, states, the listing.

What belongs here: from manifests, catalogue and universe to one value per instrument, without
reading a tick. What does not: what other objects a day depends on (`candle_context.py`), building
(`candle_build.py`) and publishing (`candle_files.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.facts import DayFacts, Sources
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.candle_channels import (
    BY_ARRIVAL,
    CellManifests,
    ChannelFiles,
    Manifest,
    present,
)
from tickhandler_dagster.pipeline.candle_gaps import CellGaps
from tickhandler_dagster.pipeline.candle_listing import Listing, day_of_venue

_BOOK = (Channel.TOP, Channel.LEVELS)
_BESIDE_TRADES = (Channel.LEVELS, Channel.TOP, Channel.TICKER, Channel.LIQUIDATIONS)


@dataclass(frozen=True, slots=True)
class InstrumentDay:
    """The inputs of one instrument's bars.

    Attributes:
        facts: What the bar kernel needs besides ticks; without the trade before the day, which is
            in the files.
        state: State of the day's raw trades.
        previous: The raw trades of the day before; None where there are none.
        own: The raw trades of the day; None where there are none.
        following: The raw trades of the day after; None where there are none.
        channels: Files of the other channels that cover the day.
        terms: The instrument's row of the universe.
    """

    facts: DayFacts
    state: DataState
    previous: ManifestRow | None
    own: ManifestRow | None
    following: ManifestRow | None
    channels: Mapping[Channel, ChannelFiles] = field(default_factory=dict)
    terms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trades(self) -> ChannelFiles:
        """The raw trades as a channel like the others."""
        return ChannelFiles(
            DataType.TRADES, self.state, self.previous, self.own, self.following, None
        )

    @property
    def files(self) -> list[ManifestRow]:
        """The raw trades there are, in the order of arrival."""
        return self.trades.files

    @property
    def all_files(self) -> list[ManifestRow]:
        """The raw files of every channel."""
        return [*self.files, *(row for files in self.channels.values() for row in files.files)]

    @property
    def is_simulated(self) -> bool:
        """A source came from the sandbox."""
        return any(row.is_simulated for row in self.all_files)


def instrument_days(
    cell: VenueDay, *, lake: Lake, catalog: ExchangeCatalog, universe: pl.DataFrame
) -> list[InstrumentDay]:
    """The inputs of every instrument of the universe that has trades there, ordered by key.

    Instruments that the vendor does not list on the day after all have no bars and are left out.

    Raises:
        MissingUpstream: the raw trades of the day were never ingested.
    """
    manifests = CellManifests(lake, cell)
    on_the_day = manifests.of(DataType.TRADES)[1]
    if on_the_day is None:
        raise MissingUpstream(
            f"raw_ticks/trades {cell}",
            "not materialized",
            remedy=f"Run: {materialize('raw_ticks/trades', cell)}",
        )
    venue_day = day_of_venue(cell, catalog)
    gaps = CellGaps(lake, cell)
    listed = universe.filter(pl.col("data_types").list.contains(DataType.TRADES.value))
    own = {terms["instrument_key"]: terms for terms in listed.iter_rows(named=True)}
    strays = _strays(lake, cell, manifests.of(DataType.TRADES), known=set(own))
    return [
        _instrument_day(Listing(venue_day, terms, is_stray=key in strays), manifests, gaps)
        for key, terms in sorted({**own, **strays}.items())
        if _state(on_the_day, key) is not DataState.NOT_LISTED
    ]


def _strays(
    lake: Lake, cell: VenueDay, manifests: Sequence[Manifest | None], *, known: set[str]
) -> dict[str, Mapping[str, Any]]:
    """Terms of instruments that only a neighbouring day lists, with trades stamped on this one.

    A recorder's clock that is not the exchange's puts the last trades of an instrument past its
    last day, or the first ones before its first: they belong to bars all the same.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for days, manifest in ((-1, manifests[0]), (1, manifests[2])):
        keys = {
            key
            for key, row in (manifest or {}).items()
            if key not in known and (row.rows_after_day if days < 0 else row.rows_before_day)
        }
        universe = (
            lake.read_table(InstrumentsFile(cell.shifted(days).date, cell.venue)) if keys else None
        )
        if universe is not None:
            rows = universe.filter(pl.col("instrument_key").is_in(sorted(keys)))
            found |= {terms["instrument_key"]: terms for terms in rows.iter_rows(named=True)}
    return found


def _instrument_day(listing: Listing, manifests: CellManifests, gaps: CellGaps) -> InstrumentDay:
    before, on_the_day, after = manifests.of(DataType.TRADES)
    state = DataState.EMPTY if listing.is_stray else _state(on_the_day, listing.key)
    is_ingested = state in {DataState.PRESENT, DataState.EMPTY}
    previous, own, following = (
        present(manifest, listing.key) if is_ingested else None
        for manifest in (before, on_the_day, after)
    )
    channels = _channels(listing, manifests)
    facts = DayFacts(
        instrument_key=listing.key,
        venue=listing.venue_day.cell.venue,
        day=listing.venue_day.day,
        listed=listing.listed,
        terms=listing.contract,
        closing=_closing(listing, manifests, channels),
        clock=_clock(own),
        is_ingested=is_ingested,
        gaps=(*listing.venue_day.gaps, *gaps.of(DataType.TRADES, listing.key)),
        book_gaps={
            channel: (*listing.venue_day.gaps, *gaps.of(channels[channel].data_type, listing.key))
            for channel in _BOOK
            if channel in channels
        },
        sources=_sources(
            (previous, own, following),
            _source_sha256(on_the_day, listing.key) if is_ingested else None,
            channels.values(),
        ),
        is_perpetual=listing.terms["instrument_type"] == InstrumentType.PERPETUAL,
        is_option=listing.terms["instrument_type"] == InstrumentType.OPTION,
        expiry_us=listing.expiry_us,
        tick_size=listing.terms["tick_size"],
        book_source=_type_of(channels, Channel.LEVELS),
        quote_source=_type_of(channels, Channel.TOP) or _type_of(channels, Channel.LEVELS),
    )
    return InstrumentDay(facts, state, previous, own, following, channels, listing.terms)


def _channels(listing: Listing, manifests: CellManifests) -> dict[Channel, ChannelFiles]:
    found = {
        channel: files
        for channel in _BESIDE_TRADES
        if (files := manifests.channel(channel, listing.key)) is not None
    }
    levels = found.get(Channel.LEVELS)
    has_snapshots = levels is not None and levels.state is DataState.PRESENT
    if has_snapshots and _is_worse_than_snapshots(found.get(Channel.TOP)):
        del found[Channel.TOP]
    return found


def _is_worse_than_snapshots(files: ChannelFiles | None) -> bool:
    """The quotes are empty beside a book, or have no exchange time.

    Quotes without an exchange time (Binance's spot book_ticker) would put arrivals among times of
    the exchange, one recorder's being 1.3 s behind it: the snapshots have the right clock.
    """
    if files is None:
        return False
    own = files.own
    return own is None or 0 < own.rows == own.rows_without_exchange_time


def _closing(
    listing: Listing, manifests: CellManifests, channels: Mapping[Channel, ChannelFiles]
) -> Closing:
    """Whether the neighbours' files of every channel in use are in, or there can be none."""
    types = [DataType.TRADES, *(files.data_type for files in channels.values())]
    types_after = [
        DataType.TRADES,
        *(files.data_type for channel, files in channels.items() if channel not in BY_ARRIVAL),
    ]
    return Closing(
        day=listing.venue_day.day,
        has_previous=listing.has_no_day_before
        or all(manifests.is_settled(name, listing.key, days=-1) for name in types),
        has_next=listing.has_no_day_after
        or all(manifests.is_settled(name, listing.key, days=1) for name in types_after),
    )


def _sources(
    trades: tuple[ManifestRow | None, ManifestRow | None, ManifestRow | None],
    own_trades: str | None,
    channels: Iterable[ChannelFiles],
) -> Sources:
    """The vendor's files by day; an empty one too, since it is what `no_trade` stands on."""
    files = tuple(channels)
    previous = [trades[0], *(item.previous for item in files)]
    following = [trades[2], *(item.following for item in files)]
    own = [own_trades, *(item.source_sha256 for item in files)]
    return Sources(
        previous=_hashes(previous),
        own=tuple(digest for digest in own if digest is not None),
        following=_hashes(following),
    )


def _hashes(rows: Iterable[ManifestRow | None]) -> tuple[str, ...]:
    return tuple(
        row.source_sha256 for row in rows if row is not None and row.source_sha256 is not None
    )


def _type_of(channels: Mapping[Channel, ChannelFiles], channel: Channel) -> str | None:
    return channels[channel].data_type.value if channel in channels else None


def _state(manifest: Manifest | None, key: str) -> DataState:
    """The state of the day's trades; what the manifest does not know was never asked for."""
    row = None if manifest is None else manifest.get(key)
    return DataState.FAILED if row is None else row.state


def _source_sha256(manifest: Manifest | None, key: str) -> str | None:
    row = None if manifest is None else manifest.get(key)
    return None if row is None else row.source_sha256


def _clock(own: ManifestRow | None) -> str:
    is_local = own is not None and 0 < own.rows == own.rows_without_exchange_time
    return "local" if is_local else "exchange"
