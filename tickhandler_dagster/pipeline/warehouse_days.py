"""Which objects of the lake a day of a warehouse table is made of, over all venues.

What belongs here: reading manifests, never a listing, since only a manifest says which objects
belong together and what is in them. What does not: loading them (`adapters/…_warehouse.py`) and
which days are loaded (`warehouse_publish.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from tickhandler_dagster.adapters.parquet import read_footer
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    CompletenessFile,
    InstrumentsFile,
    LakeObject,
    MftFile,
    MftManifest,
    OptionsSurfaceFile,
    OptionsSurfaceManifest,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.warehouse_tables import WarehouseSource, WarehouseTable

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.market.venues import VenueId

_Read: TypeAlias = "Callable[[Lake, WarehouseTable, VenueDay], Iterator[LoadedObject]]"


def table_days(
    lake: Lake, table: WarehouseTable, days: Iterable[dt.date], venues: Iterable[VenueId]
) -> list[TableDay]:
    """The days of a table as the lake has them now, one per day, in the order given.

    A venue whose partition was never materialized has no object in its day. Each object costs half
    a kilobyte of memory, so that a caller with years of days asks for a month at a time.

    Args:
        lake: Where manifests and objects are.
        table: Which table.
        days: Which UTC days.
        venues: Every venue of the grid: rows of a venue that is left out leave the table.

    Raises:
        CorruptData: a manifest cannot be read, or an object that has none.
        StorageDenied: the lake may not be read.
    """
    ordered = sorted(set(venues))
    read = _READERS[table.source]
    return [
        TableDay(
            day,
            tuple(item for venue in ordered for item in read(lake, table, VenueDay(day, venue))),
        )
        for day in days
    ]


def _candles(lake: Lake, table: WarehouseTable, cell: VenueDay) -> Iterator[LoadedObject]:
    timeframe = _timeframe(table)
    manifest = CandleManifest(cell.date, timeframe, cell.venue)
    for row in _rows(lake, manifest, ("instrument_key", "bars")):
        item = CandleFile(cell.date, timeframe, row["instrument_key"])
        yield _loaded(item, cell, rows=row["bars"], row=row)


def _mft_features(lake: Lake, table: WarehouseTable, cell: VenueDay) -> Iterator[LoadedObject]:
    timeframe = _timeframe(table)
    manifest = MftManifest(cell.date, timeframe, cell.venue)
    for row in _rows(lake, manifest, ("instrument_key", "rows")):
        item = MftFile(cell.date, timeframe, row["instrument_key"])
        yield _loaded(item, cell, rows=row["rows"], row=row)


def _options_surface(lake: Lake, _: WarehouseTable, cell: VenueDay) -> Iterator[LoadedObject]:
    manifest = OptionsSurfaceManifest(cell.date, cell.venue)
    for row in _rows(lake, manifest, ("underlying", "timeframe", "rows")):
        item = OptionsSurfaceFile(
            cell.date, Timeframe(row["timeframe"]), cell.venue, row["underlying"]
        )
        yield _loaded(item, cell, rows=row["rows"], row=row)


def _instruments(lake: Lake, _: WarehouseTable, cell: VenueDay) -> Iterator[LoadedObject]:
    return _single(lake, InstrumentsFile(cell.date, cell.venue), cell)


def _completeness(lake: Lake, _: WarehouseTable, cell: VenueDay) -> Iterator[LoadedObject]:
    return _single(lake, CompletenessFile(cell.date, cell.venue), cell)


_READERS: Mapping[WarehouseSource, _Read] = MappingProxyType(
    {
        WarehouseSource.CANDLES: _candles,
        WarehouseSource.MFT_FEATURES: _mft_features,
        WarehouseSource.OPTIONS_SURFACE: _options_surface,
        WarehouseSource.INSTRUMENTS: _instruments,
        WarehouseSource.COMPLETENESS: _completeness,
    }
)


def _timeframe(table: WarehouseTable) -> Timeframe:
    if table.timeframe is None:
        raise ValueError(f"a table of {table.source} has a timeframe, and {table.name} has none")
    return table.timeframe


def _rows(lake: Lake, manifest: LakeObject, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """A manifest's rows, by the columns that every version of the project has written.

    Not through the manifest's own reader, which takes one of another version for no manifest: an
    upgrade would empty the warehouse of what is still in the lake.
    """
    frame = lake.read_table(manifest, columns=(*names, "bytes", "content_sha256"))
    if frame is not None:
        yield from frame.iter_rows(named=True)


def _loaded(item: LakeObject, cell: VenueDay, *, rows: int, row: dict[str, Any]) -> LoadedObject:
    return LoadedObject(item.path, cell.venue, rows, row["bytes"], row["content_sha256"])


def _single(lake: Lake, item: LakeObject, cell: VenueDay) -> Iterator[LoadedObject]:
    """The one object of a cell that has no manifest: its footer and its bytes say what it is."""
    local = lake.local(item)
    if local is not None:
        stored = lake.digest(item)
        yield LoadedObject(
            item.path, cell.venue, read_footer(local).num_rows, stored.bytes, stored.sha256
        )
