"""Which raw files an instrument's day is built from, channel by channel.

What belongs here: from the manifests of three days to the files of each channel. What does not:
what else a bar depends on (`candle_inputs.py`) and reading (`candle_build.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES

SOURCES: Mapping[Channel, tuple[DataType, ...]] = MappingProxyType(
    {
        Channel.TRADES: (DataType.TRADES,),
        Channel.LEVELS: (DataType.BOOK_SNAPSHOT_25, DataType.BOOK_SNAPSHOT_5),
        # quotes first: both are best prices, but a book_ticker of Binance spot has no exchange time
        Channel.TOP: (DataType.QUOTES, DataType.BOOK_TICKER),
        Channel.TICKER: (DataType.DERIVATIVE_TICKER,),
        Channel.LIQUIDATIONS: (DataType.LIQUIDATIONS,),
    }
)
"""Data types that can serve a channel, the preferred one first."""

BY_ARRIVAL = frozenset({Channel.TICKER})
"""Channels read by arrival: nothing of a day is in the file of the day after."""

Manifest = Mapping[str, ManifestRow]


@dataclass(frozen=True, slots=True)
class ChannelFiles:
    """The raw files of one channel around an instrument's day.

    Attributes:
        data_type: What they are files of.
        state: State of the day's own file.
        previous: The file of the day before; None where there is none.
        own: The file of the day; None where it holds no rows.
        following: The file of the day after; None where there is none, or none is ever read.
        source_sha256: Hash of the vendor's file of the day, also of an empty one.
    """

    data_type: DataType
    state: DataState
    previous: ManifestRow | None
    own: ManifestRow | None
    following: ManifestRow | None
    source_sha256: str | None

    @property
    def files(self) -> list[ManifestRow]:
        """The raw files there are, in the order of arrival."""
        return [row for row in (self.previous, self.own, self.following) if row is not None]

    def rows_of_day(self, row: ManifestRow) -> int:
        """How many rows of one of the files are stamped on the day, by its manifest."""
        if row is self.own:
            return row.rows - row.rows_before_day - row.rows_after_day
        return row.rows_after_day if row is self.previous else row.rows_before_day


class CellManifests:
    """The raw manifests of a cell's day and its neighbours.

    Args:
        lake: Where they are.
        cell: The day and venue.

    Raises:
        CorruptData: a manifest is not readable.
    """

    def __init__(self, lake: Lake, cell: VenueDay) -> None:
        types = VENUES[cell.venue].data_types
        self._by_type = {
            data_type: tuple(_manifest(lake, cell.shifted(days), data_type) for days in (-1, 0, 1))
            for candidates in SOURCES.values()
            for data_type in candidates
            if data_type in types
        }

    def of(self, data_type: DataType) -> tuple[Manifest | None, Manifest | None, Manifest | None]:
        """Of the day before, the day and the day after; None where there is none."""
        before, on_the_day, after = self._by_type.get(data_type, (None, None, None))
        return before, on_the_day, after

    def channel(self, channel: Channel, key: str) -> ChannelFiles | None:
        """The files that serve the channel on the instrument's day; None where none covers it.

        A type with rows goes before one that the vendor says is empty.
        """
        for state in (DataState.PRESENT, DataState.EMPTY):
            for data_type in SOURCES[channel]:
                before, on_the_day, after = self.of(data_type)
                row = None if on_the_day is None else on_the_day.get(key)
                if row is not None and row.state is state:
                    return ChannelFiles(
                        data_type,
                        state,
                        present(before, key),
                        present(on_the_day, key),
                        None if channel in BY_ARRIVAL else present(after, key),
                        row.source_sha256,
                    )
        return None

    def is_settled(self, data_type: DataType, key: str, *, days: int) -> bool:
        """The neighbouring day's file is in or was not expected; `days` is -1 or 1."""
        return is_settled(self.of(data_type)[1 + days], key)


def present(manifest: Manifest | None, key: str) -> ManifestRow | None:
    """The manifest's row of a file with rows; None for none."""
    row = None if manifest is None else manifest.get(key)
    return row if row is not None and row.state is DataState.PRESENT else None


def is_settled(manifest: Manifest | None, key: str) -> bool:
    """The partition is in, and the instrument's part of it is in or was not expected."""
    return manifest is not None and (key not in manifest or manifest[key].state.is_settled)


def _manifest(lake: Lake, cell: VenueDay, data_type: DataType) -> Manifest | None:
    rows = read_raw_manifest(lake, cell, data_type)
    return None if rows is None else {row.instrument_key: row for row in rows}
