"""Ingesting a raw partition: the vendor's files of a day, venue and data type become lake objects.

What belongs here: the use case from plan to manifest, and how much of it happens at once. What does
not: one file's way (`raw_file.py`), what is left from earlier runs (`raw_leftovers.py`) and which
files are wanted (`market/planning.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest, write_raw_manifest
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    CorruptData,
    KeyLocked,
    QuotaExhausted,
    TickhandlerError,
    first_of,
)
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.planning import (
    TAKE_ALL,
    FileJob,
    RawPlan,
    plan_raw_files,
)
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.restriction import Restriction
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.admission import MemoryGate
from tickhandler_dagster.pipeline.raw_file import DatasetSource, FileIngest, FileOutcome, Slots
from tickhandler_dagster.pipeline.raw_leftovers import adopted_rows, standing_rows
from tickhandler_dagster.pipeline.refusals import Refusals, nothing_replaced

__all__ = ["DatasetSource", "IngestLimits", "RawTicksResult", "ingest_raw_ticks"]


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """How much happens at once in one process.

    Attributes:
        max_concurrent_requests: Downloads.
        max_workers: Conversions; each uses all threads of polars for short times.
        max_parallel_uploads: Objects on their way into the lake.
        batch_size: Files taken together; their local copies are gone before the next batch.
        memory_threshold_percent: No further file is converted where the machine, or the container,
            would use more of its memory.
    """

    max_concurrent_requests: int = 50
    max_workers: int = 2
    max_parallel_uploads: int = 20
    batch_size: int = 1000
    memory_threshold_percent: float = 90.0


@dataclass(frozen=True, slots=True)
class RawTicksResult:
    """What an ingest did.

    Attributes:
        rows: The manifest: one row per expected instrument, ordered by instrument key.
        fetched: Files that came from the vendor.
        reused: Instruments whose data an earlier run had finished.
        adopted: Of these, the ones a killed run had finished without a manifest.
        fetched_bytes: Size of the files that came.
        unexpected_rows: Rows of grouped files whose symbol is not in the universe; in quarantine.
        data_version: Digest of the manifest: changes when and only when the data changes.
        has_data: There is something to show for the partition.
        problem: What ended the ingest early, or why there is nothing, or nothing new.
        memory_wait_s: Seconds for which files waited for memory, together.
        not_replaced: What this run's attempts came to where `rows` keeps an earlier run's data, as
            manifest rows that are not stored: the data is as good as it was.
        is_refused: Files were to be fetched again, and not one of them was taken.
    """

    rows: tuple[ManifestRow, ...]
    fetched: int
    reused: int
    adopted: int
    fetched_bytes: int
    unexpected_rows: int
    data_version: str
    has_data: bool
    problem: TickhandlerError | None
    memory_wait_s: float = 0.0
    not_replaced: tuple[ManifestRow, ...] = ()
    is_refused: bool = False


def ingest_raw_ticks(
    cell: VenueDay,
    data_type: DataType,
    *,
    lake: Lake,
    catalog: ExchangeCatalog,
    universe: pl.DataFrame,
    datasets: DatasetSource,
    limits: IngestLimits,
    force: bool = False,
    again: Collection[str] = (),
    restriction: Restriction = TAKE_ALL,
    on_progress: OnProgress | None = None,
) -> RawTicksResult:
    """Fetch, convert and publish what is missing of a raw partition, and write its manifest.

    A second run fetches nothing and leaves every byte; a run after a kill takes over finished
    files. A file that fails leaves the others alone, and what an earlier run made of it.

    Args:
        cell: Day and venue.
        data_type: Which type.
        lake: Where objects go.
        catalog: What the vendor exports.
        universe: The day's rows of `INSTRUMENTS_TABLE`.
        datasets: The vendor's files.
        limits: How much happens at once.
        force: Fetch every file again.
        again: Instrument keys whose files are fetched again; all others are kept.
        restriction: Which instruments are taken; the others are missing in the manifest.
        on_progress: Told of every finished file.

    Raises:
        InvalidInput: an instrument to fetch again is not expected in the partition.
        StorageFull: the lake's device has no space left; finished files stay and are taken over.
        StorageDenied: the lake may not be written or read.
    """
    previous = standing_rows(lake, _previous(lake, cell, data_type))
    plan = plan_raw_files(
        *(cell, data_type),
        universe=universe,
        catalog=catalog,
        manifest=list(previous.values()),
        force=force,
        again=again,
        restriction=restriction,
    )
    fresh, others = _parted(plan.jobs, lambda job: force or job.is_of(again))
    ingest = FileIngest(cell, data_type, lake=lake, datasets=datasets, catalog=catalog)
    return _carried_out(_Run(limits, ingest, on_progress, previous), plan, fresh, others)


def _carried_out(
    run: _Run, plan: RawPlan, fresh: Sequence[FileJob], others: Sequence[FileJob]
) -> RawTicksResult:
    """Fetch what has to be fetched, and of the others what no killed run has finished."""
    cell, data_type, lake = run.ingest.cell, run.ingest.data_type, run.ingest.lake
    adopted, left = adopted_rows(lake, cell, data_type, others)
    asyncio.run(run.all([*fresh, *left]))
    rows = _ordered([*plan.decided, *adopted, *run.rows])
    stored = write_raw_manifest(lake, cell, data_type, rows)
    result = _result(rows, plan, adopted=adopted, run=run, data_version=stored.sha256)
    return _with_refusal(result, run) if fresh else result


@dataclass
class _Report:
    """Counts finished files and tells the listener."""

    task: str
    total: int
    listener: OnProgress | None
    done: int = 0
    rows: int = 0
    bytes: int = 0

    def add(self, outcome: FileOutcome) -> None:
        self.done += 1
        self.rows += sum(row.rows for row in outcome.rows)
        self.bytes += outcome.fetched_bytes
        self.tell()

    def tell(self) -> None:
        if self.listener is not None:
            self.listener(
                Progress(self.task, self.done, self.total, "files", self.rows, self.bytes)
            )


@dataclass
class _Run:
    """The files of one ingest, in batches."""

    limits: IngestLimits
    ingest: FileIngest
    on_progress: OnProgress | None
    previous: dict[str, ManifestRow]
    report: _Report = field(init=False)
    gate: MemoryGate = field(init=False)
    outcomes: list[FileOutcome] = field(default_factory=list)
    refusals: Refusals = field(default_factory=Refusals)

    def __post_init__(self) -> None:
        self.gate = MemoryGate(MemoryLedger(self.limits.memory_threshold_percent))

    @property
    def rows(self) -> list[ManifestRow]:
        return [row for outcome in self.outcomes for row in outcome.rows]

    async def all(self, jobs: Sequence[FileJob]) -> None:
        task = f"raw_ticks/{self.ingest.data_type} {self.ingest.cell}"
        self.report = _Report(task, len(jobs), self.on_progress)
        self.report.tell()
        waiting = iter(jobs)
        with ExitStack() as stack:
            slots = Slots(
                requests=asyncio.Semaphore(self.limits.max_concurrent_requests),
                workers=stack.enter_context(ThreadPoolExecutor(self.limits.max_workers)),
                uploads=stack.enter_context(ThreadPoolExecutor(self.limits.max_parallel_uploads)),
                gate=self.gate,
            )
            while batch := list(islice(waiting, self.limits.batch_size)):
                await self._batch(batch, slots)

    async def _batch(self, jobs: Sequence[FileJob], slots: Slots) -> None:
        with self.ingest.lake.store.scratch() as folder:
            try:
                async with asyncio.TaskGroup() as group:
                    for job, own in zip(jobs, _folders(folder), strict=False):
                        group.create_task(self._one(job, own, slots))
            except ExceptionGroup as errors:
                # Only the lake's own errors come this far; the first of them says it all.
                raise first_of(errors) from None

    async def _one(self, job: FileJob, folder: Path, slots: Slots) -> None:
        outcome = await self.ingest.run(job, folder, slots=slots, refusals=self.refusals)
        outcome = outcome.keeping(self.previous)
        self.outcomes.append(outcome)
        self.report.add(outcome)


def _parted(
    jobs: Iterable[FileJob], is_first: Callable[[FileJob], bool]
) -> tuple[list[FileJob], list[FileJob]]:
    """Jobs to fetch whatever a killed run has finished, and jobs that such a file settles."""
    parts: tuple[list[FileJob], list[FileJob]] = ([], [])
    for job in jobs:
        parts[not is_first(job)].append(job)
    return parts


def _folders(parent: Path) -> Iterator[Path]:
    """New folders in a scratch folder."""
    for number in count():
        folder = parent / str(number)
        with storage_errors(folder):
            folder.mkdir()
        yield folder


def _previous(lake: Lake, cell: VenueDay, data_type: DataType) -> list[ManifestRow]:
    """Rows of the earlier run; a manifest that cannot be read is written anew from its files."""
    try:
        return read_raw_manifest(lake, cell, data_type) or []
    except CorruptData:
        return []


def _ordered(rows: Sequence[ManifestRow]) -> tuple[ManifestRow, ...]:
    return tuple(sorted(rows, key=lambda row: row.instrument_key))


def _result(
    rows: tuple[ManifestRow, ...],
    plan: RawPlan,
    *,
    adopted: Sequence[ManifestRow],
    run: _Run,
    data_version: str,
) -> RawTicksResult:
    has_data = not rows or any(row.state.is_settled for row in rows)
    errors = [outcome.error for outcome in run.outcomes if outcome.error is not None]
    # The reason of a run's end before the reasons of single files.
    ending = [*filter(lambda error: isinstance(error, KeyLocked | QuotaExhausted), errors)]
    problem = next(iter(ending if has_data else [*ending, *errors]), None)
    return RawTicksResult(
        rows=rows,
        fetched=sum(outcome.is_fetched for outcome in run.outcomes),
        reused=plan.kept + len(adopted),
        adopted=sum(row.state is DataState.PRESENT for row in adopted),
        fetched_bytes=run.report.bytes,
        unexpected_rows=sum(outcome.unexpected_rows for outcome in run.outcomes),
        data_version=data_version,
        has_data=has_data,
        problem=problem,
        memory_wait_s=run.gate.waited_s,
        not_replaced=_ordered([row for outcome in run.outcomes for row in outcome.not_replaced]),
    )


def _with_refusal(result: RawTicksResult, run: _Run) -> RawTicksResult:
    """A run that was to fetch again what is there, and took nothing, has failed."""
    vain = [outcome.error for outcome in run.outcomes if outcome.error and outcome.not_replaced]
    if not vain or any(outcome.error is None for outcome in run.outcomes):
        return result
    problem = nothing_replaced(result.problem or vain[0], run.report.task, len(result.not_replaced))
    return replace(result, problem=problem, is_refused=True)
