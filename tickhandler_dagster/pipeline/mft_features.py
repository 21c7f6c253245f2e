"""Building the mid-frequency features of a venue's day, one timeframe after the other.

What belongs here: the use case from cell to manifests. What does not: its inputs (`mft_inputs.py`),
computing (`mft_rows.py`) and files (`mft_files.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.versions import BarChanges
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.mft.catalog import MFT_TIMEFRAMES
from tickhandler_dagster.market.mft_manifest_table import MftManifestRow, mft_manifest_frame
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.admission import MemoryGate, features_need
from tickhandler_dagster.pipeline.mft_files import (
    is_mft_up_to_date,
    publish_mft,
    read_mft_manifest,
    write_mft_manifest,
)
from tickhandler_dagster.pipeline.mft_inputs import MftInputs, MftPlan, mft_inputs
from tickhandler_dagster.pipeline.mft_rows import MftDay


@dataclass(kw_only=True)
class MftResult:
    """What a build did.

    Attributes:
        cell: The day and venue.
        manifests: One frame of `MFT_MANIFEST_TABLE` per timeframe.
        missing: Partitions of the halo that were never made, per timeframe.
        built: Files of instruments that were computed in this run; the others were up to date.
        files_written: Files whose bytes changed.
        changes: Rows by what became of them, over all timeframes.
    """

    cell: VenueDay
    manifests: dict[Timeframe, pl.DataFrame] = field(default_factory=dict)
    missing: dict[Timeframe, tuple[str, ...]] = field(default_factory=dict)
    built: int = 0
    files_written: int = 0
    changes: BarChanges = field(default_factory=BarChanges)

    @property
    def is_no_op(self) -> bool:
        """Everything was up to date."""
        return self.built == 0


class _Run:
    """What a build has done so far, and what its timeframes share."""

    def __init__(self, lake: Lake, result: MftResult, listener: OnProgress | None) -> None:
        self._lake = lake
        self._result = result
        self._listener = listener
        self._daily: dict[str, pl.DataFrame] = {}

    def build(self, inputs: MftInputs, stored: Mapping[str, MftManifestRow] | None) -> pl.DataFrame:
        """Compute and publish every instrument of a timeframe; gives its manifest."""
        rows, total = [], 0
        with self._lake.store.scratch() as scratch:
            for instrument in MftDay(self._lake, inputs, scratch, self._daily).rows():
                published = publish_mft(instrument, inputs, lake=self._lake)
                rows.append(published.row)
                total += published.row.rows
                self._result.built += 1
                self._result.files_written += published.was_written
                self._result.changes += published.changes
                self.tell(inputs, done=len(rows), rows=total)
        return write_mft_manifest(self._lake, inputs, rows, stored=stored)

    def tell(self, inputs: MftInputs, *, done: int, rows: int = 0) -> None:
        """Say how far the timeframe is."""
        if self._listener is not None:
            task = f"mft_features/{inputs.timeframe} {inputs.cell}"
            self._listener(Progress(task, done, len(inputs.keys), "instruments", rows=rows))


def build_mft_features(
    cell: VenueDay,
    *,
    lake: Lake,
    plan: MftPlan,
    timeframes: Sequence[Timeframe] = MFT_TIMEFRAMES,
    memory: MemoryGate | None = None,
    on_progress: OnProgress | None = None,
) -> MftResult:
    """Build the features of a cell and store what changed.

    A timeframe whose inputs are those its stored rows were built from is left alone without reading
    a bar. An instrument is compared with the others of its venue, so that a timeframe of a cell is
    built as a whole or not at all. A run that is killed leaves whole files and the old manifest;
    the next run builds what it does not vouch for.

    Args:
        cell: The UTC day of the bars, and the venue.
        lake: Where candles are read and features are written.
        plan: What is computed.
        timeframes: Which of them.
        memory: Lets a timeframe begin; without one nothing waits.
        on_progress: Called after each instrument of each timeframe.

    Raises:
        TransientError: memory did not become free in half an hour.
        MissingUpstream: the candles of the day, or a file of candles, are not in the lake.
        CorruptData: candles or a stored file cannot be read.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    result = MftResult(cell=cell)
    run = _Run(lake, result, on_progress)
    for timeframe in timeframes:
        inputs = mft_inputs(cell, timeframe, lake=lake, plan=plan)
        result.missing[timeframe] = tuple(str(day) for day in inputs.missing)
        stored = read_mft_manifest(lake, cell, timeframe)
        if stored is not None and is_mft_up_to_date(inputs, stored, lake=lake):
            result.manifests[timeframe] = mft_manifest_frame(stored.values())
            run.tell(inputs, done=len(inputs.keys))
        else:
            rows = len(inputs.keys) * timeframe.bars_per_day
            with nullcontext() if memory is None else memory.held(features_need(rows)):
                result.manifests[timeframe] = run.build(inputs, stored)
    return result
