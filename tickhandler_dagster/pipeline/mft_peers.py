"""Instruments of other venues that a cell's instruments are compared with.

What belongs here: from the day's universes of venues with candles to keys. What does not: the rule
of the choice (`market/mft/venue_peers.py`) and reading bars (`mft_bars.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.mft.venue_peers import group_keys, peer_key
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.related_instruments import Instrument
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_listing import CandleDay, CandleListing


@dataclass(frozen=True, slots=True)
class Peers:
    """Instruments of other venues that one instrument is compared with.

    Attributes:
        venue: The venue its price is held against; None where there is none.
        key: The instrument there.
        group: Instruments whose money is one sum with its own, with their venues.
    """

    venue: VenueId | None
    key: str | None
    group: tuple[tuple[VenueId, str], ...]


def universe_of(lake: Lake, cell: VenueDay) -> dict[str, Instrument]:
    """The day's universe without options, by key; empty where it is not in the lake."""
    frame = lake.read_table(InstrumentsFile(cell.date, cell.venue))
    if frame is None:
        return {}
    rows = frame.filter(pl.col("instrument_type") != InstrumentType.OPTION)
    return {row["instrument_key"]: row for row in rows.iter_rows(named=True)}


def peers_of(
    lake: Lake,
    cell: VenueDay,
    timeframe: Timeframe,
    *,
    venues: Iterable[VenueId],
    listing: CandleListing,
) -> dict[str, Peers]:
    """Per instrument of the cell that it is compared with, among venues with candles of the day."""
    universes = {
        venue: universe_of(lake, VenueDay(cell.date, venue))
        for venue in venues
        if listing.files(CandleDay(venue, timeframe, cell.date)) is not None
    }
    everything = [row for rows in universes.values() for row in rows.values()]
    by_asset: dict[str, list[Instrument]] = {}
    for row in everything:
        by_asset.setdefault(row["base_asset"], []).append(row)
    found = {}
    for key, own in universes.get(cell.venue, {}).items():
        alike = by_asset[own["base_asset"]]
        venue, peer = _price_peer(own, alike, tuple(universes))
        group = set(group_keys(own, alike))
        found[key] = Peers(
            venue,
            peer,
            tuple(
                (VenueId(row["venue"]), row["instrument_key"])
                for row in sorted(alike, key=lambda row: str(row["instrument_key"]))
                if row["instrument_key"] in group
            ),
        )
    return {key: peers for key, peers in found.items() if peers.key or peers.group}


def _price_peer(
    own: Instrument, alike: Iterable[Instrument], venues: Iterable[VenueId]
) -> tuple[VenueId | None, str | None]:
    """The same pair on the first venue that lists it; none where that is the instrument's own."""
    alike = list(alike)
    for venue in venues:
        if venue == own["venue"]:
            break
        key = peer_key(own, [row for row in alike if row["venue"] == venue])
        if key is not None:
            return venue, key
    return None, None
