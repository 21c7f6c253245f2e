"""Which instruments and files a question means, day by day, from universes and manifests.

What belongs here: names of objects. What does not: reading their rows. Nothing lists a folder or a
bucket: how long a question takes does not depend on how much the lake holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.client.choice import InstrumentChoice
from tickhandler_dagster.client.missing import Missing
from tickhandler_dagster.client.sources import BarSource
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.paths import InstrumentsFile, LakeObject, RawManifest
from tickhandler_dagster.market.states import DataState

NO_ROWS = frozenset({DataState.EMPTY, DataState.NOT_LISTED})
"""States of which no file is right: there was nothing to hold."""


@dataclass(frozen=True, slots=True)
class DayFile:
    """The file of an instrument and day.

    Attributes:
        cell: Day and venue.
        key: Canonical key.
        item: The object.
    """

    cell: VenueDay
    key: str
    item: LakeObject


class DayListing:
    """Universes and manifests of one question, each read once.

    Args:
        lake: Where they are.
        choice: Which instruments.
        days: Which days.
    """

    def __init__(self, lake: Lake, choice: InstrumentChoice, days: Sequence[dt.date]) -> None:
        self._lake = lake
        self._choice = choice
        self._days = days
        self._universes: dict[VenueDay, pl.DataFrame | None] = {}

    def cells(self) -> list[VenueDay]:
        """Days of every venue the choice can mean; of venues that nobody named, those with data."""
        venues = self._choice.venues()
        cells = [VenueDay(day, venue) for day in self._days for venue in venues]
        if not self._choice.is_exact and not self._are_venues_named():
            self._read_universes(cells)
            known = {cell.venue for cell in cells if self._universes[cell] is not None}
            return [cell for cell in cells if cell.venue in known]
        return cells

    def universe(self, cell: VenueDay) -> pl.DataFrame | None:
        """The universe of a day; None where it was never made."""
        self._read_universes([cell])
        return self._universes[cell]

    def universes(self) -> list[pl.DataFrame]:
        """The chosen rows of every day's universe.

        Raises:
            MissingUpstream: a day has none.
        """
        cells, missing = self.cells(), Missing("instruments")
        self._read_universes(cells)
        found = []
        for cell in cells:
            universe = self._universes[cell]
            if universe is None:
                missing.add(cell)
            else:
                found.append(self._choice.of(universe))
        if not cells and self._days:
            for venue in self._choice.venues():
                missing.add(VenueDay(self._days[0], venue))
        missing.require_none()
        return found

    def keys(self, cells: Sequence[VenueDay]) -> dict[VenueDay, list[str]]:
        """The chosen keys by cell; exact ones as they are, whether or not the day lists them.

        Raises:
            MissingUpstream: the universe of a cell is needed and was never made.
        """
        if self._choice.is_exact:
            of_venue = {cell.venue: self._choice.keys_of(cell.venue) for cell in cells}
            return {cell: of_venue[cell.venue] for cell in cells}
        missing = Missing("instruments")
        self._read_universes(cells)
        found = {}
        for cell in cells:
            universe = self._universes[cell]
            if universe is None:
                missing.add(cell)
            else:
                found[cell] = self._choice.of(universe)["instrument_key"].to_list()
        missing.require_none()
        return found

    def terms(self, cell: VenueDay, key: str) -> Mapping[str, object] | None:
        """The instrument's row of the day's universe; None where it has none, or no universe is."""
        universe = self.universe(cell)
        if universe is None:
            return None
        rows = universe.filter(pl.col("instrument_key") == key)
        return rows.row(0, named=True) if rows.height else None

    def files(self, source: BarSource) -> list[DayFile]:
        """The files of bars that the question needs, by day and key.

        Raises:
            MissingUpstream: a cell or an instrument's bars are not in the lake.
            InvalidInput: no day lists such an instrument.
        """
        cells = self.cells()
        keys = self.keys(cells)
        held = self._held(source, cells)
        missing, found = Missing(source.asset), []
        for cell in cells:
            present = held[cell]
            if present is None:
                if keys[cell]:
                    missing.add(cell)
                continue
            for key in keys[cell]:
                if key in present:
                    found.append(DayFile(cell, key, source.file(cell.date, key)))
                elif reason := self._why_absent(cell, key):
                    missing.add(cell, reason, key=key)
        missing.require_none()
        if self._days and not found:
            raise self.nothing()
        return found

    def held_files(self, source: BarSource) -> list[DayFile]:
        """The files of bars that are in the lake, by day and key; what is missing is left out."""
        cells = self.cells()
        held = self._held(source, cells)
        made = [cell for cell in cells if held[cell] is not None]
        return [
            DayFile(cell, key, source.file(cell.date, key))
            for cell, keys in self.keys(made).items()
            for key in keys
            if key in (held[cell] or ())
        ]

    def nothing(self) -> InvalidInput:
        """The error where no day lists what was chosen."""
        names = [*self._choice.keys, *self._choice.patterns]
        names += [f"{name}={value}" for name, value in self._choice.attributes.items()]
        return InvalidInput(
            ", ".join(names),
            f"no such instrument with data from {self._days[0]} to {self._days[-1]}",
            remedy="Ask universe() or instruments() for what there was",
        )

    def _held(
        self, source: BarSource, cells: Sequence[VenueDay]
    ) -> dict[VenueDay, frozenset[str] | None]:
        items = [source.manifest(cell) for cell in cells]
        found: dict[VenueDay, frozenset[str] | None] = {}
        for cell, item, local in zip(cells, items, self._lake.fetch(items), strict=True):
            frame = None
            if local is not None:
                columns = ("instrument_key", "timeframe")
                frame = self._lake.read_table(item, columns=columns, local=local)
            found[cell] = (
                None
                if frame is None
                else frozenset(
                    frame.filter(timeframe=source.timeframe.value)["instrument_key"].to_list()
                )
            )
        return found

    def _why_absent(self, cell: VenueDay, key: str) -> str | None:
        """Why a made cell has no bars of an instrument; None where that is right."""
        universe = self.universe(cell)
        if universe is None:
            return "no bars, and no universe that says whether it was listed"
        terms = self.terms(cell, key)
        if terms is None or DataType.TRADES.value not in _texts(terms["data_types"]):
            return None
        state = self._trades_state(cell, key)
        return None if state in NO_ROWS else f"listed and has no bars; its trades are {state}"

    def _trades_state(self, cell: VenueDay, key: str) -> DataState:
        frame = self._lake.read_table(
            RawManifest(cell.date, DataType.TRADES, cell.venue), columns=("instrument_key", "state")
        )
        states = [] if frame is None else frame.filter(instrument_key=key)["state"].to_list()
        return DataState(states[0]) if states else DataState.NOT_INGESTED

    def _are_venues_named(self) -> bool:
        names = [*self._choice.keys, *self._choice.patterns]
        return "venue" in self._choice.attributes or (
            bool(names) and not any("*" in name.partition(":")[0] for name in names)
        )

    def _read_universes(self, cells: Iterable[VenueDay]) -> None:
        unread = [cell for cell in dict.fromkeys(cells) if cell not in self._universes]
        items = [InstrumentsFile(cell.date, cell.venue) for cell in unread]
        for cell, item, local in zip(unread, items, self._lake.fetch(items), strict=True):
            self._universes[cell] = (
                None if local is None else self._lake.read_table(item, local=local)
            )


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
