"""Building the information-driven bars of a venue's day: all kinds of an instrument at once.

What belongs here: the use case from cell to manifests. What does not: its inputs
(`information_bar_inputs.py`) and files (`information_bar_files.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.information import InformationBars
from tickhandler_dagster.market.bars.versions import BarChanges
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.information_bar_table import INFORMATION_BAR_TABLE
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.pipeline.day_trades import DayTrades, rows_of_day
from tickhandler_dagster.pipeline.information_bar_files import (
    BarRows,
    are_bars_up_to_date,
    publish_information_bars,
    read_bar_manifests,
    write_bar_manifests,
)
from tickhandler_dagster.pipeline.information_bar_inputs import InformationDay, information_days

ALL_KINDS = tuple(BarKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationBarsResult:
    """What a build did.

    Attributes:
        cell: The day and venue.
        manifests: One frame of `INFORMATION_BAR_MANIFEST_TABLE` per kind.
        built: Instruments built in this run; the others were up to date.
        files_written: Files whose bytes changed.
        changes: Bars by what became of them, over all kinds.
    """

    cell: VenueDay
    manifests: Mapping[BarKind, pl.DataFrame]
    built: int
    files_written: int
    changes: BarChanges

    @property
    def is_no_op(self) -> bool:
        """Everything was up to date."""
        return self.built == 0


class _Run:
    """What a build has done so far."""

    def __init__(self, lake: Lake, cell: VenueDay, stored: BarRows) -> None:
        self._lake = lake
        self._cell = cell
        self._stored = stored
        self.rows: BarRows = {kind: {} for kind in stored}
        self.built = 0
        self.files_written = 0
        self.changes = BarChanges()
        self.bars = 0
        self.bytes = 0

    def process(self, inputs: InformationDay) -> None:
        """Build and publish the instrument's bars, or take over what is up to date."""
        if are_bars_up_to_date(inputs, lake=self._lake, cell=self._cell, stored=self._stored):
            for kind, rows in self._stored.items():
                self.rows[kind][inputs.key] = rows[inputs.key]
        else:
            self._build(inputs)
        self.bars += sum(rows[inputs.key].bars for rows in self.rows.values())

    def _build(self, inputs: InformationDay) -> None:
        self.built += 1
        for kind, bars in build_information_day(inputs, lake=self._lake).items():
            published = publish_information_bars(
                bars, kind, lake=self._lake, cell=self._cell, inputs=inputs
            )
            self.rows[kind][inputs.key] = published.row
            self.files_written += published.was_written
            self.bytes += published.row.bytes if published.was_written else 0
            self.changes += published.changes


def build_information_bars(
    cell: VenueDay,
    *,
    lake: Lake,
    catalog: ExchangeCatalog,
    universe: pl.DataFrame,
    kinds: Sequence[BarKind] = ALL_KINDS,
    on_progress: OnProgress | None = None,
) -> InformationBarsResult:
    """Build the information-driven bars of a cell and store what changed.

    An instrument whose inputs are those its stored bars were built from is left alone without
    reading a tick. A run that is killed leaves whole files and the old manifests; the next run
    builds what they do not vouch for.

    Args:
        cell: The UTC day of the bars, and the venue.
        lake: Where raw ticks and yesterday's candles are read and bars are written.
        catalog: The venue's catalogue, for reported gaps.
        universe: The venue's instruments on the day, of `INSTRUMENTS_TABLE`.
        kinds: Which bars to build.
        on_progress: Called after each instrument.

    Raises:
        MissingUpstream: the raw trades of the day were never ingested.
        CorruptData: raw rows cannot be read, or do not add up with their manifest or the bars.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    days = information_days(cell, lake=lake, catalog=catalog, universe=universe, kinds=tuple(kinds))
    stored = read_bar_manifests(lake, cell, kinds)
    run = _Run(lake, cell, stored)
    for done, inputs in enumerate(days, start=1):
        run.process(inputs)
        if on_progress is not None:
            sums = {"rows": run.bars, "bytes": run.bytes}
            on_progress(Progress(f"bars {cell}", done, len(days), "instruments", **sums))
    return InformationBarsResult(
        cell=cell,
        manifests=write_bar_manifests(lake, cell, run.rows, stored=stored),
        built=run.built,
        files_written=run.files_written,
        changes=run.changes,
    )


def build_information_day(inputs: InformationDay, *, lake: Lake) -> dict[BarKind, pl.DataFrame]:
    """The bars of an instrument's day by kind; without rows where the kind has no threshold.

    Raises:
        CorruptData: a raw file cannot be read, or rows and manifest or rows and bars do not add up.
        MissingUpstream: a raw file that a manifest names is not in the lake.
    """
    frames = {
        kind: pl.DataFrame(schema=INFORMATION_BAR_TABLE.polars_schema) for kind in inputs.thresholds
    }
    if not inputs.fixed or not inputs.raw.files:
        return frames
    trades = DayTrades(inputs.raw, lake)
    day = dataclasses.replace(inputs.day, previous=trades.previous)
    bars = InformationBars(day, inputs.fixed)
    for ticks in trades.slices():
        bars.add(ticks)
    for kind, frame in bars.finish().items():
        _check_conservation(inputs, kind, frame)
        frames[kind] = frame
    return frames


def _check_conservation(inputs: InformationDay, kind: BarKind, bars: pl.DataFrame) -> None:
    """Every row of the day is in one bar."""
    counted, expected = int(bars["trade_count"].sum()), rows_of_day(inputs.raw)
    if counted != expected:
        raise CorruptData(
            f"{inputs.key}: {kind} bars",
            "trades in bars and rows read do not add up",
            was=counted,
            expected=str(expected),
            remedy="Report it: the bar kernel lost or repeated a trade",
        )
