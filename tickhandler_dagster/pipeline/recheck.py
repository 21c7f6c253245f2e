"""Comparing files that were taken with the vendor's files of today, cell by cell.

What belongs here: from the manifests of a cell to its stored results, and how many files are asked
about at once. What does not: one request (`adapters/tardis_revisions.py`), the comparison
(`market/revisions.py`) and fetching again (`raw_ticks.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol, TypeAlias

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    InvalidInput,
    KeyLocked,
    NoEntitlement,
    QuotaExhausted,
    TickhandlerError,
    first_of,
)
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RawManifest, RevisionsFile
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.repair import BrokenPartition
from tickhandler_dagster.market.repair_plan import LakeLayout, RepairPlan
from tickhandler_dagster.market.revisions import (
    Revision,
    RevisionState,
    TakenFile,
    VendorFile,
    compare,
    taken_files,
    unanswered,
)
from tickhandler_dagster.market.revisions_table import (
    REVISIONS_TABLE,
    revisions_frame,
    revisions_of,
)
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.repair import plan_broken

Ask: TypeAlias = Callable[[DatasetFile], Awaitable[VendorFile | None]]

_RAW = "raw_ticks/"
_CHANGED = "files that changed"

AT_ONCE = 20
"""Files asked about at once: each takes a connection of its own, since bodies are not read."""


class RevisionSource(Protocol):
    """Who says what the vendor has today."""

    def opened(self, *, content: bool = False) -> AbstractAsyncContextManager[Ask]:
        """A function that gives what there is of a file, None for no file; raises else."""
        ...


@dataclass(frozen=True, slots=True)
class RecheckResult:
    """What a recheck of a cell found.

    Attributes:
        cell: Day and venue.
        revisions: All results of the cell, also of types that were not asked about this time.
        asked: Files asked about this time.
        bytes: Size of the stored table.
        sha256: Its hash.
    """

    cell: VenueDay
    revisions: tuple[Revision, ...]
    asked: int
    bytes: int
    sha256: str

    @property
    def by_state(self) -> Mapping[RevisionState, int]:
        """Number of files by state, of states that occur."""
        counts = Counter(revision.state for revision in self.revisions)
        return MappingProxyType({state: counts[state] for state in RevisionState if counts[state]})


def recheck(
    cell: VenueDay,
    *,
    lake: Lake,
    data_types: Collection[DataType],
    probe: RevisionSource,
    content: bool = False,
    at_once: int = AT_ONCE,
    on_progress: OnProgress | None = None,
) -> RecheckResult:
    """Ask the vendor about every file behind the cell's manifests, and store what it says.

    The ticks are left as they are. A second recheck of files that did not change writes the same
    bytes.

    Args:
        cell: Day and venue.
        lake: Where manifests and results are.
        data_types: Types to ask about; results of others are kept. Empty for all.
        probe: Who says what the vendor has.
        content: Read every file whole for its hash, instead of its headers.
        at_once: How many files are asked about at once.
        on_progress: Told of every answer.

    Raises:
        InvalidInput: nothing was taken of these types.
        NoEntitlement: the key, or its absence, covers none of the files.
        KeyLocked: the key is in use from another address.
        QuotaExhausted: the transfer quota is used up.
        CorruptData: a manifest or the stored results cannot be read.
    """
    manifests = _manifests(lake, cell)
    wanted = _wanted(manifests, data_types, f"recheck of {cell}")
    files = [file for one in wanted for file in taken_files(manifests[one])]
    previous = {item.taken.key: item for item in read_revisions(lake, cell) or ()}
    run = _Run(f"recheck {cell}", probe, previous, len(files), on_progress)
    found = asyncio.run(run.all(files, content=content, at_once=at_once))
    kept = _kept(previous, manifests, wanted)
    revisions = sorted([*found, *kept], key=lambda item: item.taken.key)
    stored = lake.write_table(
        RevisionsFile(cell.date, cell.venue),
        revisions_frame(revisions),
        REVISIONS_TABLE,
        sorted_by=("data_type", "source_symbol"),
    )
    return RecheckResult(cell, tuple(revisions), len(files), stored.bytes, stored.sha256)


def read_revisions(lake: Lake, cell: VenueDay) -> list[Revision] | None:
    """The stored results of a cell, ordered by type and symbol; None where nobody looked yet.

    Raises:
        CorruptData: the object cannot be read.
    """
    frame = lake.read_table(RevisionsFile(cell.date, cell.venue))
    return None if frame is None else revisions_of(frame)


def has_manifest(lake: Lake, cell: VenueDay, data_types: Collection[DataType]) -> bool:
    """An ingest of one of the types was recorded for the cell."""
    return any(lake.exists(RawManifest(cell.date, one, cell.venue)) for one in data_types)


def to_repair(revisions: Iterable[Revision]) -> list[tuple[BrokenPartition, tuple[str, ...]]]:
    """Partitions that have files to fetch again, each with the instruments of these files.

    What is gone at the vendor is not among them: what was taken is all there is.
    """
    found: dict[tuple[DataType, VenueDay], list[TakenFile]] = {}
    for revision in revisions:
        if revision.state.is_repairable:
            taken = revision.taken
            found.setdefault((taken.data_type, taken.cell), []).append(taken)
    return [
        (
            BrokenPartition(
                data_type, cell, MappingProxyType({DataState.PARTIAL: len(found[data_type, cell])})
            ),
            tuple(sorted({key for file in found[data_type, cell] for key in file.instrument_keys})),
        )
        for data_type, cell in sorted(found)
    ]


def plan_refetch(revisions: Iterable[Revision], *, lake: Lake, layout: LakeLayout) -> RepairPlan:
    """Everything that files to fetch again can touch: what has to run, at most.

    Candles and features compare digests of what they read, so that of these cells only what reads
    another value is written anew.
    """
    plan = plan_broken([broken for broken, _ in to_repair(revisions)], lake=lake, layout=layout)
    return RepairPlan(
        tuple(
            replace(item, why=MappingProxyType({_CHANGED: sum(item.why.values())}))
            if item.asset.startswith(_RAW)
            else item
            for item in plan.items
        )
    )


def _manifests(lake: Lake, cell: VenueDay) -> dict[DataType, list[ManifestRow]]:
    types = (one for one in DataType if one in VENUES[cell.venue].data_types)
    read = {one: read_raw_manifest(lake, cell, one) for one in types}
    return {one: rows for one, rows in read.items() if rows is not None}


def _wanted(
    manifests: Collection[DataType], data_types: Collection[DataType], subject: str
) -> set[DataType]:
    found = {one for one in manifests if one in data_types or not data_types}
    if not found:
        raise InvalidInput(
            subject,
            "nothing was taken that could be compared",
            was=", ".join(sorted(data_types)) or "no manifest",
            expected="a data type that was downloaded",
            remedy="Materialize raw_ticks of the day first",
        )
    return found


def _kept(
    previous: Mapping[tuple[DataType, str], Revision],
    manifests: Mapping[DataType, Sequence[ManifestRow]],
    wanted: Collection[DataType],
) -> list[Revision]:
    """Results of types that were not asked about, as far as they are about what is there now."""
    return [
        previous[file.key]
        for data_type, rows in manifests.items()
        if data_type not in wanted
        for file in taken_files(rows)
        if file.key in previous and previous[file.key].taken == file
    ]


@dataclass
class _Run:
    """The files of one recheck."""

    task: str
    probe: RevisionSource
    previous: Mapping[tuple[DataType, str], Revision]
    total: int
    listener: OnProgress | None
    done: int = 0
    answered: int = 0
    uncovered: NoEntitlement | None = None

    async def all(
        self, files: Sequence[TakenFile], *, content: bool, at_once: int
    ) -> list[Revision]:
        slots = asyncio.Semaphore(at_once)
        async with self.probe.opened(content=content) as ask:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one(file, ask, slots)) for file in files]
            except ExceptionGroup as errors:
                raise first_of(errors) from None
        if self.uncovered is not None and not self.answered:
            raise self.uncovered
        return [task.result() for task in tasks]

    async def _one(self, file: TakenFile, ask: Ask, slots: asyncio.Semaphore) -> Revision:
        previous = self.previous.get(file.key)
        wanted = DatasetFile(file.venue, file.data_type, file.date, file.source_symbol)
        async with slots:
            try:
                result = compare(file, await ask(wanted), previous)
                self.answered += 1
            except (KeyLocked, QuotaExhausted):
                raise  # every further request would meet the same
            except TickhandlerError as error:
                if isinstance(error, NoEntitlement):
                    self.uncovered = error
                result = unanswered(file, str(error), previous)
        self.done += 1
        if self.listener is not None:
            self.listener(Progress(self.task, self.done, self.total, "files", 0, 0))
        return result
