"""The raw ticks of a plan: which partitions, which of their files, and what they take.

What belongs here: one data type after the other. What does not: which files a partition needs
(`plan_files.py`) and what is made of ticks (`plan_bars.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tickhandler_dagster.market.costs.amounts import TIME_SPREAD, Amount, add_up
from tickhandler_dagster.market.costs.file_sizes import Basis, FileAmounts
from tickhandler_dagster.market.costs.plan import RAW_TICKS, CellFiles, Selection
from tickhandler_dagster.market.costs.prices import Prices
from tickhandler_dagster.market.costs.quantities import (
    NOTHING,
    Machine,
    Quantities,
    ingest_seconds,
)
from tickhandler_dagster.market.costs.typical_sizes import OBJECTS_PER_RAW_CELL, READS_PER_FILE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.candle_channels import SOURCES
from tickhandler_dagster.pipeline.plan_bars import CellInputs
from tickhandler_dagster.pipeline.plan_files import FilePlanner, WantedFiles
from tickhandler_dagster.pipeline.plan_holdings import Holdings

_BAR_TYPES = tuple(one for one in DataType if any(one in types for types in SOURCES.values()))


@dataclass
class TypeTicks:
    """What a plan fetches of a data type.

    Attributes:
        files: By partition.
        wanted: By partition its files and their sizes.
        quantities: What it takes.
        cells_there: Partitions that stay as they are.
        files_there: Vendor files that stay.
        cells_not_exported: Partitions the vendor has not exported yet.
    """

    files: dict[VenueDay, CellFiles] = field(default_factory=dict)
    wanted: dict[VenueDay, tuple[WantedFiles, FileAmounts]] = field(default_factory=dict)
    quantities: Quantities = NOTHING
    cells_there: int = 0
    files_there: int = 0
    cells_not_exported: int = 0


class TickPlanner:
    """Plans the raw partitions of a selection.

    Args:
        planner: Which files a partition needs.
        selection: What is planned.
        holdings: What is there.
        prices: Speeds.
        machine: What does the work.
    """

    def __init__(
        self,
        planner: FilePlanner,
        selection: Selection,
        holdings: Holdings,
        *,
        prices: Prices,
        machine: Machine,
    ) -> None:
        self._planner = planner
        self._selection = selection
        self._holdings = holdings
        self._prices = prices
        self._machine = machine
        self._sized: dict[tuple[object, ...], FileAmounts] = {}
        self._judged: dict[tuple[object, ...], Mapping[Basis, int]] = {}
        self.bases = dict.fromkeys(Basis, 0)

    def plan(self) -> dict[DataType, TypeTicks]:
        """By type the partitions that lack a file, or all where forced."""
        chosen = [one for one in DataType if one in self._selection.data_types]
        found = {one: TypeTicks() for one in chosen}
        # A listing is the dearest thing to come by: every type takes its part while it is at hand.
        for cell in self._selection.cells():
            for data_type in chosen:
                if data_type in VENUES[cell.venue].data_types:
                    self._look(found[data_type], cell, data_type)
        return found

    def _look(self, ticks: TypeTicks, cell: VenueDay, data_type: DataType) -> None:
        held = self._holdings.of(_asset(data_type), cell)
        if held is None or self._selection.is_forced:
            self._add(ticks, cell, data_type, is_fresh=True)
            return
        ticks.files_there += held.files
        if held.is_settled:
            ticks.cells_there += 1
        else:
            self._add(ticks, cell, data_type, is_fresh=False)

    def _add(
        self, ticks: TypeTicks, cell: VenueDay, data_type: DataType, *, is_fresh: bool
    ) -> None:
        if not self._planner.is_exported(cell):
            ticks.cells_not_exported += 1
            return
        if is_fresh:
            key, wanted = self._planner.fresh(cell, data_type)
        else:
            key, wanted = (cell, data_type), self._planner.rest(cell, data_type)
        files = self._largest(cell, data_type, wanted)
        if not files:
            return
        amounts = self._amounts(key, cell, data_type, files)
        ticks.files[cell] = CellFiles(len(files), wanted.kept_rows, wanted.kept_bytes)
        ticks.wanted[cell] = (wanted, amounts)
        ticks.quantities += self._quantities(len(files), amounts)
        if key not in self._judged:
            self._judged[key] = self._holdings.files.bases(cell.venue, data_type, files)
        for basis, count in self._judged[key].items():
            self.bases[basis] += count

    def _largest(
        self, cell: VenueDay, data_type: DataType, wanted: WantedFiles
    ) -> tuple[tuple[str, str], ...]:
        limit = self._selection.max_files
        if not limit or len(wanted.files) <= limit:
            return wanted.files
        sizes = self._holdings.files
        ordered = sorted(
            wanted.files,
            key=lambda file: (-sizes.likely_bytes(cell.venue, data_type, *file), file),
        )
        return tuple(ordered[:limit])

    def _amounts(
        self,
        key: tuple[object, ...],
        cell: VenueDay,
        data_type: DataType,
        files: tuple[tuple[str, str], ...],
    ) -> FileAmounts:
        weekday = cell.date.isoweekday()
        found = self._sized.get((*key, weekday))
        if found is None:
            found = self._holdings.files.of(cell.venue, data_type, files, weekday)
            self._sized[*key, weekday] = found
        return found

    def _quantities(self, count: int, amounts: FileAmounts) -> Quantities:
        files, beside = Amount.exact(count), Amount.exact(OBJECTS_PER_RAW_CELL)
        seconds = ingest_seconds(
            files,
            amounts.source_bytes,
            amounts.rows,
            prices=self._prices,
            machine=self._machine,
        )
        return Quantities(
            download_bytes=amounts.source_bytes,
            rows=amounts.rows,
            stored_bytes=amounts.bytes,
            requests=files,
            writes=amounts.objects + beside,
            reads=(amounts.objects + beside).times(READS_PER_FILE),
            seconds=(seconds + Amount.exact(self._prices.cell_seconds)).within(TIME_SPREAD),
        )


def bar_inputs(
    ticks: Mapping[DataType, TypeTicks], selection: Selection, holdings: Holdings
) -> dict[VenueDay, CellInputs]:
    """The ticks that bars of each cell are made of: of cells that have trades, or will."""
    found = {}
    for cell in selection.cells():
        planned = ticks[DataType.TRADES].wanted.get(cell) if DataType.TRADES in ticks else None
        held = holdings.of(_asset(DataType.TRADES), cell)
        if held is None and planned is None:
            continue
        wanted = planned[0] if planned else WantedFiles(())
        parts = [_part(ticks.get(one), one, cell, holdings) for one in _BAR_TYPES]
        found[cell] = CellInputs(
            # A manifest names every instrument, also those whose files are to come.
            instruments=held.instruments - held.options if held else wanted.instruments,
            options=held.options if held else wanted.options,
            files=add_up(part.objects for part in parts),
            rows=add_up(part.rows for part in parts),
            is_new=any(one in ticks and cell in ticks[one].files for one in _BAR_TYPES),
        )
    return found


def _part(
    ticks: TypeTicks | None, data_type: DataType, cell: VenueDay, holdings: Holdings
) -> FileAmounts:
    """Objects and rows of a type that bars of the cell will find."""
    held = holdings.of(_asset(data_type), cell)
    kept = FileAmounts()
    planned = ticks.wanted.get(cell) if ticks else None
    if held is not None and planned is None:
        kept = FileAmounts(rows=Amount.exact(held.rows), objects=Amount.exact(held.instruments))
    elif ticks is not None and planned is not None:
        kept = FileAmounts(rows=Amount.exact(ticks.files[cell].kept_rows)) + planned[1]
    return kept


def _asset(data_type: DataType) -> str:
    return f"{RAW_TICKS}/{data_type}"
