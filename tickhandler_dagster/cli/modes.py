"""The modes that make data: which assets a mode is, in which order, and what has to be there first.

What belongs here: from a selection to runs. What does not: running (`mode_runs.py`), looking for
what is missing (`gaps.py`) and options (`mode_commands.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dagster as dg

from tickhandler_dagster.assets import exchange_catalog, instruments, options_surface
from tickhandler_dagster.assets.candles import candles_key
from tickhandler_dagster.assets.mft_features import mft_key
from tickhandler_dagster.assets.raw_ticks import raw_ticks_key
from tickhandler_dagster.assets.warehouse import GROUP as WAREHOUSE
from tickhandler_dagster.cli.gaps import Span
from tickhandler_dagster.cli.mode_runs import ModeRuns
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.paths import InstrumentsFile, RawManifest
from tickhandler_dagster.market.repair_plan import CellRange, cell_ranges
from tickhandler_dagster.market.restriction import Restriction
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog

_MFT_SETS = "mft_sets"


class Mode(StrEnum):
    """Modes that make data, by the name of their command."""

    INSTRUMENTS = "instruments"
    DOWNLOAD = "download"
    CANDLES = "candle-processing"
    FEATURES = "mft-processing"
    WAREHOUSE = "bigquery-upload"


@dataclass(frozen=True)
class Choice:
    """What a mode is told.

    Attributes:
        span: Days, venues and data types.
        restriction: Which instruments are fetched.
        is_forced: Fetch what is there already.
        max_workers: Files downloaded at a time; 0 for what the settings say.
    """

    span: Span
    restriction: Restriction = field(default_factory=Restriction)
    is_forced: bool = False
    max_workers: int = 0

    @property
    def venues(self) -> tuple[VenueId, ...]:
        """The venues."""
        return self.span.report.venues

    @property
    def days(self) -> list[dt.date]:
        """All days, earliest first."""
        return self.span.report.days

    @property
    def ranges(self) -> tuple[CellRange, ...]:
        """Every venue with its days in a row."""
        return cell_ranges(self.span.cells)

    @property
    def tags(self) -> dict[str, str]:
        """What a run says of its being restricted; nothing where it is not."""
        types = ",".join(sorted(self.restriction.instrument_types))
        number = self.restriction.max_instruments
        return {
            **({"tickhandler/instrument_types": types} if types else {}),
            **({"tickhandler/max_instruments": str(number)} if number else {}),
        }

    def raw_config(self) -> dict[str, Any]:
        """Run config of the raw assets; what the page would be told."""
        return {
            **({"force": True} if self.is_forced else {}),
            **(
                {"instrument_types": sorted(map(str, self.restriction.instrument_types))}
                if self.restriction.instrument_types
                else {}
            ),
            **(
                {"max_instruments": self.restriction.max_instruments}
                if self.restriction.max_instruments
                else {}
            ),
            **({"max_workers": self.max_workers} if self.max_workers else {}),
        }


def make_instruments(runs: ModeRuns, choice: Choice) -> None:
    """Ask the vendor what the venues list, and list the instruments of every day."""
    runs.venues(exchange_catalog.KEY, choice.venues)
    runs.cells([instruments.KEY], choice.ranges)


def download(runs: ModeRuns, choice: Choice) -> None:
    """Fetch what is missing of the ticks, after the listings that are missing for it."""
    _make_listings(runs, choice)
    for part in choice.ranges:
        for keys in raw_groups(runs, part.venue, choice.span.report.data_types):
            runs.cells(keys, [part], choice.raw_config() or None)


def make_candles(runs: ModeRuns, choice: Choice) -> None:
    """Make option surfaces where there are chains, then candles of every timeframe."""
    key = options_surface.KEY
    if key in runs.platform.partitions:
        with_chain = [
            cell
            for cell in choice.span.cells
            if DataType.OPTIONS_CHAIN in VENUES[cell.venue].data_types
            and runs.platform.lake.exists(
                RawManifest(cell.date, DataType.OPTIONS_CHAIN, cell.venue)
            )
        ]
        runs.cells([key], cell_ranges(with_chain))
    runs.cells([candles_key(timeframe) for timeframe in Timeframe], choice.ranges)


def make_features(runs: ModeRuns, choice: Choice) -> None:
    """Make mid-frequency features of every timeframe, then the named sets that are cut from them.

    Venues come one after the other: features read candles of other venues, not their features.
    """
    runs.cells([mft_key(timeframe) for timeframe in MFT_TIMEFRAMES], choice.ranges)
    for key in _of_family(runs, _MFT_SETS):
        runs.cells([key], choice.ranges)


def publish(runs: ModeRuns, choice: Choice) -> None:
    """Publish the days to the warehouse: what is unchanged is not loaded again."""
    keys = _of_family(runs, WAREHOUSE)
    runs.days(keys, choice.days)


STEPS: dict[Mode, Callable[[ModeRuns, Choice], None]] = {
    Mode.INSTRUMENTS: make_instruments,
    Mode.DOWNLOAD: download,
    Mode.CANDLES: make_candles,
    Mode.FEATURES: make_features,
    Mode.WAREHOUSE: publish,
}
"""What every mode does."""


def raw_groups(
    runs: ModeRuns, venue: VenueId, data_types: Sequence[DataType]
) -> Iterator[list[dg.AssetKey]]:
    """The raw assets of a venue that one run can make together: those of one grid."""
    partitions = runs.platform.partitions
    groups: dict[int, list[dg.AssetKey]] = {}
    for data_type in DataType:
        key = raw_ticks_key(data_type)
        if data_type in data_types and data_type in VENUES[venue].data_types and key in partitions:
            groups.setdefault(id(partitions[key]), []).append(key)
    yield from groups.values()


def _make_listings(runs: ModeRuns, choice: Choice) -> None:
    """Catalogues that are missing or end before the last day, and listings that are missing."""
    lake, last = runs.platform.lake, choice.days[-1]

    def is_stale(venue: VenueId) -> bool:
        try:
            return not stored_catalog(lake, venue).is_exported(last)
        except MissingUpstream:
            return True

    runs.venues(exchange_catalog.KEY, [venue for venue in choice.venues if is_stale(venue)])
    absent = [
        cell
        for cell in choice.span.cells
        if not lake.exists(InstrumentsFile(cell.date, cell.venue))
    ]
    runs.cells([instruments.KEY], cell_ranges(absent))


def _of_family(runs: ModeRuns, family: str) -> list[dg.AssetKey]:
    return sorted(key for key in runs.platform.partitions if key.path[0] == family)
