"""The ticks of one instrument on their way to one file: row rules, duplicates, facts, footer.

What belongs here: what is the same for a file of one instrument and for an instrument in a grouped
file. Both end in a local file; publishing is `pipeline/raw_ticks.py`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from tickhandler_dagster.adapters.duplicate_ids import IdWatch, repeated_rows
from tickhandler_dagster.adapters.manifest_json import FOOTER_KEY, row_to_json
from tickhandler_dagster.adapters.parquet import ParquetTableWriter, row_group_rows
from tickhandler_dagster.adapters.tick_files import TickFile
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.quality.row_rules import (
    REASON,
    SYMBOL,
    quarantine_table,
    split_rows,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_csv import CONVERSION_VERSION
from tickhandler_dagster.market.tick_facts import TickFacts, facts_of
from tickhandler_dagster.market.venues import VenueId


@dataclass(frozen=True, slots=True, kw_only=True)
class TickIdentity:
    """Whose ticks: the fields of a manifest row that are known before its file is read."""

    date: dt.date
    venue: VenueId
    data_type: DataType
    instrument_key: str
    tardis_symbol: str
    source_symbol: str
    is_simulated: bool

    def is_of(self, row: ManifestRow) -> bool:
        """The row is about these ticks."""
        return all(getattr(row, name) == value for name, value in _fields(self).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """The vendor file the ticks came in."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: TickFile) -> SourceFile:
        """The facts of a file that was read to its end."""
        return cls(bytes=file.bytes_read, sha256=file.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedTicks:
    """Finished local files of an instrument.

    Attributes:
        row: The manifest row; the size and digest of `ticks` are in it.
        ticks: The Parquet file; None where the vendor's file held no row of the instrument.
        quarantine: Rows kept out; None where there are none.
    """

    row: ManifestRow
    ticks: Path | None
    quarantine: Path | None

    @classmethod
    def of_no_rows(cls, identity: TickIdentity, source: SourceFile) -> ConvertedTicks:
        """The result for an instrument the vendor's file holds no row of."""
        row = ManifestRow(
            **_fields(identity),
            state=DataState.EMPTY,
            kernel_version=CONVERSION_VERSION,
            source_bytes=source.bytes,
            source_sha256=source.sha256,
        )
        return cls(row=row, ticks=None, quarantine=None)


class QuarantineWriter:
    """Rows kept out of one object, written to a file only where there are some."""

    def __init__(self, path: Path, data_type: DataType) -> None:
        self._path = path
        self._table = quarantine_table(RAW_TABLES[data_type])
        self._writer: ParquetTableWriter | None = None
        self.rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows that have the columns of `quarantine_table`."""
        if frame.is_empty():
            return
        if self._writer is None:
            self._writer = ParquetTableWriter(self._path, self._table)
        self._writer.write(frame)
        self.rows += frame.height

    def abandon(self) -> None:
        """Remove what was written."""
        if self._writer is not None:
            with self._writer:
                pass

    def finish(self) -> Path | None:
        """The finished file; None where nothing was written."""
        if self._writer is None:
            return None
        with self._writer as writer:
            writer.finish()
        return self._path


class TickWriter:
    """Takes an instrument's rows in file order and makes its files.

    Args:
        folder: For the files of this instrument; nothing else writes `stem` there.
        stem: Beginning of the file names.
        identity: Whose ticks.
    """

    def __init__(self, folder: Path, stem: str, identity: TickIdentity) -> None:
        self._identity = identity
        self._table = RAW_TABLES[identity.data_type]
        self._path = folder / f"{stem}.parquet"
        self._unique_path = folder / f"{stem}.unique.parquet"
        self._quarantine = QuarantineWriter(
            folder / f"{stem}.quarantine.parquet", identity.data_type
        )
        self._writer = ParquetTableWriter(self._path, self._table.stored)
        self._ids = IdWatch(folder / f"{stem}.hashes")
        self._facts = TickFacts()
        self._source_rows = 0
        self._duplicates = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows that have the stored columns."""
        kept, kept_out = split_rows(frame, self._table)
        self._source_rows += frame.height
        self._quarantine.write(
            kept_out.with_columns(pl.lit(self._identity.tardis_symbol).alias(SYMBOL))
        )
        if self._table.has_ids:
            self._ids.observe(kept.get_column("id"))
        self._facts += facts_of(kept, self._identity.date)
        self._writer.write(kept)

    def finish(self, source: SourceFile, extra: dict[str, str] | None = None) -> ConvertedTicks:
        """Close the files.

        Args:
            source: The vendor's file, now read to its end.
            extra: Further texts for the footer; the same in every run over the same vendor file.
        """
        if not self._source_rows:
            self.abandon()
            return ConvertedTicks.of_no_rows(self._identity, source)
        if next(self._ids.suspects(), None) is not None:
            self._keep_first_of_each_id()
        self._ids.close()
        quarantine = self._quarantine.finish()
        row = self._row(source)
        with self._writer as writer:
            stored = writer.finish({FOOTER_KEY: row_to_json(row)} | (extra or {}))
        return ConvertedTicks(
            row=self._row(source, size=stored.bytes, sha256=stored.sha256),
            ticks=self._path,
            quarantine=quarantine,
        )

    def abandon(self) -> None:
        """Remove what was written."""
        self._ids.close()
        self._quarantine.abandon()
        with self._writer:
            pass

    def _keep_first_of_each_id(self) -> None:
        """Rewrite the file without repeats: so rare that the first write assumes none."""
        with self._writer as writer:
            rows = writer.finish().rows
        repeated = repeated_rows(self._ids, lambda: _ids(self._path), rows)
        self._writer = ParquetTableWriter(self._unique_path, self._table.stored)
        self._facts = TickFacts()
        for frame in _masked_frames(self._path, repeated, row_group_rows(self._table.stored)):
            self._take_unique(frame)
        self._path.unlink()
        self._path = self._unique_path

    def _take_unique(self, frame: pl.DataFrame) -> None:
        is_repeat = frame.get_column("_is_repeat")
        repeats = frame.filter(is_repeat)
        self._duplicates += repeats.height
        self._quarantine.write(
            repeats.with_columns(
                pl.lit(str(RuleName.DUPLICATE_ID)).alias(REASON),
                pl.lit(self._identity.tardis_symbol).alias(SYMBOL),
            )
        )
        kept = frame.filter(~is_repeat)
        self._facts += facts_of(kept, self._identity.date)
        self._writer.write(kept)

    def _row(self, source: SourceFile, *, size: int = 0, sha256: str | None = None) -> ManifestRow:
        return ManifestRow(
            **_fields(self._identity),
            **_fields(self._facts),
            state=DataState.PRESENT,
            kernel_version=CONVERSION_VERSION,
            source_rows=self._source_rows,
            quarantined_rows=self._quarantine.rows,
            duplicate_rows=self._duplicates,
            bytes=size,
            content_sha256=sha256,
            source_bytes=source.bytes,
            source_sha256=source.sha256,
        )


def _fields(part: TickIdentity | TickFacts) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}


def _ids(path: Path) -> Iterator[pl.Series]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["id"]):
            yield pl.Series("id", batch.column(0), dtype=pl.String)


def _masked_frames(
    path: Path, repeated: npt.NDArray[np.bool_], batch_rows: int
) -> Iterator[pl.DataFrame]:
    offset = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=batch_rows):
            frame = pl.DataFrame(batch)
            mask = repeated[offset : offset + frame.height]
            offset += frame.height
            yield frame.with_columns(pl.Series("_is_repeat", mask))
