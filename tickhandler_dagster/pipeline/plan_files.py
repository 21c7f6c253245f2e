"""Which vendor files a planned raw partition needs, without asking the vendor.

What belongs here: the stored catalogue and universes, put to `market/planning.py`. What does not:
the sizes of the files (`market/costs/file_sizes.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.costs.plan import Selection
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments import build_universe
from tickhandler_dagster.market.paths import InstrumentsFile
from tickhandler_dagster.market.planning import OPTION, FileJob, RawPlan, plan_raw_files
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.exchange_catalog import stored_catalog, stored_contracts

EXACT_DAYS = 31
"""Spans up to this length are planned with every day's own listing."""

STEP_DAYS = 30
"""In longer ones a day's listing stands for this many days: listings differ little."""


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """The files of a raw partition that are to be fetched.

    Attributes:
        files: Symbol and kind of each; the kind is the instrument type, or a group's name.
        instruments: Instruments in them, without options.
        options: Options in them.
        kept_rows: Rows of the partition that stay.
        kept_bytes: Bytes of the partition that stay.
    """

    files: tuple[tuple[str, str], ...]
    instruments: int = 0
    options: int = 0
    kept_rows: int = 0
    kept_bytes: int = 0


class FilePlanner:
    """Plans the files of a selection's partitions; catalogues and listings are read once.

    Args:
        lake: Where catalogues and universes are.
        selection: What is planned.

    Raises:
        MissingUpstream: the catalogue of a venue was never fetched.
    """

    def __init__(self, lake: Lake, selection: Selection) -> None:
        self._lake = lake
        self._catalogs = {venue: stored_catalog(lake, venue) for venue in selection.venues}
        self._step = 1 if len(selection.days) <= EXACT_DAYS else STEP_DAYS
        self._anchors: dict[VenueId, tuple[dt.date, pl.DataFrame]] = {}
        self._wanted: dict[tuple[object, ...], WantedFiles] = {}

    def is_exported(self, cell: VenueDay) -> bool:
        """The vendor has the cell's files."""
        return self._catalogs[cell.venue].is_exported(cell.date)

    def fresh(self, cell: VenueDay, data_type: DataType) -> tuple[tuple[object, ...], WantedFiles]:
        """The files of an exported partition of which nothing is kept.

        Beside them a key that equal answers share. Cells of a venue are to come day by day.
        """
        catalog = self._catalogs[cell.venue]
        day, universe = self._listing(cell)
        key = (cell.venue, data_type, day, catalog.groups_with(data_type, cell.date))
        if key not in self._wanted:
            plan = plan_raw_files(cell, data_type, universe=universe, catalog=catalog)
            self._wanted[key] = _wanted(plan)
        return key, self._wanted[key]

    def rest(self, cell: VenueDay, data_type: DataType) -> WantedFiles:
        """The files that a partition with a manifest lacks."""
        plan = plan_raw_files(
            cell,
            data_type,
            universe=self._universe(cell, self._catalogs[cell.venue]),
            catalog=self._catalogs[cell.venue],
            manifest=read_raw_manifest(self._lake, cell, data_type) or (),
        )
        return _wanted(plan)

    def _listing(self, cell: VenueDay) -> tuple[dt.date, pl.DataFrame]:
        day, universe = self._anchors.get(cell.venue, (None, None))
        if day is None or universe is None or not 0 <= (cell.date - day).days < self._step:
            universe = self._universe(cell, self._catalogs[cell.venue])
            self._anchors[cell.venue] = (cell.date, universe)
            return cell.date, universe
        return day, universe

    def _universe(self, cell: VenueDay, catalog: ExchangeCatalog) -> pl.DataFrame:
        """The stored universe, else the one that a run would build now."""
        stored = self._lake.read_table(InstrumentsFile(cell.date, cell.venue))
        if stored is not None:
            return stored
        return build_universe(catalog, stored_contracts(self._lake, cell.venue), cell.date).frame


def _wanted(plan: RawPlan) -> WantedFiles:
    items = [item for job in plan.jobs for item in job.instruments]
    options = sum(item.instrument_type == OPTION for item in items)
    return WantedFiles(
        files=tuple((job.source_symbol, _kind(job)) for job in plan.jobs),
        instruments=len(items) - options,
        options=options,
        kept_rows=sum(row.rows for row in plan.decided),
        kept_bytes=sum(row.bytes for row in plan.decided),
    )


def _kind(job: FileJob) -> str:
    return job.source_symbol if job.is_grouped else job.instruments[0].instrument_type
