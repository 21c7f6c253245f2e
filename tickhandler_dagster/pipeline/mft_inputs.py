"""What a day of mid-frequency features is computed from: candles of the day and of its halo.

What belongs here: from manifests and universes to one value per cell and timeframe, without reading
a bar. What does not: reading bars (`mft_bars.py`), computing (`mft_rows.py`), publishing
(`mft_files.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.mft.catalog import MFT_KERNEL_VERSION, mft_features
from tickhandler_dagster.market.mft.entry import MftFeature, Scope
from tickhandler_dagster.market.mft.halo import Halo, halo_of
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.related_instruments import reference_key
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.mft_listing import CandleDay, CandleListing, ListedFile
from tickhandler_dagster.pipeline.mft_peers import Peers, peers_of, universe_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MftPlan:
    """What is computed, the same for every cell.

    Attributes:
        windows: Windows of the features.
        features: The features.
        allow_gaps: Bars that touch a gap count like bars without trades.
        first_day: First day of the grid: no day before it is read.
        venues: Venues of the grid in its order: of those that list a pair, the first is the one
            that the others are compared with.
    """

    windows: Windows
    features: tuple[MftFeature, ...]
    allow_gaps: bool
    first_day: dt.date
    venues: tuple[VenueId, ...] = ()

    def of(self, *scopes: Scope) -> tuple[MftFeature, ...]:
        """The features of these scopes."""
        return tuple(feature for feature in self.features if feature.scope in scopes)


def mft_plan(
    windows: Windows,
    *,
    first_day: dt.date,
    venues: Iterable[VenueId] = (),
    allow_gaps: bool = False,
) -> MftPlan:
    """The plan of all features for these windows."""
    return MftPlan(
        windows=windows,
        features=mft_features(windows),
        allow_gaps=allow_gaps,
        first_day=first_day,
        venues=tuple(venues),
    )


@dataclass(frozen=True, kw_only=True)
class MftInputs:
    """The inputs of a cell's features of one timeframe.

    Attributes:
        cell: The day and venue.
        timeframe: Length of the bars.
        plan: What is computed.
        halo: Which days before its own a day reads.
        listing: Candle manifests.
        keys: Instruments with bars on the day, options left out, in order.
        reference: The instrument the others are measured against; None where there is none.
        peers: Instruments of other venues, by instrument.
    """

    cell: VenueDay
    timeframe: Timeframe
    plan: MftPlan
    halo: Halo
    listing: CandleListing
    keys: tuple[str, ...]
    reference: str | None
    peers: Mapping[str, Peers]

    def days(
        self, backs: Iterable[int], *, venue: VenueId | None = None, daily: bool = False
    ) -> list[CandleDay]:
        """Candle partitions so many days before the day, those of them that the grid has."""
        timeframe = Timeframe.H24 if daily else self.timeframe
        dates = (self.cell.date - dt.timedelta(days=back) for back in sorted(backs, reverse=True))
        return [
            CandleDay(venue or self.cell.venue, timeframe, date)
            for date in dates
            if date >= self.plan.first_day or date == self.cell.date
        ]

    @cached_property
    def halo_partitions(self) -> tuple[CandleDay, ...]:
        """Partitions of the venue before the day that its rows read."""
        own = self.days({*self.halo.series, *self.halo.slots})
        return tuple(dict.fromkeys((*own, *self.days(self.halo.daily, daily=True))))

    @property
    def read_partitions(self) -> Iterable[CandleDay]:
        """Every partition of which the rows read something."""
        venues = {peers.venue for peers in self.peers.values() if peers.venue is not None}
        venues |= {venue for peers in self.peers.values() for venue, _ in peers.group}
        yield from self.halo_partitions
        for venue in sorted(venues):
            yield from self.days({0, *self.halo.series}, venue=venue)

    @cached_property
    def missing(self) -> tuple[CandleDay, ...]:
        """Those of them that were never made."""
        return tuple(day for day in self.halo_partitions if self.listing.files(day) is None)

    @cached_property
    def is_simulated(self) -> bool:
        """A bar that is read came from the sandbox."""
        return any(file.is_simulated for _, _, file in self._read_files())

    @cached_property
    def digest(self) -> str:
        """Hash of everything the cell's rows depend on: equal digests, equal rows."""
        known = {
            "kernel": MFT_KERNEL_VERSION,
            "features": [(feature.name, feature.look_back) for feature in self.plan.features],
            "windows": dataclasses.asdict(self.plan.windows),
            "allow_gaps": self.plan.allow_gaps,
            "timeframe": self.timeframe,
            "halo": [str(day) for day in self.halo_partitions],
            "missing": [str(day) for day in self.missing],
            "reference": self.reference,
            "peers": {key: dataclasses.astuple(peers) for key, peers in self.peers.items()},
            "keys": self.keys,
            "files": [(str(day), key, file.sha256) for day, key, file in self._read_files()],
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def partitions_of(self, key: str) -> int:
        """Partitions of the halo that have bars of the instrument."""
        return sum(self.listing.file(day, key) is not None for day in self.halo_partitions)

    def _read_files(self) -> Iterable[tuple[CandleDay, str, ListedFile]]:
        """Every file that is read, in one order, each once."""
        series = {0, *self.halo.series}
        today = self.days({0})
        wanted = [(day, key) for key in self.keys for day in (*self.halo_partitions, *today)]
        if self.reference is not None:
            wanted += [(day, self.reference) for day in self.days(series)]
        for peers in self.peers.values():
            single = () if peers.venue is None or peers.key is None else ((peers.venue, peers.key),)
            wanted += [
                (day, key)
                for venue, key in (*single, *peers.group)
                for day in self.days(series, venue=venue)
            ]
        for day, key in sorted(set(wanted)):
            file = self.listing.file(day, key)
            if file is not None:
                yield day, key, file


def mft_inputs(cell: VenueDay, timeframe: Timeframe, *, lake: Lake, plan: MftPlan) -> MftInputs:
    """The inputs of a cell's features of one timeframe.

    Raises:
        MissingUpstream: the candles of the day were never made.
        CorruptData: a manifest cannot be read.
    """
    listing = CandleListing(lake)
    own = listing.files(CandleDay(cell.venue, timeframe, cell.date))
    if own is None:
        raise MissingUpstream(
            f"candles/{timeframe} {cell}",
            "not materialized",
            remedy=f"Run: {materialize(f'candles/{timeframe}', cell)}",
        )
    universe = universe_of(lake, cell)
    inputs = MftInputs(
        cell=cell,
        timeframe=timeframe,
        plan=plan,
        halo=halo_of(plan.features, timeframe),
        listing=listing,
        keys=tuple(sorted(own)),
        reference=reference_key(universe.values()) if plan.of(Scope.REFERENCE) else None,
        peers=peers_of(lake, cell, timeframe, venues=plan.venues, listing=listing)
        if plan.of(Scope.VENUES)
        else {},
    )
    listing.read(inputs.read_partitions)
    return inputs
