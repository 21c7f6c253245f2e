"""The bars and tables of a plan: which partitions and what they take.

What belongs here: candles, mid-frequency features and the warehouse's tables. What does not: raw
ticks (`plan.py`), which come before them.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.market.costs.amounts import TIME_SPREAD, ZERO, Amount, add_up
from tickhandler_dagster.market.costs.bar_sizes import CANDLES, MFT_FEATURES, BarAmounts
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.quantities import Machine, Quantities
from tickhandler_dagster.market.costs.typical_sizes import (
    DAYS_READ_PER_BAR_DAY,
    DBT_READS,
    OBJECTS_PER_BAR_CELL,
    READS_PER_FILE,
)
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.halo import Halo
from tickhandler_dagster.market.repair_plan import NEIGHBOURS
from tickhandler_dagster.market.tables import Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.warehouse_tables import WarehouseSource, WarehouseTable
from tickhandler_dagster.pipeline.plan_holdings import Holding, Holdings

_LOGICAL_TEXT = 24
"""BigQuery counts two bytes and the text; keys of instruments have about so many."""

_LOGICAL_NUMBER = 8

_FILLED, _LEAST_FILLED = 0.6, 0.2
"""Share of values that are not null and take space: of venues with all channels, of quiet ones."""


@dataclass(frozen=True, slots=True)
class CellInputs:
    """What is known of the ticks of a cell that bars are made of.

    Attributes:
        instruments: With trades, without options.
        options: With trades.
        files: Objects that bars read.
        rows: Rows in them.
        is_new: Some of them are fetched by the plan.
    """

    instruments: int = 0
    options: int = 0
    files: Amount = ZERO
    rows: Amount = ZERO
    is_new: bool = False


@dataclass
class MadeBars:
    """Partitions of bars that a plan makes, and what they take.

    Attributes:
        cells: By asset.
        there: By asset the number of cells that stay as they are.
        quantities: By asset.
        replaced_bytes: What the lake has of them already.
        rows: Of every partition that will be there, by asset and cell.
    """

    cells: dict[str, list[VenueDay]] = field(default_factory=lambda: defaultdict(list))
    there: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    quantities: dict[str, Quantities] = field(default_factory=lambda: defaultdict(Quantities))
    replaced_bytes: int = 0
    rows: dict[str, dict[VenueDay, Amount]] = field(default_factory=lambda: defaultdict(dict))

    def keep(self, asset: str, cell: VenueDay, held: Holding) -> None:
        """The partition stays as it is."""
        self.there[asset] += 1
        self.rows[asset][cell] = Amount.exact(held.rows)

    def make(
        self, asset: str, cell: VenueDay, sizes: BarAmounts, taken: Quantities, held: Holding | None
    ) -> None:
        """The partition is made."""
        self.cells[asset].append(cell)
        self.rows[asset][cell] = sizes.rows
        self.replaced_bytes += held.bytes if held else 0
        self.quantities[asset] += taken


@dataclass(frozen=True, kw_only=True)
class BarPlanner:
    """Plans bars of the cells of a selection.

    Attributes:
        holdings: What is there.
        is_forced: What is there is made again.
        prices: Speeds.
        machine: Cores.
    """

    holdings: Holdings
    is_forced: bool
    prices: Prices
    machine: Machine

    def candles(self, inputs: Mapping[VenueDay, CellInputs]) -> MadeBars:
        """Candles of cells with trades: where there are none, or ticks they read are fetched."""
        made = MadeBars()
        changed = _reached((cell for cell, item in inputs.items() if item.is_new), NEIGHBOURS)
        for cell, item in inputs.items():
            wanted = []
            for timeframe in Timeframe:
                asset = f"{CANDLES}/{timeframe}"
                held = self.holdings.of(asset, cell)
                if held is None or self.is_forced or cell in changed:
                    wanted.append(timeframe)
                else:
                    made.keep(asset, cell, held)
            seconds = self._reading_seconds(item, len(wanted))
            for timeframe in wanted:
                self._make(made, CANDLES, timeframe, cell, item=item, seconds=seconds)
        return made

    def held(
        self, family: str, timeframes: Iterable[Timeframe], cells: Iterable[VenueDay]
    ) -> MadeBars:
        """The bars that are there, none of them to be made."""
        made, days = MadeBars(), list(cells)
        for timeframe in timeframes:
            asset = f"{family}/{timeframe}"
            for cell in days:
                if (there := self.holdings.of(asset, cell)) is not None:
                    made.keep(asset, cell, there)
        return made

    def features(
        self,
        inputs: Mapping[VenueDay, CellInputs],
        candles: MadeBars,
        halos: Mapping[Timeframe, Halo],
    ) -> MadeBars:
        """Features of cells with candles: where there are none, or candles they read are made."""
        made = MadeBars()
        for timeframe, halo in halos.items():
            source, asset = f"{CANDLES}/{timeframe}", f"{MFT_FEATURES}/{timeframe}"
            changed = _reached(candles.cells.get(source, ()), (0, *halo.series, *halo.slots))
            for cell in candles.rows.get(source, ()):
                held = self.holdings.of(asset, cell)
                if held is not None and not self.is_forced and cell not in changed:
                    made.keep(asset, cell, held)
                    continue
                self._make(made, MFT_FEATURES, timeframe, cell, item=inputs[cell])
        return made

    def _make(
        self,
        made: MadeBars,
        family: str,
        timeframe: Timeframe,
        cell: VenueDay,
        *,
        item: CellInputs,
        seconds: Amount | None = None,
    ) -> None:
        is_candle = family == CANDLES
        count = item.instruments + (item.options if is_candle else 0)
        sizes = self.holdings.bars.of(family, timeframe, cell.venue, count)
        read = item.files.times(DAYS_READ_PER_BAR_DAY) if is_candle else sizes.objects
        work = sizes.objects.times(self.prices.file_seconds / self.machine.cores)
        if seconds is None:
            per_row = 1e-6 / max(self.prices.feature_rate, 1e-9) / self.machine.cores
            seconds = sizes.rows.times(per_row) + Amount.exact(self.prices.cell_seconds)
        taken = Quantities(
            rows=sizes.rows,
            stored_bytes=sizes.bytes,
            writes=sizes.objects + Amount.exact(OBJECTS_PER_BAR_CELL),
            reads=(read + sizes.objects).times(READS_PER_FILE),
            seconds=(seconds + work).within(TIME_SPREAD),
        )
        asset = f"{family}/{timeframe}"
        made.make(asset, cell, sizes, taken, self.holdings.of(asset, cell))

    def _reading_seconds(self, item: CellInputs, timeframes: int) -> Amount:
        """Each timeframe's share: one computation makes all of them from one reading."""
        rate = max(self.prices.candle_rate, 1e-9) * self.machine.cores
        whole = item.rows.times(1e-6 / rate) + Amount.exact(self.prices.cell_seconds)
        return whole.times(1 / max(timeframes, 1))


def published_days(
    tables: Iterable[WarehouseTable], made: Iterable[MadeBars], *, is_all: bool
) -> dict[str, tuple[dt.date, ...]]:
    """Days of each table that a publisher has to load.

    Args:
        tables: Tables of the warehouse.
        made: The bars of the plan.
        is_all: Also days of which nothing is made.
    """
    bars = list(made)
    found = {}
    for table in tables:
        asset = "/".join(table.asset_path)
        days = {
            cell.date
            for part in bars
            for cell in (part.rows if is_all else part.cells).get(asset, ())
        }
        if days:
            found[table.name] = tuple(sorted(days))
    return found


def load_quantities(table: WarehouseTable, days: Iterable[dt.date], rows: Amount) -> Quantities:
    """What it takes to load days of a table into BigQuery: a job per day, free of charge."""
    full = rows.times(logical_row_bytes(table.table))
    size = Amount(full.likely * _FILLED, full.low * _LEAST_FILLED, full.high)
    return Quantities(
        rows=rows,
        load_jobs=Amount.exact(len(tuple(days))),
        warehouse_bytes=size,
        query_bytes=size.times(DBT_READS),
    )


def table_rows(asset: str, days: Iterable[dt.date], made: Iterable[MadeBars]) -> Amount:
    """Rows of all venues on these days."""
    wanted = frozenset(days)
    return add_up(
        rows
        for part in made
        for cell, rows in part.rows.get(asset, {}).items()
        if cell.date in wanted
    )


def logical_row_bytes(table: Table) -> int:
    """Bytes of a row without a null, as BigQuery counts them: 8 for a number or a time.

    Example:
        >>> from tickhandler_dagster.market.candle_table import CANDLE_TABLE
        >>> logical_row_bytes(CANDLE_TABLE) > 8 * 200
        True
    """
    return sum(_width(column.dtype) for column in table.columns)


def _width(dtype: pl.DataType) -> int:
    if dtype == pl.String():
        return _LOGICAL_TEXT
    return 1 if dtype == pl.Boolean() else _LOGICAL_NUMBER


def bar_sources(tables: Iterable[WarehouseTable]) -> Iterator[WarehouseTable]:
    """The tables that are made of bars."""
    bars = {WarehouseSource.CANDLES, WarehouseSource.MFT_FEATURES}
    return (table for table in tables if table.source in bars)


def _reached(cells: Iterable[VenueDay], offsets: Iterable[int]) -> set[VenueDay]:
    backs = tuple(offsets)
    return {cell.shifted(offset) for cell in cells for offset in backs}
