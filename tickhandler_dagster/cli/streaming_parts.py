"""The parts of a live session by settings and request: instruments, feed, targets, reports.

What belongs here: building each. What does not: running them together (`streaming_session.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.spool_lines import DeadLetterBox
from tickhandler_dagster.cli.streaming_request import StreamingRequest, Target
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput, InvalidSetting
from tickhandler_dagster.market.live.live_tables import live_candle_table, live_tick_table
from tickhandler_dagster.market.live.symbol_choice import chosen_keys
from tickhandler_dagster.market.paths import RawManifest, parse_path
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.live_universe import newest_universes
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.settings import Settings
from tickhandler_dagster.streaming.feeds import Feed
from tickhandler_dagster.streaming.instruments import LiveInstrument, live_instruments
from tickhandler_dagster.streaming.ports import BarSink
from tickhandler_dagster.streaming.replay import ReplayFeed, ReplayOptions
from tickhandler_dagster.streaming.replay_sources import (
    ReplaySource,
    lake_days,
    recorded_spool,
    tardis_folder,
)
from tickhandler_dagster.streaming.sinks.ndjson import NdjsonBarSink, NdjsonTickTarget
from tickhandler_dagster.streaming.sinks.parquet_bars import ParquetBarSink
from tickhandler_dagster.streaming.sinks.tick_target import LakeTickTarget, TickTarget

if TYPE_CHECKING:
    from tickhandler_dagster.adapters.bigquery_storage_write import StorageWriter

RAW_FOLDER = "raw_tick_data"
_BYTES_PER_GB = 10**9


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose data a session is about.

    Attributes:
        instruments: The instruments.
        universes: Rows of `INSTRUMENTS_TABLE` by venue.
    """

    instruments: tuple[LiveInstrument, ...]
    universes: Mapping[VenueId, pl.DataFrame]

    @property
    def venues(self) -> list[VenueId]:
        """Their venues."""
        return sorted({one.venue for one in self.instruments})

    def symbols(self, venue: VenueId) -> list[str]:
        """The feed's symbols of a venue's instruments."""
        return sorted(one.symbol for one in self.instruments if one.venue is venue)

    def keys(self, venue: VenueId) -> dict[str, str]:
        """Instrument keys of a venue by the feed's symbol."""
        return {one.symbol: one.key for one in self.instruments if one.venue is venue}


def choose(request: StreamingRequest, settings: Settings) -> Chosen:
    """The instruments that were asked for, from the newest universes.

    Raises:
        MissingUpstream: no universe of the venues is in the lake.
        InvalidInput: a symbol names nothing, or several instruments.
    """
    lake = _replayed_lake(request) or build_lake(settings)
    venues = request.venues or settings.download_venues
    universes = {venue: frame for venue, (_, frame) in newest_universes(lake, venues).items()}
    keys = chosen_keys(universes, request.symbols, is_each_venue=bool(request.venues))
    instruments = [
        one
        for venue, some in keys.items()
        for one in live_instruments(universes[venue], venue, request.data_types, keys=some)
    ]
    if not instruments:
        raise InvalidInput(
            "--symbol " + ",".join(request.symbols),
            "no instrument of these has trades among the data types",
            was=", ".join(request.data_types),
            remedy="Name trades in --data-types, or choose other instruments",
        )
    return Chosen(tuple(instruments), universes)


def build_feed(
    request: StreamingRequest,
    settings: Settings,
    chosen: Chosen,
    root: Path,
    *,
    dead_letters: DeadLetterBox,
) -> Feed:
    """What fills the spool: the venues' feeds, or a replay, whose bad lines go to a box.

    Raises:
        MissingUpstream: there is nothing to play.
        InvalidInput: the folder to play does not exist, or options contradict each other.
    """
    limit = int(settings.streaming_spool_limit_gb * _BYTES_PER_GB)
    if request.replay is not None:
        options = ReplayOptions(speed=request.speed, to_now=request.to_now, max_bytes=limit)
        source = _source(request, request.replay, chosen, dead_letters)
        return ReplayFeed(source, root, options=options)
    from tickhandler_dagster.cli.streaming_feed import (  # noqa: PLC0415  (for live feeds alone)
        live_feed,
    )

    return live_feed(settings, chosen, request.data_types, root, max_bytes=limit)


def _source(
    request: StreamingRequest, folder: Path, chosen: Chosen, dead_letters: DeadLetterBox
) -> ReplaySource:
    if not folder.is_dir():
        raise InvalidInput(
            f"--replay {folder}",
            "no such folder",
            expected="a lake, a recorded spool, or a folder {exchange}/{type}/YYYY/MM/DD",
            remedy="Correct the path",
        )
    symbols = {one.symbol for one in chosen.instruments}
    lake = _replayed_lake(request)
    if lake is not None:
        return lake_days(lake, _cells(lake, chosen), request.data_types, symbols=symbols)
    if next(folder.rglob("*.csv.gz"), None) is not None:
        return tardis_folder(
            folder, venues=chosen.venues, data_types=request.data_types, symbols=symbols
        )
    return recorded_spool(folder, dead_letters=dead_letters)


def _replayed_lake(request: StreamingRequest) -> Lake | None:
    if request.replay is None or not (request.replay / RAW_FOLDER).is_dir():
        return None
    return Lake(LocalObjectStore(request.replay.absolute()))


def _cells(lake: Lake, chosen: Chosen) -> Sequence[VenueDay]:
    """The days of which the lake has raw ticks of the venues, in order."""
    found = {
        VenueDay(item.date, item.venue)
        for path in lake.store.list(f"{RAW_FOLDER}/by_date/")
        if isinstance(item := parse_path(path), RawManifest) and item.venue in chosen.venues
    }
    return sorted(found, key=str)


def bar_sink(request: StreamingRequest, settings: Settings, lake: Lake) -> BarSink:
    """Where bars go.

    Raises:
        InvalidSetting: BigQuery has no project or no usable credentials.
    """
    if request.to is Target.NDJSON:
        return NdjsonBarSink(sys.stdout)
    if request.to is Target.PARQUET:
        return ParquetBarSink(lake)
    from tickhandler_dagster.streaming.sinks.bigquery_bars import (  # noqa: PLC0415  (slow import)
        BigQueryBarSink,
    )

    tables = [live_candle_table(timeframe) for timeframe in request.timeframes]
    return BigQueryBarSink(_writers(settings, tables)(), lake)


def tick_target(
    request: StreamingRequest, settings: Settings, lake: Lake
) -> Callable[[], TickTarget]:
    """Makes the target of one folder of the spool.

    Raises:
        InvalidSetting: BigQuery has no project or no usable credentials.
    """
    if request.to is Target.NDJSON:
        return lambda: NdjsonTickTarget(sys.stdout)
    if request.to is Target.PARQUET:
        return lambda: LakeTickTarget(lake)
    from tickhandler_dagster.streaming.sinks.bigquery_ticks import (  # noqa: PLC0415  (slow import)
        BigQueryTickTarget,
    )

    writers = _writers(settings, [live_tick_table(one) for one in request.data_types])
    return lambda: BigQueryTickTarget(writers(), lake)


def _writers(settings: Settings, tables: Sequence[object]) -> Callable[[], StorageWriter]:
    """Makes writers to the live dataset, whose tables are there then."""
    from tickhandler_dagster.adapters.bigquery_live_tables import (  # noqa: PLC0415  (slow import)
        BigQueryLiveTables,
    )
    from tickhandler_dagster.adapters.bigquery_storage_write import (  # noqa: PLC0415  (slow import)
        StorageWriter,
    )
    from tickhandler_dagster.adapters.gcp_credentials import (  # noqa: PLC0415  (slow import)
        load_credentials,
    )

    endpoint, write_endpoint = settings.bigquery_endpoint, settings.streaming_bigquery_endpoint
    credentials = load_credentials(settings.gcp_credentials_path, is_emulated=endpoint is not None)
    project = settings.gcp_project_id or credentials.project
    if project is None:
        raise InvalidSetting(
            "GCP_PROJECT_ID",
            "not set, and the credentials name no project",
            remedy="Set it to the project that holds the live tables",
        )
    dataset = settings.streaming_bigquery_dataset
    live = BigQueryLiveTables(
        credentials,
        project=project,
        dataset=dataset,
        location=settings.bigquery_location,
        endpoint=None if endpoint is None else str(endpoint).rstrip("/"),
    )
    for table in tables:
        live.ensure(table)  # type: ignore[arg-type]
    return lambda: StorageWriter(
        credentials,
        project=project,
        dataset=dataset,
        endpoint=None if write_endpoint is None else str(write_endpoint).rstrip("/"),
    )


def kept_types(data_types: Sequence[DataType], chosen: Chosen, venue: VenueId) -> list[DataType]:
    """Data types that a venue's chosen instruments have among those asked for."""
    offered = {
        DataType(name)
        for one in chosen.instruments
        if one.venue is venue
        for name in one.row["data_types"]
    }
    return [one for one in data_types if one in offered]
