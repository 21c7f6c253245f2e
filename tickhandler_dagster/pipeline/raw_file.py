"""One vendor file on its way into the lake: fetched, converted, published, or set aside.

What belongs here: the order of the steps of one file, and the states its instruments end in. What
does not: how many files do this at once (`raw_ticks.py`).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from tickhandler_dagster.adapters.grouped_conversion import convert_grouped_file
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.parquet import file_digest, file_size
from tickhandler_dagster.adapters.tick_conversion import convert_tick_file
from tickhandler_dagster.adapters.tick_writer import ConvertedTicks
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.dataset_file import DatasetFile
from tickhandler_dagster.market.days import VenueDay, day_span_us
from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidSetting,
    NoEntitlement,
    NotAvailable,
    StorageDenied,
    StorageFull,
    TickhandlerError,
)
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import QuarantinedFile, QuarantinedRows, RawTickFile
from tickhandler_dagster.market.planning import FileJob, unfetched_row
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VENUES
from tickhandler_dagster.pipeline.admission import MemoryGate, conversion_need
from tickhandler_dagster.pipeline.raw_identity import identity_of
from tickhandler_dagster.pipeline.refusals import Refusals

_T = TypeVar("_T")
_OF_THE_DEVICE = (StorageFull, StorageDenied, InvalidSetting)
_DOWNLOADS = 2
"""A corrupt file is fetched once more before it is believed to be corrupt at the vendor."""


class DatasetSource(Protocol):
    """Where vendor files come from."""

    async def fetch(self, file: DatasetFile, folder: Path) -> Path:
        """Download a file into a folder; raises one of `market/errors.py` where it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class Slots:
    """What files share.

    Attributes:
        requests: Downloads at once.
        workers: Runs conversions.
        uploads: Runs publishing.
        gate: Lets conversions begin.
    """

    requests: asyncio.Semaphore
    workers: Executor
    uploads: Executor
    gate: MemoryGate


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """How a file ended.

    Attributes:
        rows: Manifest rows of all its instruments.
        error: Why it is not in the lake.
        fetched_bytes: Size of what came, all downloads together.
        is_fetched: Something came.
        unexpected_rows: Rows of a grouped file nobody expected.
        not_replaced: What the attempt came to for instruments whose earlier data stays.
    """

    rows: tuple[ManifestRow, ...]
    error: TickhandlerError | None = None
    fetched_bytes: int = 0
    is_fetched: bool = False
    unexpected_rows: int = 0
    not_replaced: tuple[ManifestRow, ...] = ()

    def keeping(self, previous: Mapping[str, ManifestRow]) -> FileOutcome:
        """Rows without data give way to settled rows of an earlier run, whose objects stand."""
        if self.error is None:
            return self
        rows = tuple(_better(row, previous) for row in self.rows)
        beaten = (row for row, better in zip(self.rows, rows, strict=True) if better is not row)
        return replace(self, rows=rows, not_replaced=tuple(beaten))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Converted:
    ticks: Sequence[ConvertedTicks]
    unexpected: Path | None = None
    unexpected_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The last file that came, the size of all that came, and what it became."""

    local: Path
    size: int
    converted: _Converted | CorruptData


class _Refused(Exception):
    def __init__(self, error: TickhandlerError) -> None:
        self.error = error
        super().__init__(str(error))


@dataclass(frozen=True)
class FileIngest:
    """Takes files of one cell and data type into the lake."""

    cell: VenueDay
    data_type: DataType
    lake: Lake
    datasets: DatasetSource
    catalog: ExchangeCatalog

    async def run(
        self, job: FileJob, folder: Path, *, slots: Slots, refusals: Refusals
    ) -> FileOutcome:
        """Fetch, convert and publish one file; every failure but the lake's own is an outcome.

        Args:
            job: Which file.
            folder: For its local copies; removed at the end.
            slots: What files share.
            refusals: What the vendor refused so far.

        Raises:
            StorageFull: the device has no space left.
            StorageDenied: the lake may not be written.
            TransientError: the lake does not answer, or somebody else wrote the same object.
        """
        async with slots.requests:
            if refusals.ending is not None:
                return self._failed(job, refusals.ending)
            try:
                fetched = await self._fetched(job, folder, slots, refusals)
                # From here on an error is the lake's, whatever its class: the vendor has answered.
                return await self._kept(job, fetched, slots)
            except _Refused as refused:
                refusals.note(refused.error)
                return self._failed(job, refused.error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    async def _fetched(
        self, job: FileJob, folder: Path, slots: Slots, refusals: Refusals
    ) -> _Fetched:
        try:
            return await self._downloaded(job, folder, slots, refusals)
        except _OF_THE_DEVICE:
            raise
        except TickhandlerError as error:
            raise _Refused(error) from error

    async def _downloaded(
        self, job: FileJob, folder: Path, slots: Slots, refusals: Refusals
    ) -> _Fetched:
        file = DatasetFile(
            self.cell.venue, self.data_type, self.cell.date, symbol=job.source_symbol
        )
        size = 0
        for download in range(1, _DOWNLOADS + 1):
            local = await self.datasets.fetch(file, folder)
            refusals.note_success()
            size += file_size(local)
            try:
                async with slots.gate.admitted(conversion_need(file_size(local))):
                    converted = await _in(
                        slots.workers, self._convert, job, local, folder / f"converted-{download}"
                    )
            except CorruptData as error:
                if download == _DOWNLOADS:
                    return _Fetched(local, size, error)
                continue
            return _Fetched(local, size, converted)
        raise AssertionError(job)  # the last download returns

    async def _kept(self, job: FileJob, fetched: _Fetched, slots: Slots) -> FileOutcome:
        converted = fetched.converted
        if isinstance(converted, CorruptData):
            return await self._set_aside(
                job, fetched.local, converted, size=fetched.size, slots=slots
            )
        await self._publish(job, converted, slots)
        return FileOutcome(
            rows=tuple(ticks.row for ticks in converted.ticks),
            fetched_bytes=fetched.size,
            is_fetched=True,
            unexpected_rows=converted.unexpected_rows,
        )

    def _convert(self, job: FileJob, local: Path, folder: Path) -> _Converted:
        with storage_errors(folder):
            folder.mkdir()
        identities = [identity_of(self.cell, self.data_type, job, item) for item in job.instruments]
        if not job.is_grouped:
            return _Converted(ticks=[convert_tick_file(local, folder, identities[0])])
        group = convert_grouped_file(local, folder, identities)
        return _Converted(
            ticks=group.ticks,
            unexpected=group.unexpected,
            unexpected_rows=group.unexpected_rows,
        )

    async def _publish(self, job: FileJob, converted: _Converted, slots: Slots) -> None:
        await asyncio.gather(
            *(_in(slots.uploads, self._publish_ticks, ticks) for ticks in converted.ticks)
        )
        if job.is_grouped:
            group = f"{VENUES[self.cell.venue].key_name}:GROUP:{job.source_symbol}"
            await _in(slots.uploads, self._replace_rows, group, converted.unexpected)
        await _in(slots.uploads, self.lake.delete, self._quarantined_file(job))

    def _publish_ticks(self, converted: ConvertedTicks) -> None:
        """Quarantined rows first: where the ticks are in the lake, what was kept out of them is."""
        key = converted.row.instrument_key
        ticks = RawTickFile(self.cell.date, self.data_type, key)
        if converted.quarantine is not None:
            self._replace_rows(key, converted.quarantine)
        if converted.ticks is None:
            self.lake.delete(ticks)
        else:
            self.lake.publish(converted.ticks, ticks)
        if converted.quarantine is None:
            self._replace_rows(key, None)

    def _replace_rows(self, key: str, local: Path | None) -> None:
        rows = QuarantinedRows(self.cell.date, self.data_type, key)
        if local is None:
            self.lake.delete(rows)
        else:
            self.lake.publish(local, rows)

    async def _set_aside(
        self, job: FileJob, local: Path, error: CorruptData, *, size: int, slots: Slots
    ) -> FileOutcome:
        sha256, source_bytes = file_digest(local)
        await _in(slots.uploads, self.lake.publish, local, self._quarantined_file(job))
        failed = self._failed(job, error)
        return replace(
            failed,
            rows=tuple(
                replace(row, source_bytes=source_bytes, source_sha256=sha256) for row in failed.rows
            ),
            fetched_bytes=size,
            is_fetched=True,
        )

    def _failed(self, job: FileJob, error: TickhandlerError) -> FileOutcome:
        state, reason = self._verdict(error)
        rows = tuple(
            unfetched_row(
                self.cell,
                self.data_type,
                item,
                source_symbol=job.source_symbol,
                state=state,
                reason=reason,
            )
            for item in job.instruments
        )
        return FileOutcome(rows=rows, error=error)

    def _verdict(self, error: TickhandlerError) -> tuple[DataState, str]:
        if isinstance(error, NotAvailable):
            incidents = self.catalog.incidents_on(day_span_us(self.cell.date))
            if incidents:
                return DataState.INCIDENT, f"{error} Incident: {incidents[0].details}"
            return DataState.NOT_LISTED, str(error)
        if isinstance(error, NoEntitlement):
            return DataState.NO_ENTITLEMENT, str(error)
        if isinstance(error, CorruptData):
            return DataState.QUARANTINED, str(error)
        return DataState.FAILED, str(error)

    def _quarantined_file(self, job: FileJob) -> QuarantinedFile:
        return QuarantinedFile(
            self.cell.date, self.data_type, self.cell.venue, source_symbol=job.source_symbol
        )


def _better(row: ManifestRow, previous: Mapping[str, ManifestRow]) -> ManifestRow:
    standing = previous.get(row.instrument_key)
    if standing is None or standing.state not in {DataState.PRESENT, DataState.EMPTY}:
        return row
    return standing


async def _in(executor: Executor, work: Callable[..., _T], *args: object) -> _T:
    return await asyncio.get_running_loop().run_in_executor(executor, work, *args)
