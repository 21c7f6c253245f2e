"""The option surfaces of a venue's day: building them, and finding the one of an asset.

What belongs here: the use case from cell to manifest, and which surface a candle carries. What does
not: its steps, which are `surface_inputs.py`, `surface_build.py` and `surface_files.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.options_surface_manifest_table import OptionsSurfaceManifestRow
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId, venues_with
from tickhandler_dagster.pipeline.surface_build import build_surface
from tickhandler_dagster.pipeline.surface_files import (
    is_up_to_date,
    publish_surface,
    read_surface_manifest,
    surface_file,
    write_surface_manifest,
)
from tickhandler_dagster.pipeline.surface_inputs import OptionInput, underlying_days

_QUOTES = ("USD", "USDC", "USDT")
"""Which chain stands for an asset that has several: inverse options are the deepest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionsSurfaceResult:
    """What a build did.

    Attributes:
        cell: The day and venue.
        manifest: The partition's frame of `OPTIONS_SURFACE_MANIFEST_TABLE`.
        missing: Options whose rows should be there and are not.
        options: Options that the vendor lists on the day.
        built: Underlyings built in this run; the others were up to date.
    """

    cell: VenueDay
    manifest: pl.DataFrame
    missing: tuple[OptionInput, ...]
    options: int
    built: int

    @property
    def is_no_op(self) -> bool:
        """Everything was up to date."""
        return self.built == 0


def build_options_surface(
    cell: VenueDay, *, lake: Lake, universe: pl.DataFrame, on_progress: OnProgress | None = None
) -> OptionsSurfaceResult:
    """Build the surface of every underlying of a cell, at all timeframes, and store what changed.

    An underlying whose inputs are those its stored surface was built from is left alone without
    reading a row. A run that is killed leaves whole files and the old manifest; the next run builds
    what it does not vouch for. An underlying none of whose options has rows has no surface.

    Args:
        cell: The UTC day by arrival, and the venue of the chain.
        lake: Where raw rows are read and surfaces are written.
        universe: The venue's instruments on the day, of `INSTRUMENTS_TABLE`.
        on_progress: Called after each underlying.

    Raises:
        MissingUpstream: the raw chain of the day was never ingested.
        CorruptData: raw rows or the manifest cannot be read.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    days = underlying_days(cell, lake=lake, universe=universe)
    stored = read_surface_manifest(lake, cell) or {}
    rows: list[OptionsSurfaceManifestRow] = []
    having = [inputs for inputs in days if any(option.own for option in inputs.options)]
    built = 0
    for done, inputs in enumerate(having, start=1):
        if is_up_to_date(inputs, lake=lake, stored=stored):
            found = stored[inputs.underlying]
        else:
            found = publish_surface(build_surface(inputs, lake), lake)
            built += 1
        rows += found.values()
        _tell(on_progress, cell, rows, done=done, total=len(having))
    return OptionsSurfaceResult(
        cell=cell,
        manifest=write_surface_manifest(lake, cell, rows),
        missing=tuple(option for inputs in days for option in inputs.missing),
        options=sum(len(inputs.options) for inputs in days),
        built=built,
    )


def surface_for(
    lake: Lake, date: dt.date, base_asset: str, venue: VenueId
) -> tuple[Mapping[Timeframe, pl.DataFrame], str, VenueId] | None:
    """The surface that candles of an asset carry: frames by timeframe, digest, venue of the chain.

    The venue's own where it has options on the asset, else that of the other venues in the order of
    the grid: deribit, then okex-options. It reads what is in the lake and asks for nothing.

    Args:
        lake: Where surfaces are.
        date: UTC day.
        base_asset: What the candle's instrument buys and sells.
        venue: The candle's venue.

    Shape: frames of `OPTIONS_SURFACE_TABLE`, one row per bar of the day.
    Nulls: None where no venue has a surface of the asset on the day.

    Raises:
        CorruptData: a manifest or a file that it names cannot be read.
    """
    rows = _chosen(lake, date, base_asset, venue)
    if rows is None:
        return None
    frames = {timeframe: _read(lake, row) for timeframe, row in rows.items()}
    one = rows[Timeframe.S15]
    return frames, one.content_sha256, one.venue


def surface_digest(lake: Lake, date: dt.date, base_asset: str, venue: VenueId) -> str | None:
    """The digest `surface_for` would give, from manifests alone; None where it gives nothing.

    The hash of the 15 s file: every other timeframe is rows of it.

    Raises:
        CorruptData: a manifest cannot be read.
    """
    rows = _chosen(lake, date, base_asset, venue)
    return None if rows is None else rows[Timeframe.S15].content_sha256


def _chosen(
    lake: Lake, date: dt.date, base_asset: str, venue: VenueId
) -> Mapping[Timeframe, OptionsSurfaceManifestRow] | None:
    for candidate in _candidates(venue):
        stored = read_surface_manifest(lake, VenueDay(date, candidate)) or {}
        for underlying in _preferred(base_asset):
            rows = stored.get(underlying)
            if rows is not None and set(rows) == set(Timeframe):
                return rows
    return None


def _candidates(venue: VenueId) -> Iterator[VenueId]:
    having = venues_with(DataType.OPTIONS_CHAIN)
    if venue in having:
        yield venue
    yield from (other for other in having if other is not venue)


def _preferred(base_asset: str) -> Iterator[str]:
    return (f"{base_asset}-{quote}" for quote in _QUOTES)


def _read(lake: Lake, row: OptionsSurfaceManifestRow) -> pl.DataFrame:
    item = surface_file(row)
    frame = lake.read_table(item)
    if frame is None:
        raise CorruptData(
            item.path,
            "the manifest names an object that is not there",
            remedy="Materialize its options_surface partition again",
        )
    return frame


def _tell(
    listener: OnProgress | None,
    cell: VenueDay,
    rows: list[OptionsSurfaceManifestRow],
    *,
    done: int,
    total: int,
) -> None:
    if listener is not None:
        listener(
            Progress(
                f"options_surface {cell}",
                done,
                total,
                "underlyings",
                rows=sum(row.rows for row in rows),
                bytes=sum(row.bytes for row in rows),
            )
        )
