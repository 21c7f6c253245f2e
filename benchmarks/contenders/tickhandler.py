"""This project, by the use cases its assets call.

What it does that no other row does: every check of a raw file (checksum, header, cells per line,
exchange and symbol of every row, nulls, order, day, magnitudes, bounds, repeated ids), digests of
source and result, the atomic publish and the manifest; for bars the total order of trades, the
day's neighbours, status, provenance, versions and conservation. The download is a link to the file.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path

import polars as pl
import pyarrow.compute  # noqa: F401  (pyarrow would load it inside the measured time)
from job import Job

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.catalog import ExchangeCatalog, parse_catalog
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments import build_universe
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import CandleFile, MftFile, RawTickFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candles import build_candles
from tickhandler_dagster.pipeline.mft_features import build_mft_features
from tickhandler_dagster.pipeline.mft_inputs import mft_plan
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, RawTicksResult, ingest_raw_ticks


class LinkedFile:
    """A vendor whose every answer is one local file."""

    def __init__(self, source: Path) -> None:
        self._source = source

    async def fetch(self, file: DatasetFile, folder: Path) -> Path:
        """A link to the file under its own name."""
        local = folder / f"{file.symbol}.csv.gz"
        os.link(self._source, local)
        return local


def ingest(job: Job) -> None:
    """A trades partition from the vendor's file to the manifest."""
    _ingest(job, DataType.TRADES)


def result_ingest(job: Job) -> Path:
    """The ticks in the lake."""
    return _lake(job) / RawTickFile(_cell(job).date, DataType.TRADES, _key(job)).path


def chain(job: Job) -> None:
    """An option chain's partition: one grouped file becomes one file per instrument."""
    _ingest(job, DataType.OPTIONS_CHAIN)


def channels(job: Job) -> None:
    """A partition per channel of a day, for the features."""
    for name, source in job.channels.items():
        _ingest(dataclasses.replace(job, source=source), DataType(name))


def result_channels(job: Job) -> Path:
    """The trades in the lake; the other channels lie beside them."""
    return result_ingest(job)


def prepare_features(job: Job) -> None:
    """A lake that has the raw rows of every channel and no bars."""
    prepare_candles(job)


def features(job: Job) -> None:
    """A partition of bars of all timeframes with all features, from raw rows to manifests."""
    candles(job)


def result_features(job: Job) -> Path:
    """The bars of one minute."""
    return result_candles(job)


def prepare_candles(job: Job) -> None:
    """A lake that has the raw ticks and no bars."""
    for path in job.lake.rglob("*"):
        if path.is_file():
            linked = _lake(job) / path.relative_to(job.lake)
            linked.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, linked)


def candles(job: Job) -> None:
    """A partition of bars of all timeframes, from raw ticks to manifests."""
    catalog = _catalog(job)
    result = build_candles(
        _cell(job),
        lake=Lake(LocalObjectStore(_lake(job))),
        catalog=catalog,
        universe=_universe(job, catalog),
    )
    if result.built != 1:
        raise AssertionError(result)


def result_candles(job: Job) -> Path:
    """The bars of one minute."""
    return _lake(job) / CandleFile(_cell(job).date, Timeframe.M1, _key(job)).path


def prepare_mft(job: Job) -> None:
    """A lake that has the candles and universes, through links, and no features."""
    lake = _lake(job)
    lake.mkdir()
    for folder in job.lake.iterdir():
        if folder.is_dir():
            (lake / folder.name).symlink_to(folder)


def mft(job: Job) -> None:
    """All features of 1m bars, a partition for each day as the asset runs it, in their order."""
    days = sorted(date for date in _candle_days(job.lake) if date <= _cell(job).date)
    plan = mft_plan(Windows(), first_day=days[0], venues=(_cell(job).venue,))
    lake = Lake(LocalObjectStore(_lake(job)))
    for date in days:
        cell = VenueDay(date, _cell(job).venue)
        build_mft_features(cell, lake=lake, plan=plan, timeframes=(Timeframe.M1,))


def result_mft(job: Job) -> Path:
    """The last day's features of the measured instrument."""
    return _lake(job) / MftFile(_cell(job).date, Timeframe.M1, job.symbol).path


def _candle_days(lake: Path) -> list[dt.date]:
    folders = (lake / "processed_candles" / "by_date").iterdir()
    return [dt.date.fromisoformat(folder.name.removeprefix("day-")) for folder in folders]


def _ingest(job: Job, data_type: DataType) -> None:
    catalog = _catalog(job)
    result = ingest_raw_ticks(
        _cell(job),
        data_type,
        lake=Lake(LocalObjectStore(_lake(job))),
        catalog=catalog,
        universe=_universe(job, catalog),
        datasets=LinkedFile(job.source),
        limits=IngestLimits(),
    )
    _check(result)


def _check(result: RawTicksResult) -> None:
    """A benchmark of an ingest that kept rows out or failed would measure something else."""
    states = {row.state for row in result.rows}
    kept_out = sum(row.quarantined_rows for row in result.rows) + result.unexpected_rows
    if not states <= {DataState.PRESENT, DataState.EMPTY} or kept_out:
        raise AssertionError(states, kept_out, result.problem)


def _lake(job: Job) -> Path:
    return job.folder / "lake"


def _cell(job: Job) -> VenueDay:
    return VenueDay(dt.date.fromisoformat(job.date), VenueId(job.venue))


def _catalog(job: Job) -> ExchangeCatalog:
    return parse_catalog(job.catalog.read_bytes())


def _universe(job: Job, catalog: ExchangeCatalog) -> pl.DataFrame:
    frame = build_universe(catalog, None, dt.date.fromisoformat(job.date)).frame
    is_group = job.symbol in set(GroupSymbol)
    return frame if is_group else frame.filter(pl.col("tardis_symbol") == job.symbol)


def _key(job: Job) -> str:
    return str(_universe(job, _catalog(job))["instrument_key"][0])
