"""Building the universe of a venue and a day from the stored catalogue.

What belongs here: the use case of the asset `instruments`, and its reader. What does not: which
symbols become rows (`market/instruments.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.instruments import Universe, build_universe
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog, stored_contracts

if TYPE_CHECKING:
    import polars as pl

    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.market.days import VenueDay


@dataclass(frozen=True, slots=True)
class StoredUniverse:
    """A universe and the object that holds it.

    Attributes:
        universe: The universe, and what was left out of it.
        bytes: Size of the object.
        sha256: Hash of the object: the same listing has the same hash.
    """

    universe: Universe
    bytes: int
    sha256: str


def build_instruments(lake: Lake, cell: VenueDay) -> StoredUniverse:
    """Build the universe of a cell and store it; the same catalogue gives the same bytes.

    Raises:
        MissingUpstream: the venue's catalogue was never fetched.
        InvalidInput: the day lies before the venue's first.
        CorruptData: a stored reply cannot be read.
    """
    catalog = stored_catalog(lake, cell.venue)
    universe = build_universe(catalog, stored_contracts(lake, cell.venue), cell.date)
    stored = lake.write_table(
        InstrumentsFile(cell.date, cell.venue),
        universe.frame,
        INSTRUMENTS_TABLE,
        sorted_by=("instrument_key",),
    )
    return StoredUniverse(universe, stored.bytes, stored.sha256)


def read_instruments(lake: Lake, cell: VenueDay) -> pl.DataFrame:
    """The stored universe of a cell: rows of `INSTRUMENTS_TABLE`, ordered by instrument key.

    Raises:
        MissingUpstream: the partition was never materialized.
    """
    frame = lake.read_table(InstrumentsFile(cell.date, cell.venue))
    if frame is None:
        raise MissingUpstream(
            f"instruments of {cell}",
            "not in the lake",
            remedy=f"Run: {materialize('instruments', cell)}",
        )
    return frame
