"""What has to run to repair a span: completeness tables and manifests in, a plan out.

What belongs here: reading them, one table at a time. What does not: what follows from them
(`market/repair_plan.py`) and running it (`automation/`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.market.mft.halo import halo_of
from tickhandler_dagster.market.paths import (
    CandleManifest,
    CompletenessFile,
    FindingsFile,
    InformationBarManifest,
    InstrumentsFile,
    LakeObject,
    MftManifest,
    MftSetManifest,
    OptionsSurfaceManifest,
)
from tickhandler_dagster.market.repair import (
    BrokenPartition,
    RepairRequest,
    broken_partitions,
    never_looked_at,
)
from tickhandler_dagster.market.repair_plan import (
    BAR_AUDIT,
    SURFACE,
    LakeLayout,
    RepairPlan,
    plan_repair,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.bar_audit import CANDLES
from tickhandler_dagster.pipeline.candle_channels import SOURCES
from tickhandler_dagster.pipeline.completeness_reading import read_all
from tickhandler_dagster.pipeline.mft_inputs import MftPlan

_READ = ("date", "venue", "data_type", "instrument_key", "state", "verdict")
# In one read: opening small tables one by one takes longer than everything else a plan does, and
# the largest day of all venues has a hundred thousand rows.
_BATCH_TABLES = 100
# Up to so many cells are asked for one by one; a listing goes through all the days there are.
_FEW_CELLS = 100


def repair_layout(
    plan: MftPlan,
    *,
    last_day: dt.date,
    downloads: Mapping[VenueId, Sequence[DataType]],
    sets: Sequence[FeatureSet] = (),
) -> LakeLayout:
    """The grid of the platform and what reads what; nothing of the lake is known yet."""
    return LakeLayout(
        venues=plan.venues,
        first_day=plan.first_day,
        last_day=last_day,
        downloads={venue: tuple(types) for venue, types in downloads.items()},
        candle_types=frozenset(one for types in SOURCES.values() for one in types),
        halos={timeframe: halo_of(plan.features, timeframe) for timeframe in MFT_TIMEFRAMES},
        sets={chosen.name: chosen.timeframes for chosen in sets},
    )


def read_broken(request: RepairRequest, *, lake: Lake, layout: LakeLayout) -> list[BrokenPartition]:
    """The raw partitions of the request that the completeness tables call broken.

    A day without a table was never looked at: what is downloaded counts as never asked for.

    Raises:
        CorruptData: a table cannot be read.
    """
    cells = list(_cells(request, layout))
    stored = _stored_tables(lake, cells)
    unknown = [cell for cell in cells if cell not in stored]
    found: list[BrokenPartition] = []
    items = list(stored.values())
    for start in range(0, len(items), _BATCH_TABLES):
        some = items[start : start + _BATCH_TABLES]
        found += broken_partitions(read_all(lake, some, _READ), request)
    return found + never_looked_at(unknown, request, layout.downloads)


def read_plan(request: RepairRequest, *, lake: Lake, layout: LakeLayout) -> RepairPlan:
    """Everything that has to run so that the request is met.

    Raises:
        CorruptData: a completeness table cannot be read.
    """
    return plan_broken(read_broken(request, lake=lake, layout=layout), lake=lake, layout=layout)


def plan_broken(broken: Sequence[BrokenPartition], *, lake: Lake, layout: LakeLayout) -> RepairPlan:
    """Everything that has to run once these raw partitions come in again."""
    without_universe = [
        cell
        for cell in sorted({item.cell for item in broken})
        if not lake.exists(InstrumentsFile(cell.date, cell.venue))
    ]
    at_most = plan_repair(broken, layout)
    made = {
        asset: _made(lake, layout, asset, at_most)
        for asset in layout.derived
        if asset in at_most.by_asset
    }
    known = dataclasses.replace(layout, made=made)
    return plan_repair(broken, known, without_universe=without_universe)


def _stored_tables(lake: Lake, cells: Iterable[VenueDay]) -> dict[VenueDay, CompletenessFile]:
    """The completeness tables of the cells that have one, in the cells' order."""
    wanted = {cell: CompletenessFile(cell.date, cell.venue) for cell in cells}
    if len(wanted) <= _FEW_CELLS:
        return {cell: item for cell, item in wanted.items() if lake.exists(item)}
    there = set(lake.store.list(CompletenessFile.form.partition("{")[0]))
    return {cell: item for cell, item in wanted.items() if item.path in there}


def _cells(request: RepairRequest, layout: LakeLayout) -> Iterator[VenueDay]:
    """The requested cells of the grid, day by day."""
    day = max(request.since, layout.first_day)
    venues = [venue for venue in layout.venues if venue in request.venues]
    while day <= min(request.until, layout.last_day):
        for venue in venues:
            yield VenueDay(day, venue)
        day += dt.timedelta(days=1)


def _made(lake: Lake, layout: LakeLayout, asset: str, at_most: RepairPlan) -> set[VenueDay]:
    """Cells of the asset that are in the lake: of those in question all, else one per venue.

    The one tells that the venue has the asset at all. It is looked for from the last day back, and
    only where no cell in question is there.
    """
    manifest = manifest_of(asset)
    asked = at_most.by_asset[asset].cells
    made = {cell for cell in asked if lake.exists(manifest(cell))}
    for venue in {cell.venue for cell in asked} - {cell.venue for cell in made}:
        days = (
            VenueDay(layout.last_day - dt.timedelta(days=back), venue)
            for back in range(layout.shape[1])
        )
        made |= _first(cell for cell in days if lake.exists(manifest(cell)))
    return made


def _first(cells: Iterable[VenueDay]) -> set[VenueDay]:
    return {cell for cell, _ in zip(cells, range(1), strict=False)}


def manifest_of(asset: str) -> Callable[[VenueDay], LakeObject]:
    """Where the manifest of a derived asset's cell is.

    Example:
        >>> manifest_of("candles/1h")(VenueDay.parse("2024-08-08|upbit")).path
        'processed_candles/by_date/day-2024-08-08/timeframe-1h/_manifests/upbit.parquet'
    """
    kind, _, name = asset.partition("/")
    if asset == SURFACE:
        return lambda cell: OptionsSurfaceManifest(cell.date, cell.venue)
    if asset == BAR_AUDIT:
        return lambda cell: FindingsFile(cell.date, cell.venue, CANDLES)
    if kind == "mft_sets":
        return lambda cell: MftSetManifest(name, cell.date, cell.venue)
    if kind == "bars":
        return lambda cell: InformationBarManifest(cell.date, BarKind(name), cell.venue)
    form = CandleManifest if kind == "candles" else MftManifest
    return lambda cell: form(cell.date, Timeframe(name), cell.venue)
