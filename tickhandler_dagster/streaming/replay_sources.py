"""What can be played back: the vendor's files, the lake's files, a recorded spool.

What belongs here: finding files and giving their rows in order of arrival, block by block. What
does not: merging (`replay_merge.py`) and pacing (`replay.py`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.adapters.row_groups import TickFile as StoredTicks
from tickhandler_dagster.adapters.spool import SPOOL_START
from tickhandler_dagster.adapters.spool_lines import DeadLetterBox
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.tick_files import TickFile as VendorFile
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.live.feed_events import FeedEvent
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RawTickFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv
from tickhandler_dagster.market.venues import VenueId

_DATASET = re.compile(
    r"(?P<venue>[^/]+)/(?P<type>[^/]+)/(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/"
    r"(?P<symbol>[^/]+)\.csv\.gz"
)
_BLOCK_BYTES = 1024 * 1024

FrameReader = Callable[[int], Iterator[pl.DataFrame]]
"""Gives the frames that can hold rows which arrived at or after a moment."""


@dataclass(frozen=True, slots=True)
class ReplayStream:
    """Rows in order of arrival.

    Attributes:
        venue: Whose.
        data_type: Of which type.
        read: The rows as `SpoolReader.tail` has them, from a moment of arrival on; some that
            arrived before may come too.
        symbol: The one symbol it holds; None where it may hold several.
    """

    venue: VenueId
    data_type: DataType
    read: FrameReader
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """What is played together.

    Attributes:
        name: Its name in errors.
        streams: Every venue, data type and symbol it has, in an order that is always the same.
        events: What was recorded beside the rows, by venue; empty where nothing was.
    """

    name: str
    streams: Sequence[ReplayStream]
    events: Sequence[FeedEvent] = ()


def tardis_folder(
    folder: Path,
    *,
    venues: Collection[VenueId] | None = None,
    data_types: Collection[DataType] | None = None,
    symbols: Collection[str] | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> ReplaySource:
    """The vendor's daily files, in folders `exchange/type/YYYY/MM/DD/SYMBOL.csv.gz`.

    Args:
        folder: Where they are.
        venues: Which to play; all where None. So with the types and the symbols.
        data_types: Which to play.
        symbols: Names of files to play.
        block_bytes: Uncompressed bytes of a file held at once.

    Raises:
        MissingUpstream: there is none of them.
    """
    files: dict[tuple[VenueId, DataType, str], list[Path]] = {}
    for path in sorted(folder.rglob("*.csv.gz")):
        match = _DATASET.fullmatch(path.relative_to(folder).as_posix())
        if match is None or match["venue"] not in set(VenueId):
            continue
        if match["type"] not in set(DataType):
            continue
        venue, data_type, symbol = VenueId(match["venue"]), DataType(match["type"]), match["symbol"]
        is_wanted = (
            (venues is None or venue in venues)
            and (data_types is None or data_type in data_types)
            and (symbols is None or symbol in symbols)
        )
        if is_wanted:
            files.setdefault((venue, data_type, symbol), []).append(path)
    streams = [
        ReplayStream(venue, data_type, _vendor_reader(venue, data_type, paths, block_bytes))
        for (venue, data_type, _), paths in sorted(files.items())
    ]
    return _some(ReplaySource(f"folder {folder}", streams))


def lake_days(
    lake: Lake,
    cells: Sequence[VenueDay],
    data_types: Sequence[DataType],
    *,
    symbols: Collection[str] | None = None,
) -> ReplaySource:
    """Raw ticks of the lake.

    Args:
        lake: Where they are.
        cells: Days and venues to play; the days of a venue in order.
        data_types: Types to play; one that a cell does not have is left out.
        symbols: The vendor's symbols to play; all where None.

    Raises:
        MissingUpstream: there is none of them.
    """
    rows: dict[tuple[VenueId, DataType, str], list[ManifestRow]] = {}
    for cell in cells:
        for data_type in data_types:
            for row in read_raw_manifest(lake, cell, data_type) or ():
                is_wanted = symbols is None or row.tardis_symbol in symbols
                if is_wanted and row.rows:
                    key = (cell.venue, data_type, row.tardis_symbol)
                    rows.setdefault(key, []).append(row)
    streams = [
        ReplayStream(venue, data_type, _lake_reader(lake, found), symbol)
        for (venue, data_type, symbol), found in sorted(rows.items())
    ]
    return _some(ReplaySource("the lake", streams))


def recorded_spool(
    folder: Path,
    *,
    start_us: int | None = None,
    end_us: int | None = None,
    dead_letters: DeadLetterBox | None = None,
) -> ReplaySource:
    """A spool that was recorded, with its events.

    Args:
        folder: The spool; not the one that is played into.
        start_us: First arrival to play; the first there is where None.
        end_us: First arrival not to play; all to the end where None.
        dead_letters: Takes the lines that are no rows.

    Raises:
        MissingUpstream: it has no rows.
    """
    reader = SpoolReader(folder, dead_letters=dead_letters)
    streams = [
        ReplayStream(venue, data_type, _spool_reader(reader, venue, data_type, (start_us, end_us)))
        for venue in reader.venues()
        for data_type in reader.data_types(venue)
    ]
    events = [
        event
        for venue in reader.venues()
        for event in _events(reader, venue)
        if (start_us is None or event.at_us >= start_us)
        and (end_us is None or event.at_us < end_us)
    ]
    return _some(ReplaySource(f"spool {folder}", streams, events))


def _vendor_reader(
    venue: VenueId, data_type: DataType, paths: Sequence[Path], block_bytes: int
) -> FrameReader:
    def read(start_us: int) -> Iterator[pl.DataFrame]:
        for path in paths:
            year, month, day = (int(part) for part in path.parts[-4:-1])
            if day_span_us(dt.date(year, month, day))[1] <= start_us:
                continue
            file = VendorFile(path, subject=f"{path}", block_bytes=block_bytes)
            grammar = TickCsv(
                table=RAW_TABLES[data_type], venue=venue, symbol=None, subject=file.subject
            )
            is_first = True
            for block in file.blocks():
                rows = block
                if is_first:
                    header, _, rows = block.partition(b"\n")
                    grammar.check_header(header)
                    is_first = False
                if rows:
                    yield grammar.parse(rows)

    return read


def _lake_reader(lake: Lake, rows: Sequence[ManifestRow]) -> FrameReader:
    def read(start_us: int) -> Iterator[pl.DataFrame]:
        for row in rows:
            item = RawTickFile(row.date, row.data_type, row.instrument_key)
            path = lake.local(item)
            if path is None:
                raise MissingUpstream(
                    item.path,
                    "the manifest names it and it is not there",
                    remedy="Materialize its raw_ticks partition again with force",
                )
            file = StoredTicks(path, RAW_TABLES[row.data_type].stored.names)
            for group in file.groups:
                if group.arrivals.end > start_us:
                    yield _as_stored(file.read(group), row)

    return read


def _as_stored(frame: pl.DataFrame, row: ManifestRow) -> pl.DataFrame:
    schema = RAW_TABLES[row.data_type].stored.polars_schema
    return frame.cast(pl.Schema(schema)).select(
        pl.lit(row.tardis_symbol).alias("symbol"), *schema.names()
    )


def _spool_reader(
    reader: SpoolReader,
    venue: VenueId,
    data_type: DataType,
    span: tuple[int | None, int | None],
) -> FrameReader:
    first_us, end_us = span

    def read(start_us: int) -> Iterator[pl.DataFrame]:
        begin_us = start_us if first_us is None else max(start_us, first_us)
        return reader.rows_between(
            venue, data_type, begin_us, _NEVER_US if end_us is None else end_us
        )

    return read


def _events(reader: SpoolReader, venue: VenueId) -> Iterator[FeedEvent]:
    position = SPOOL_START
    while True:
        events, after = reader.events(venue, position)
        if after == position:
            return
        yield from events
        position = after


_NEVER_US = 2**62


def _some(source: ReplaySource) -> ReplaySource:
    if not source.streams:
        raise MissingUpstream(
            source.name,
            "nothing to play",
            expected="ticks of the venues, types and symbols asked for",
            remedy="Check the folder, or ask for others",
        )
    return source
