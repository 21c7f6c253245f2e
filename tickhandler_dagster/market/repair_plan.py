"""From broken raw partitions to everything that has to be made again, in order.

What belongs here: which cells of which asset a changed raw partition changes. What does not: which
raw partitions are broken (`repair.py`), what the lake holds (`pipeline/repair.py`).

Cells are bits of a grid of venues x days: a look-back of 260 days over six years and fourteen
venues is a few hundred shifts of such a grid, and a set of cells would be a hundred million pairs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.halo import Halo
from tickhandler_dagster.market.repair import BrokenPartition
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

Mask: TypeAlias = NDArray[np.bool_]
"""A bit for each venue (rows) and day (columns) of a grid."""

NEIGHBOURS = (-1, 0, 1)
"""Days whose bars read a raw file: its own and, near midnight, both beside it."""

SURFACE_DAYS = (0, 1)
"""Days whose option surface reads a chain: its own, and the next for the chain's last rows."""

READS_WHAT_CHANGED = "reads what changed"
INSTRUMENTS, SURFACE, COMPLETENESS = "instruments", "options_surface", "completeness"
BAR_AUDIT = "bar_audit"


class Stage(IntEnum):
    """What has to be over before the next begins, because no edge of the graph says so.

    A bar reads the ticks of the day after its own, and features read the bars of earlier days and
    other venues: edges for these would make every backfill ask for days that nobody chose.
    """

    TICKS = 0
    CANDLES = 1
    FEATURES = 2
    RECORD = 3


@dataclass(frozen=True, slots=True)
class CellRange:
    """Days of a venue in a row, both ends included."""

    venue: VenueId
    first: dt.date
    last: dt.date

    @property
    def days(self) -> int:
        """Number of days."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first}|{self.venue}...{self.last}|{self.venue}"


@dataclass(frozen=True, slots=True)
class PlannedAsset:
    """An asset's cells to run.

    Attributes:
        asset: The asset's name, its key's parts joined by `/`.
        stage: When.
        cells: Which, ordered.
        why: Number of files by state, or of cells by reason.
    """

    asset: str
    stage: Stage
    cells: tuple[VenueDay, ...]
    why: Mapping[str, int] = field(hash=False)

    @property
    def ranges(self) -> tuple[CellRange, ...]:
        """The same cells as days in a row, venue by venue."""
        return cell_ranges(self.cells)


@dataclass(frozen=True)
class RepairPlan:
    """Everything a repair runs, in order.

    Attributes:
        items: Assets with at least one cell; what an asset reads comes before it.
    """

    items: tuple[PlannedAsset, ...] = ()

    @property
    def is_empty(self) -> bool:
        """There is nothing to do."""
        return not self.items

    @cached_property
    def by_asset(self) -> Mapping[str, PlannedAsset]:
        """The items by name."""
        return MappingProxyType({item.asset: item for item in self.items})

    def of(self, stage: Stage) -> tuple[PlannedAsset, ...]:
        """The items of a stage."""
        return tuple(item for item in self.items if item.stage is stage)


@dataclass(frozen=True, kw_only=True)
class LakeLayout:
    """The grid, what reads what, and what the lake holds of it.

    Attributes:
        venues: Venues of the grid, in its order.
        first_day: First day of the grid.
        last_day: Last day of the grid.
        candle_types: Raw types that candles read.
        downloads: Raw types that are fetched, by venue.
        halos: Days that features of a timeframe read.
        sets: Timeframes of each named set of features.
        made: Cells that were made, by asset; an asset without any was never used. None takes every
            cell as made: what a repair could touch at most.
    """

    venues: tuple[VenueId, ...]
    first_day: dt.date
    last_day: dt.date
    candle_types: frozenset[DataType]
    downloads: Mapping[VenueId, tuple[DataType, ...]]
    halos: Mapping[Timeframe, Halo]
    sets: Mapping[str, tuple[Timeframe, ...]] = field(default_factory=dict)
    made: Mapping[str, Iterable[VenueDay]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of venues and of days."""
        return len(self.venues), max((self.last_day - self.first_day).days + 1, 0)

    @cached_property
    def derived(self) -> tuple[str, ...]:
        """Every asset that is made from raw ticks, in the order of making."""
        return (
            SURFACE,
            *(f"candles/{timeframe}" for timeframe in Timeframe),
            *(f"bars/{kind}" for kind in BarKind),
            *(f"mft_features/{timeframe}" for timeframe in self.halos),
            *(f"mft_sets/{name}" for name in self.sets),
            BAR_AUDIT,
        )

    def mask(self, cells: Iterable[VenueDay]) -> Mask:
        """The cells as bits; cells outside the grid are left out."""
        bits = np.zeros(self.shape, dtype=np.bool_)
        rows = {venue: row for row, venue in enumerate(self.venues)}
        for cell in cells:
            column = (cell.date - self.first_day).days
            if cell.venue in rows and 0 <= column < self.shape[1]:
                bits[rows[cell.venue], column] = True
        return bits

    def made_mask(self, asset: str) -> Mask:
        """The asset's cells that were made."""
        if self.made is None:
            return np.ones(self.shape, dtype=np.bool_)
        return self.mask(self.made.get(asset, ()))

    def cells(self, mask: Mask) -> tuple[VenueDay, ...]:
        """The bits as cells, ordered."""
        found = (
            VenueDay(self.first_day + dt.timedelta(days=int(column)), self.venues[int(row)])
            for row, column in zip(*np.nonzero(mask), strict=True)
        )
        return tuple(sorted(found))


def spread(mask: Mask, offsets: Iterable[int]) -> Mask:
    """Every bit at these numbers of days from where it is; what leaves the grid is gone.

    Example:
        >>> spread(np.array([[False, True, False, False]]), (0, 2)).tolist()
        [[False, True, False, True]]
    """
    result = np.zeros_like(mask)
    days = mask.shape[1]
    for offset in offsets:
        if abs(offset) < days:
            source = mask[:, max(-offset, 0) : days - max(offset, 0)]
            result[:, max(offset, 0) : days + min(offset, 0)] |= source
    return result


def cell_ranges(cells: Iterable[VenueDay]) -> tuple[CellRange, ...]:
    """The cells as ranges of days in a row, ordered by venue name and day.

    Example:
        >>> days = [VenueDay.parse(f"2024-08-{day}|upbit") for day in ("08", "09", "11")]
        >>> [item.days for item in cell_ranges(days)]
        [2, 1]
    """
    ordered = sorted(set(cells), key=lambda cell: (cell.venue.value, cell.date))
    numbered = enumerate(ordered)
    runs = groupby(numbered, key=lambda pair: (pair[1].venue, pair[1].date.toordinal() - pair[0]))
    found = []
    for (venue, _), members in runs:
        dates = [cell.date for _, cell in members]
        found.append(CellRange(venue, dates[0], dates[-1]))
    return tuple(found)


def plan_repair(
    broken: Sequence[BrokenPartition],
    layout: LakeLayout,
    *,
    without_universe: Iterable[VenueDay] = (),
) -> RepairPlan:
    """What has to run so that the lake is as if the broken partitions had come in at once.

    Cells downstream of them that were made are made again. On the broken days themselves they are
    made also where they never were, if the venue has the asset on any other day: a repair restores
    what is kept, and begins nothing.

    Args:
        broken: Raw partitions to ask for again; those outside the grid are left out.
        layout: The grid and the lake.
        without_universe: Days whose instruments were never listed.
    """
    raw = {
        data_type: layout.mask(item.cell for item in broken if item.data_type is data_type)
        for data_type in DataType
    }
    selected = _any(raw.values(), layout)
    items = [
        *_listing(selected & layout.mask(without_universe), layout),
        *_raw_items(raw, broken, layout),
        *_derived_items(raw, selected, layout),
        PlannedAsset(
            COMPLETENESS,
            Stage.RECORD,
            layout.cells(selected),
            MappingProxyType({"asked again": int(selected.sum())}),
        ),
    ]
    return RepairPlan(tuple(item for item in items if item.cells))


def _listing(mask: Mask, layout: LakeLayout) -> list[PlannedAsset]:
    why = MappingProxyType({"never listed": int(mask.sum())})
    return [PlannedAsset(INSTRUMENTS, Stage.TICKS, layout.cells(mask), why)]


def _raw_items(
    raw: Mapping[DataType, Mask], broken: Sequence[BrokenPartition], layout: LakeLayout
) -> list[PlannedAsset]:
    items = []
    for data_type, mask in raw.items():
        cells = layout.cells(mask)
        inside = set(cells)
        counts = dict.fromkeys(DataState, 0)
        seen = set()
        for item in broken:
            if item.data_type is data_type and item.cell in inside:
                for state, files in item.files.items():
                    counts[state] += files
                    seen.add(state)
        why = MappingProxyType({str(state): counts[state] for state in DataState if state in seen})
        items.append(PlannedAsset(f"raw_ticks/{data_type}", Stage.TICKS, cells, why))
    return items


def _derived_items(
    raw: Mapping[DataType, Mask], selected: Mask, layout: LakeLayout
) -> list[PlannedAsset]:
    made = {asset: layout.made_mask(asset) for asset in layout.derived}

    def kept(asset: str, changed: Mask) -> Mask:
        is_used = made[asset].any(axis=1, keepdims=True)
        return changed & (made[asset] | (selected & is_used))

    masks: dict[str, Mask] = {
        SURFACE: kept(SURFACE, spread(raw[DataType.OPTIONS_CHAIN], SURFACE_DAYS))
    }
    ticks = _any((raw[data_type] for data_type in layout.candle_types), layout)
    changed = spread(ticks, NEIGHBOURS) | _all_venues(masks[SURFACE])
    candles = {timeframe: kept(f"candles/{timeframe}", changed) for timeframe in Timeframe}
    masks |= {f"candles/{timeframe}": mask for timeframe, mask in candles.items()}
    # A threshold is the volume of the day before, so that a changed day reaches one further.
    bars = spread(spread(raw[DataType.TRADES], NEIGHBOURS), (0, 1))
    masks |= {f"bars/{kind}": kept(f"bars/{kind}", bars) for kind in BarKind}
    features = {
        timeframe: kept(f"mft_features/{timeframe}", _feature_days(candles, timeframe, halo))
        for timeframe, halo in layout.halos.items()
    }
    masks |= {f"mft_features/{timeframe}": mask for timeframe, mask in features.items()}
    for name, timeframes in layout.sets.items():
        used = _any((features[one] for one in timeframes if one in features), layout)
        masks[f"mft_sets/{name}"] = kept(f"mft_sets/{name}", used)
    # Bars are held against those of the venue that goes with theirs: any venue of the day may be.
    masks[BAR_AUDIT] = kept(BAR_AUDIT, _all_venues(_any(candles.values(), layout)))
    return [
        PlannedAsset(
            asset,
            _stage(asset),
            layout.cells(masks[asset]),
            MappingProxyType({READS_WHAT_CHANGED: int(masks[asset].sum())}),
        )
        for asset in layout.derived
    ]


def _feature_days(candles: Mapping[Timeframe, Mask], timeframe: Timeframe, halo: Halo) -> Mask:
    """Days whose features read a changed candle, their own venue's or another's."""
    own = spread(candles[timeframe], (0, *halo.series, *halo.slots))
    daily = spread(candles[Timeframe.H24], halo.daily)
    return own | daily | _all_venues(spread(candles[timeframe], (0, *halo.series)))


def _all_venues(mask: Mask) -> Mask:
    return np.broadcast_to(mask.any(axis=0, keepdims=True), mask.shape)


def _any(masks: Iterable[Mask], layout: LakeLayout) -> Mask:
    result = np.zeros(layout.shape, dtype=np.bool_)
    for mask in masks:
        result |= mask
    return result


def _stage(asset: str) -> Stage:
    if asset == SURFACE:
        return Stage.TICKS
    return Stage.CANDLES if asset.startswith("candles/") else Stage.FEATURES
