"""Building the bars of a venue's day: all timeframes of an instrument from one reading.

What belongs here: the use case from cell to manifests. What does not: its steps, which are
`candle_inputs.py`, `candle_build.py` and `candle_files.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.day import ALL_TIMEFRAMES
from tickhandler_dagster.market.bars.versions import BarChanges
from tickhandler_dagster.market.candle_manifest_table import CandleManifestRow
from tickhandler_dagster.market.candle_state_table import CandleState
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.admission import MemoryGate, bars_need
from tickhandler_dagster.pipeline.candle_build import build_instrument
from tickhandler_dagster.pipeline.candle_context import (
    CellContext,
    InstrumentContext,
    inputs_digest,
)
from tickhandler_dagster.pipeline.candle_files import (
    BarOrigin,
    PublishedBars,
    StoredRows,
    is_up_to_date,
    publish_bars,
    read_candle_manifests,
    write_candle_manifests,
)
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay, instrument_days
from tickhandler_dagster.pipeline.candle_state import read_candle_states, write_candle_states
from tickhandler_dagster.pipeline.related_days import RelatedDays


@dataclass(frozen=True, slots=True, kw_only=True)
class CandlesResult:
    """What a build did.

    Attributes:
        cell: The day and venue.
        manifests: One frame of `CANDLE_MANIFEST_TABLE` per timeframe.
        instruments: Instruments that have bars.
        built: Instruments built in this run; the others were up to date.
        files_written: Candle files whose bytes changed.
        changes: Bars by what became of them, over all timeframes.
        memory_wait_s: Seconds for which instruments waited for memory, together.
    """

    cell: VenueDay
    manifests: Mapping[Timeframe, pl.DataFrame]
    instruments: int
    built: int
    files_written: int
    changes: BarChanges
    memory_wait_s: float = 0.0

    @property
    def trades(self) -> int:
        """Trades in the bars; the same number in every timeframe."""
        return max(
            (int(manifest["trades"].sum()) for manifest in self.manifests.values()), default=0
        )

    @property
    def is_no_op(self) -> bool:
        """Everything was up to date."""
        return self.built == 0


class _Run:
    """What a build has done so far."""

    def __init__(
        self,
        lake: Lake,
        cell: VenueDay,
        stored: StoredRows,
        context: CellContext,
        *,
        publishers: ThreadPoolExecutor,
        memory: MemoryGate | None,
    ) -> None:
        self._lake = lake
        self._cell = cell
        self._stored = stored
        self._context = context
        self._related = RelatedDays(lake, cell)
        self._publishers = publishers
        self._memory = memory
        self._waited_before_s = memory.waited_s if memory else 0.0
        self.stored_states = read_candle_states(lake, cell)
        self.states: dict[str, CandleState] = {}
        self.rows: StoredRows = {timeframe: {} for timeframe in stored}
        self.built = 0
        self.files_written = 0
        self.changes = BarChanges()
        self.bars = 0
        self.bytes = 0
        self._pending: list[tuple[Timeframe, Future[PublishedBars]]] = []

    def result(
        self, manifests: Mapping[Timeframe, pl.DataFrame], instruments: int
    ) -> CandlesResult:
        """What was built of how many instruments, and the manifests that say it."""
        return CandlesResult(
            cell=self._cell,
            manifests=manifests,
            instruments=instruments,
            built=self.built,
            files_written=self.files_written,
            changes=self.changes,
            memory_wait_s=self.memory_wait_s,
        )

    def process(self, inputs: InstrumentDay) -> None:
        """Build and publish the instrument's bars, or take over what is up to date."""
        key = inputs.facts.instrument_key
        context = self._context.of(inputs)
        digest = inputs_digest(inputs, context)
        is_stored = key in self.stored_states and is_up_to_date(
            key, digest, lake=self._lake, cell=self._cell, stored=self._stored
        )
        if is_stored:
            for timeframe, rows in self._stored.items():
                self._take(timeframe, rows[key])
            self.states[key] = self.stored_states[key]
        else:
            self._build(inputs, context, digest)

    def finish(self) -> None:
        """Wait for the files that are still being written."""
        for timeframe, future in self._pending:
            one = future.result()
            self._take(timeframe, one.row)
            self.files_written += one.was_written
            self.bytes += one.row.bytes if one.was_written else 0
            self.changes += one.changes
        self._pending = []

    def _take(self, timeframe: Timeframe, row: CandleManifestRow) -> None:
        self.rows[timeframe][row.instrument_key] = row
        self.bars += row.bars

    def _build(self, inputs: InstrumentDay, context: InstrumentContext, digest: str) -> None:
        """Build the instrument while the files of the one before it are being written."""
        key = inputs.facts.instrument_key
        with self._admitted(inputs):
            built = build_instrument(
                inputs,
                context,
                lake=self._lake,
                related=self._related,
                timeframes=tuple(self._stored),
            )
        self.built += 1
        self.states[key] = built.state
        origin = BarOrigin(inputs, context, digest)

        def publish(timeframe: Timeframe) -> PublishedBars:
            return publish_bars(
                built,
                timeframe,
                lake=self._lake,
                cell=self._cell,
                origin=origin,
                stored=self._stored[timeframe].get(key),
            )

        self.finish()
        self._pending = [
            (timeframe, self._publishers.submit(publish, timeframe)) for timeframe in self._stored
        ]

    @property
    def memory_wait_s(self) -> float:
        return self._memory.waited_s - self._waited_before_s if self._memory else 0.0

    def _admitted(self, inputs: InstrumentDay) -> AbstractContextManager[None]:
        if self._memory is None:
            return nullcontext()
        return self._memory.held(bars_need(sum(row.rows for row in inputs.all_files)))


def build_candles(
    cell: VenueDay,
    *,
    lake: Lake,
    catalog: ExchangeCatalog,
    universe: pl.DataFrame,
    timeframes: Sequence[Timeframe] = ALL_TIMEFRAMES,
    memory: MemoryGate | None = None,
    on_progress: OnProgress | None = None,
) -> CandlesResult:
    """Build the bars of a cell and store what changed.

    An instrument whose inputs are those its stored bars were built from is left alone without
    reading a tick. A run that is killed leaves whole files and the old manifests; the next run
    builds what they do not vouch for.

    Args:
        cell: The UTC day of the bars, and the venue.
        lake: Where raw ticks are read and bars are written.
        catalog: The venue's catalogue, for reported gaps.
        universe: The venue's instruments on the day, of `INSTRUMENTS_TABLE`.
        timeframes: Which bars to build.
        memory: Lets an instrument begin; without one nothing waits.
        on_progress: Called after each instrument.

    Raises:
        TransientError: memory did not become free in half an hour.
        MissingUpstream: the raw trades of the day were never ingested.
        CorruptData: raw rows cannot be read, or do not add up with their manifest or the bars.
        StorageFull: the device has no space left.
        StorageDenied: the lake may not be read or written.
    """
    days = instrument_days(cell, lake=lake, catalog=catalog, universe=universe)
    stored = read_candle_manifests(lake, cell, timeframes)
    # The timeframes' files are small and each waits for the device: together they wait once, and
    # while they do the next instrument is built.
    with ThreadPoolExecutor(len(stored)) as publishers:
        context = CellContext(lake, cell, days)
        run = _Run(lake, cell, stored, context, publishers=publishers, memory=memory)
        for done, inputs in enumerate(days, start=1):
            run.process(inputs)
            if done == len(days):
                run.finish()
            _tell(on_progress, cell, run, done=done, total=len(days))
    write_candle_states(lake, cell, run.states, stored=run.stored_states)
    return run.result(write_candle_manifests(lake, cell, run.rows, stored=stored), len(days))


def _tell(listener: OnProgress | None, cell: VenueDay, run: _Run, *, done: int, total: int) -> None:
    if listener is not None:
        listener(
            Progress(f"candles {cell}", done, total, "instruments", rows=run.bars, bytes=run.bytes)
        )
