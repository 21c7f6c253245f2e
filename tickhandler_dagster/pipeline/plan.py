"""The plan of a selection: what it fetches, makes and loads, and what that takes.

What belongs here: putting holdings, wanted files and bars together. No request to the vendor is
made, and no object but manifests, universes and catalogues is read. What does not: arithmetic
(`market/costs/`) and running a plan (`cli/run_plan.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.costs.amounts import TIME_SPREAD, Amount
from tickhandler_dagster.market.costs.bar_sizes import CANDLES, MFT_FEATURES
from tickhandler_dagster.market.costs.file_sizes import Basis
from tickhandler_dagster.market.costs.plan import RAW_TICKS, Plan, PlanLine, PlanPart, Selection
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.quantities import NOTHING, Machine, Quantities, total_of
from tickhandler_dagster.market.costs.typical_sizes import SMALL_CELL_BYTES
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.halo import Halo
from tickhandler_dagster.market.repair_plan import COMPLETENESS, INSTRUMENTS, PlannedAsset, Stage
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.warehouse_tables import WarehouseTable
from tickhandler_dagster.pipeline.plan_bars import (
    BarPlanner,
    MadeBars,
    bar_sources,
    load_quantities,
    published_days,
    table_rows,
)
from tickhandler_dagster.pipeline.plan_files import EXACT_DAYS, STEP_DAYS, FilePlanner
from tickhandler_dagster.pipeline.plan_holdings import Holdings, read_holdings
from tickhandler_dagster.pipeline.plan_ticks import TickPlanner, TypeTicks, bar_inputs

_SMALL = Amount(SMALL_CELL_BYTES, SMALL_CELL_BYTES / 8, SMALL_CELL_BYTES * 8)


@dataclass(frozen=True, kw_only=True)
class PlanScope:
    """What a plan depends on beside the lake.

    Attributes:
        place: Which lake it is, as text.
        prices: Prices and speeds.
        machine: What does the work.
        halos: Days that features of a timeframe read.
        tables: Tables of the warehouse.
        has_bigquery: They are in BigQuery: loading is counted.
    """

    place: str
    prices: Prices
    machine: Machine
    halos: Mapping[Timeframe, Halo]
    tables: tuple[WarehouseTable, ...]
    has_bigquery: bool


def plan_selection(lake: Lake, selection: Selection, scope: PlanScope) -> Plan:
    """What there is to do of a selection, and what it takes.

    Raises:
        MissingUpstream: the catalogue of a venue was never fetched.
        CorruptData: a manifest, a universe or a catalogue cannot be read.
    """
    holdings = read_holdings(lake, selection)
    ticks, notes = _ticks(lake, selection, holdings, scope)
    bars = _bars(ticks, selection, holdings, scope)
    replaced = sum(made.replaced_bytes for made in bars)
    if replaced:
        notes.append(f"{replaced:,} bytes of the lake are replaced, not added")
    tables = _tables(selection, scope, bars)
    fetched = sorted({cell for one in ticks.values() for cell in one.files})
    unlisted = [cell for cell in fetched if cell not in holdings.universes]
    listing, listed = _small(INSTRUMENTS, Stage.TICKS, unlisted, scope.prices)
    record, recorded = _small(COMPLETENESS, Stage.RECORD, fetched, scope.prices)
    return Plan(
        selection=selection,
        place=scope.place,
        lines=(
            *listing,
            *(_tick_line(one, of_type) for one, of_type in ticks.items()),
            *chain.from_iterable(map(_bar_lines, bars)),
            *record,
            *_table_lines(tables, scope, bars),
        ),
        work=(*listed, *_tick_work(ticks), *chain.from_iterable(map(_bar_work, bars)), *recorded),
        files={
            f"{RAW_TICKS}/{one}": of_type.files for one, of_type in ticks.items() if of_type.files
        },
        warehouse=tables,
        notes=tuple(notes),
    )


def _ticks(
    lake: Lake, selection: Selection, holdings: Holdings, scope: PlanScope
) -> tuple[dict[DataType, TypeTicks], list[str]]:
    """The raw types, and what there is to say of their estimate."""
    if PlanPart.RAW_TICKS not in selection.parts:
        return {}, []
    planner = TickPlanner(
        FilePlanner(lake, selection),
        selection,
        holdings,
        prices=scope.prices,
        machine=scope.machine,
    )
    ticks = planner.plan()
    return ticks, _tick_notes(planner.bases, list(ticks.values()), selection, holdings)


def _bars(
    ticks: Mapping[DataType, TypeTicks], selection: Selection, holdings: Holdings, scope: PlanScope
) -> list[MadeBars]:
    """Candles and features; of what is not selected only what is there, for the warehouse."""
    planner = BarPlanner(
        holdings=holdings,
        is_forced=selection.is_forced,
        prices=scope.prices,
        machine=scope.machine,
    )
    inputs = bar_inputs(ticks, selection, holdings)
    candles = (
        planner.candles(inputs)
        if PlanPart.CANDLES in selection.parts
        else planner.held(CANDLES, Timeframe, inputs)
    )
    features = (
        planner.features(inputs, candles, scope.halos)
        if PlanPart.MFT_FEATURES in selection.parts
        else planner.held(MFT_FEATURES, scope.halos, inputs)
    )
    chosen = set(selection.parts)
    needed = {PlanPart.WAREHOUSE, PlanPart.CANDLES}, {PlanPart.WAREHOUSE, PlanPart.MFT_FEATURES}
    return [made for made, parts in zip((candles, features), needed, strict=True) if parts & chosen]


def _tick_work(ticks: Mapping[DataType, TypeTicks]) -> list[PlannedAsset]:
    return [
        PlannedAsset(
            f"{RAW_TICKS}/{one}",
            Stage.TICKS,
            tuple(sorted(of_type.files)),
            MappingProxyType({"files": sum(item.files for item in of_type.files.values())}),
        )
        for one, of_type in ticks.items()
        if of_type.files
    ]


def _bar_work(made: MadeBars) -> list[PlannedAsset]:
    return [
        PlannedAsset(
            asset,
            Stage.CANDLES if asset.startswith("candles/") else Stage.FEATURES,
            tuple(sorted(cells)),
            MappingProxyType({"to make": len(cells)}),
        )
        for asset, cells in made.cells.items()
    ]


def _small(
    asset: str, stage: Stage, cells: Iterable[VenueDay], prices: Prices
) -> tuple[list[PlanLine], list[PlannedAsset]]:
    """An asset of one small object per cell."""
    wanted = tuple(cells)
    if not wanted:
        return [], []
    each = Quantities(
        stored_bytes=_SMALL,
        writes=Amount.exact(1),
        reads=Amount.exact(len(DataType)),
        seconds=Amount.exact(prices.cell_seconds).within(TIME_SPREAD),
    )
    line = PlanLine(asset, len(wanted), 0, 0, 0, total_of(each for _ in wanted))
    why = MappingProxyType({"to make": len(wanted)})
    return [line], [PlannedAsset(asset, stage, wanted, why)]


def _tick_line(data_type: DataType, ticks: TypeTicks) -> PlanLine:
    return PlanLine(
        f"{RAW_TICKS}/{data_type}",
        len(ticks.files),
        ticks.cells_there,
        sum(item.files for item in ticks.files.values()),
        ticks.files_there,
        ticks.quantities,
    )


def _bar_lines(made: MadeBars) -> list[PlanLine]:
    return [
        PlanLine(
            asset,
            len(made.cells.get(asset, ())),
            made.there.get(asset, 0),
            0,
            0,
            made.quantities.get(asset, NOTHING),
        )
        for asset in sorted(
            made.rows, key=lambda name: [*map(str, Timeframe)].index(name.rpartition("/")[2])
        )
    ]


def _tables(
    selection: Selection, scope: PlanScope, bars: Iterable[MadeBars]
) -> dict[str, tuple[dt.date, ...]]:
    """Days to publish by table; all that are there where only the warehouse is planned."""
    if PlanPart.WAREHOUSE not in selection.parts:
        return {}
    is_all = selection.is_forced or selection.parts == (PlanPart.WAREHOUSE,)
    return published_days(bar_sources(scope.tables), bars, is_all=is_all)


def _table_lines(
    tables: Mapping[str, tuple[dt.date, ...]], scope: PlanScope, bars: Iterable[MadeBars]
) -> list[PlanLine]:
    parts = list(bars)
    lines = []
    for table in bar_sources(scope.tables):
        days = tables.get(table.name, ())
        if not days:
            continue
        rows = table_rows("/".join(table.asset_path), days, parts)
        seconds = Amount.exact(scope.prices.cell_seconds * len(days)).within(TIME_SPREAD)
        taken = load_quantities(table, days, rows) if scope.has_bigquery else Quantities(rows=rows)
        taken += Quantities(seconds=seconds)
        lines.append(PlanLine(f"warehouse/{table.name}", len(days), 0, 0, 0, taken))
    return lines


def _tick_notes(
    bases: Mapping[Basis, int],
    ticks: Iterable[TypeTicks],
    selection: Selection,
    holdings: Holdings,
) -> list[str]:
    notes = []
    told = [f"{count:,} by {basis}" for basis, count in bases.items() if count]
    if told:
        days = f"statistics of {holdings.known_days} known days"
        notes.append(f"sizes of files: {', '.join(told)} ({days})")
    closed = sum(one.cells_not_exported for one in ticks)
    if closed:
        notes.append(f"{closed:,} partitions are left out: the vendor has not exported them yet")
    if len(selection.days) > EXACT_DAYS:
        notes.append(
            f"more than {EXACT_DAYS} days: a day's listing stands for up to {STEP_DAYS} days"
        )
    return notes
