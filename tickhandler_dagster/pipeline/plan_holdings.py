"""What a lake holds of a span, and what the days it knows say of sizes: manifests in, numbers out.

What belongs here: listing and reading manifests, a bounded number at a time. What does not: what
follows for a plan (`plan.py`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.costs.bar_sizes import (
    CANDLES,
    KNOWN_CELLS,
    MFT_FEATURES,
    BarSizes,
)
from tickhandler_dagster.market.costs.file_sizes import KNOWN_FILES, SIZES, FileSizes
from tickhandler_dagster.market.costs.plan import Selection
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.paths import (
    CandleManifest,
    InstrumentsFile,
    LakeObject,
    MftManifest,
    RawManifest,
    parse_path,
)
from tickhandler_dagster.market.planning import OPTION
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness_reading import read_all

KNOWN_DAYS = 28
"""So many of the latest known days speak for a venue and type: four of each weekday."""

_LISTINGS = 16
"""Listings at the same time: a bucket takes tens of milliseconds for each."""

_TOGETHER = 200
"""Manifests read at the same time: a few hundred thousand rows at most."""

_OPTIONS = (
    pl.col("instrument_key")
    .str.contains(f":{OPTION}:", literal=True)
    .sum()
    .alias("options")
    .cast(pl.Int64)
)

_Manifest: TypeAlias = RawManifest | CandleManifest | MftManifest
_Key: TypeAlias = tuple[str, VenueDay]


@dataclass(frozen=True, slots=True)
class Holding:
    """What the lake has of a partition, by its manifest.

    Attributes:
        files: Vendor files that are settled.
        instruments: Instruments in it.
        options: Options among them.
        rows: Rows in the lake.
        bytes: Bytes in the lake.
        is_settled: Asking the vendor again would bring nothing new.
    """

    files: int
    instruments: int
    options: int
    rows: int
    bytes: int
    is_settled: bool = True


@dataclass(frozen=True)
class Holdings:
    """What a lake has of a span and knows of sizes.

    Attributes:
        cells: What is there, by asset and cell.
        universes: Cells of the span with a stored universe.
        files: Sizes of vendor files.
        bars: Sizes of partitions of bars.
        known_days: Number of days the sizes are from.
    """

    cells: Mapping[_Key, Holding]
    universes: frozenset[VenueDay]
    files: FileSizes
    bars: BarSizes
    known_days: int

    def of(self, asset: str, cell: VenueDay) -> Holding | None:
        """What is there of a partition; None where it has no manifest."""
        return self.cells.get((asset, cell))


def read_holdings(lake: Lake, selection: Selection) -> Holdings:
    """Look at a span and the four weeks before it.

    Objects behind a manifest are not looked for: a run does that, and fetches again what is lost.

    Raises:
        CorruptData: a manifest cannot be read.
    """
    first = selection.start - dt.timedelta(days=KNOWN_DAYS)
    days = [first + dt.timedelta(days=n) for n in range((selection.end - first).days + 1)]
    listed = _listed(lake, selection, days)
    universes = [item for item in listed if isinstance(item, InstrumentsFile)]
    manifests = [
        item for item in listed if isinstance(item, RawManifest | CandleManifest | MftManifest)
    ]
    inside = [item for item in manifests if item.date >= selection.start]
    latest = _latest(manifests)
    raw = [item for item in latest if isinstance(item, RawManifest)]
    bars = [item for item in latest if not isinstance(item, RawManifest)]
    cells = dict(_holdings(lake, inside))
    known = pl.concat([pl.DataFrame(schema=dict(KNOWN_CELLS)), *_known_cells(lake, bars)])
    return Holdings(
        cells=cells,
        universes=frozenset(
            VenueDay(item.date, item.venue) for item in universes if item.date >= selection.start
        ),
        files=FileSizes(
            pl.concat([pl.DataFrame(schema=dict(KNOWN_FILES)), *_known_files(lake, raw)])
        ),
        bars=BarSizes(known),
        known_days=len({item.date for item in raw}),
    )


def asset_of(item: _Manifest) -> str:
    """The asset that a manifest belongs to.

    Example:
        >>> asset_of(CandleManifest(dt.date(2024, 8, 8), Timeframe.M1, VenueId.UPBIT))
        'candles/1m'
    """
    if isinstance(item, RawManifest):
        return f"raw_ticks/{item.data_type}"
    family = CANDLES if isinstance(item, CandleManifest) else MFT_FEATURES
    return f"{family}/{item.timeframe}"


def _listed(lake: Lake, selection: Selection, days: Sequence[dt.date]) -> list[LakeObject]:
    """Every manifest and universe of the days and venues, by listings of their folders alone."""
    venue = selection.venues[0]
    prefixes = [
        item.path.rpartition("/")[0] + "/"
        for day in days
        for item in (
            *(RawManifest(day, one, venue) for one in DataType),
            *(CandleManifest(day, one, venue) for one in Timeframe),
            *(MftManifest(day, one, venue) for one in MFT_TIMEFRAMES),
        )
    ]
    # The folder of a day's universes, one above the venue's.
    prefixes += [
        InstrumentsFile(day, venue).path.rpartition("/")[0].rpartition("/")[0] + "/" for day in days
    ]
    with ThreadPoolExecutor(_LISTINGS) as pool:
        paths = [
            path
            for found in pool.map(lambda one: [*lake.store.list(one)], prefixes)
            for path in found
        ]
    venues = set(selection.venues)
    items = [parse_path(path) for path in paths]
    return [item for item in items if getattr(item, "venue", None) in venues]


def _latest(manifests: Iterable[_Manifest]) -> list[_Manifest]:
    """Of every venue and asset the latest known days."""
    by_asset: dict[tuple[str, VenueId], list[_Manifest]] = defaultdict(list)
    for item in sorted(manifests, key=lambda item: item.date):
        by_asset[asset_of(item), item.venue].append(item)
    return [item for items in by_asset.values() for item in items[-KNOWN_DAYS:]]


def _holdings(lake: Lake, manifests: Sequence[_Manifest]) -> Iterator[tuple[_Key, Holding]]:
    settled = [str(state) for state in DataState if state.is_settled]
    raw = [item for item in manifests if isinstance(item, RawManifest)]
    names = (
        *("date", "venue", "data_type", "instrument_key", "source_symbol", "state"),
        *("rows", "bytes"),
    )
    for frame in _batches(lake, raw, names):
        is_settled = pl.col("state").is_in(settled)
        sums = frame.group_by("data_type", "date", "venue").agg(
            pl.col("source_symbol").filter(is_settled).n_unique(),
            pl.len(),
            _OPTIONS,
            pl.col("rows", "bytes").sum(),
            is_settled.all().alias("is_settled"),
        )
        for data_type, day, venue, *numbers in sums.iter_rows():
            yield (f"raw_ticks/{data_type}", VenueDay(day, VenueId(venue))), Holding(*numbers)
    bars = [item for item in manifests if not isinstance(item, RawManifest)]
    seen = set()
    for frame in _known_cells(lake, bars):
        for day, venue, asset, *numbers in frame.iter_rows():
            key = (asset, VenueDay(day, VenueId(venue)))
            seen.add(key)
            yield key, Holding(0, *numbers)
    for item in bars:  # a manifest without a row is a partition all the same
        key = (asset_of(item), VenueDay(item.date, item.venue))
        if key not in seen:
            yield key, Holding(0, 0, 0, 0, 0)


def _known_files(lake: Lake, manifests: Sequence[RawManifest]) -> Iterator[pl.DataFrame]:
    """The vendor's files of these manifests as `KNOWN_FILES`."""
    names = (
        *("date", "venue", "data_type", "source_symbol", "instrument_key", "state"),
        *("source_bytes", "rows", "bytes"),
    )
    came = [str(DataState.PRESENT), str(DataState.EMPTY)]
    groups = [str(group) for group in GroupSymbol]
    kind = (
        pl.when(pl.col("source_symbol").is_in(groups))
        .then(pl.col("source_symbol"))
        .otherwise(pl.col("instrument_key").str.split(":").list.get(1, null_on_oob=True))
    )
    for frame in _batches(lake, manifests, names):
        yield (
            frame.filter(pl.col("state").is_in(came))
            .with_columns(kind.alias("kind"))
            .group_by("date", "venue", "data_type", "source_symbol")
            .agg(
                pl.col("kind").first(),
                pl.col("source_bytes").max(),
                pl.col("rows", "bytes").sum(),
                (pl.col("state") == str(DataState.PRESENT)).sum().alias("objects"),
            )
            .with_columns(pl.col(SIZES).cast(pl.Float64))
            .select(*KNOWN_FILES)
        )


def _known_cells(
    lake: Lake, manifests: Sequence[CandleManifest | MftManifest]
) -> Iterator[pl.DataFrame]:
    """The partitions of bars of these manifests as `KNOWN_CELLS`."""
    for family, kind, rows in (
        (CANDLES, CandleManifest, "bars"),
        (MFT_FEATURES, MftManifest, "rows"),
    ):
        items = [item for item in manifests if isinstance(item, kind)]
        names = ("date", "venue", "timeframe", "instrument_key", rows, "bytes")
        for frame in _batches(lake, items, names):
            yield (
                frame.group_by("date", "venue", "timeframe")
                .agg(
                    pl.len().cast(pl.Int64).alias("instruments"),
                    _OPTIONS,
                    pl.col(rows).sum().alias("rows"),
                    pl.col("bytes").sum(),
                )
                .with_columns(pl.format(f"{family}/{{}}", "timeframe").alias("asset"))
                .select(*KNOWN_CELLS)
            )


def _batches(
    lake: Lake, items: Sequence[LakeObject], names: Sequence[str]
) -> Iterator[pl.DataFrame]:
    for start in range(0, len(items), _TOGETHER):
        yield read_all(lake, items[start : start + _TOGETHER], names)
