"""What an instrument's bars are built from: raw files of three days, states, the listing.

What belongs here: from manifests, catalogue and universe to one value per instrument, without
reading a tick. What does not: building (`candle_build.py`) and publishing (`candle_files.py`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.bars.frame import KERNEL_VERSION, DayFacts, Sources
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.states import DataState

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

_Manifest = Mapping[str, ManifestRow]


@dataclass(frozen=True, slots=True)
class InstrumentDay:
    """The inputs of one instrument's bars.

    Attributes:
        facts: What the bar kernel needs besides trades; without the trade before the day, which is
            in the files.
        state: State of the day's raw trades.
        previous: The raw file of the day before; None where there is none.
        own: The raw file of the day; None where there is none.
        following: The raw file of the day after; None where there is none.
    """

    facts: DayFacts
    state: DataState
    previous: ManifestRow | None
    own: ManifestRow | None
    following: ManifestRow | None

    @property
    def files(self) -> list[ManifestRow]:
        """The raw files there are, in the order of arrival."""
        return [row for row in (self.previous, self.own, self.following) if row is not None]

    @property
    def is_simulated(self) -> bool:
        """A source came from the sandbox."""
        return any(row.is_simulated for row in self.files)

    @property
    def digest(self) -> str:
        """Hash of everything the bars depend on: equal digests, equal bars."""
        known = {
            "kernel": KERNEL_VERSION,
            "facts": dataclasses.asdict(self.facts),
            "state": self.state,
            "files": [(row.date.isoformat(), row.content_sha256) for row in self.files],
            "is_simulated": self.is_simulated,
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def instrument_days(
    cell: VenueDay, *, lake: Lake, catalog: ExchangeCatalog, universe: pl.DataFrame
) -> list[InstrumentDay]:
    """The inputs of every instrument of the universe that has trades there, ordered by key.

    Instruments that the vendor does not list on the day after all have no bars and are left out.

    Raises:
        MissingUpstream: the raw trades of the day were never ingested.
    """
    manifests = [_manifest(lake, cell.shifted(days)) for days in (-1, 0, 1)]
    if manifests[1] is None:
        raise MissingUpstream(
            f"raw_ticks/trades {cell}",
            "not materialized",
            remedy=f"Run: {materialize('raw_ticks/trades', cell)}",
        )
    day = Span(*day_span_us(cell.date))
    gaps = tuple(_gaps(catalog, day))
    listed = universe.filter(pl.col("data_types").list.contains(DataType.TRADES.value))
    own = {terms["instrument_key"]: terms for terms in listed.iter_rows(named=True)}
    strays = _strays(lake, cell, manifests, known=set(own))
    return [
        _instrument_day(
            _Listing(cell, day, gaps, catalog.first_day, terms, is_stray=key in strays), manifests
        )
        for key, terms in sorted({**own, **strays}.items())
        if _state(manifests[1], key) is not DataState.NOT_LISTED
    ]


def _strays(
    lake: Lake, cell: VenueDay, manifests: Sequence[_Manifest | None], *, known: set[str]
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


@dataclass(frozen=True, slots=True)
class _Listing:
    """An instrument of the day, or one of a neighbouring day alone: that has no file of its own."""

    cell: VenueDay
    day: Span
    gaps: tuple[Span, ...]
    venue_first_day: dt.date
    terms: Mapping[str, Any]
    is_stray: bool

    @property
    def key(self) -> str:
        return str(self.terms["instrument_key"])

    @property
    def start(self) -> int:
        return microseconds(self.terms["available_from"])

    @property
    def end(self) -> int | None:
        ends = [
            self.terms[name] for name in ("available_to", "expiry") if self.terms[name] is not None
        ]
        return min(map(microseconds, ends), default=None)

    @property
    def has_no_day_before(self) -> bool:
        return self.start >= self.day.start or self.cell.date <= self.venue_first_day

    @property
    def has_no_day_after(self) -> bool:
        return self.end is not None and self.end <= self.day.end

    @property
    def listed(self) -> Span:
        return Span(self.start, self.day.end if self.end is None else self.end).clipped_to(self.day)


def _instrument_day(listing: _Listing, manifests: list[_Manifest | None]) -> InstrumentDay:
    before, on_the_day, after = manifests
    state = DataState.EMPTY if listing.is_stray else _state(on_the_day, listing.key)
    is_ingested = state in {DataState.PRESENT, DataState.EMPTY}
    previous, own, following = (
        _present(manifest, listing.key) if is_ingested else None
        for manifest in (before, on_the_day, after)
    )
    facts = DayFacts(
        instrument_key=listing.key,
        venue=listing.cell.venue,
        day=listing.day,
        listed=listing.listed,
        terms=ContractTerms(
            listing.terms["contract_size"],
            is_inverse=listing.terms["is_inverse"],
            is_quanto=listing.terms["is_quanto"],
        ),
        closing=Closing(
            day=listing.day,
            has_previous=_is_settled(before, listing.key) or listing.has_no_day_before,
            has_next=_is_settled(after, listing.key) or listing.has_no_day_after,
        ),
        clock=_clock(own),
        is_ingested=is_ingested,
        gaps=listing.gaps,
        sources=Sources(
            previous=None if previous is None else previous.source_sha256,
            own=_source_sha256(on_the_day, listing.key) if is_ingested else None,
            following=None if following is None else following.source_sha256,
        ),
    )
    return InstrumentDay(facts, state, previous, own, following)


def microseconds(moment: dt.datetime) -> int:
    """Microseconds since the epoch, exactly; a float of seconds has only about a quarter of one."""
    return (moment - _EPOCH) // _MICROSECOND


def _manifest(lake: Lake, cell: VenueDay) -> _Manifest | None:
    rows = read_raw_manifest(lake, cell, DataType.TRADES)
    return None if rows is None else {row.instrument_key: row for row in rows}


def _state(manifest: _Manifest | None, key: str) -> DataState:
    """The state of the day's trades; what the manifest does not know was never asked for."""
    row = None if manifest is None else manifest.get(key)
    return DataState.FAILED if row is None else row.state


def _is_settled(manifest: _Manifest | None, key: str) -> bool:
    """The partition is in, and the instrument's part of it is in or was not expected."""
    return manifest is not None and (key not in manifest or manifest[key].state.is_settled)


def _present(manifest: _Manifest | None, key: str) -> ManifestRow | None:
    row = None if manifest is None else manifest.get(key)
    return row if row is not None and row.state is DataState.PRESENT else None


def _source_sha256(manifest: _Manifest | None, key: str) -> str | None:
    """The vendor's file of the day, also an empty one: it is what `no_trade` stands on."""
    row = None if manifest is None else manifest.get(key)
    return None if row is None else row.source_sha256


def _clock(own: ManifestRow | None) -> str:
    is_local = own is not None and 0 < own.rows == own.rows_without_exchange_time
    return "local" if is_local else "exchange"


def _gaps(catalog: ExchangeCatalog, day: Span) -> Iterator[Span]:
    for incident in catalog.incidents_on((day.start, day.end)):
        end = day.end if incident.end is None else microseconds(incident.end)
        yield Span(microseconds(incident.start), end).clipped_to(day)
