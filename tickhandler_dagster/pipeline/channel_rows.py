"""The rows of an instrument's day out of one channel's files, every one of them accounted for.

What belongs here: counting what was read against what the manifests promise. What does not: opening
and cutting (`channel_reading.py`), and what the rows become.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.pipeline.candle_channels import ChannelFiles
from tickhandler_dagster.pipeline.channel_reading import open_channel


class DayRows:
    """One channel's rows of one instrument and day.

    Args:
        lake: Where the files are.
        files: Which files.
        columns: What is read of them.
        day: The day.
        key: The instrument, for messages.
        marks_start: Mark each file's first row (`TickFile`).

    Raises:
        MissingUpstream: a file that a manifest names is not in the lake.
        CorruptData: a file is not readable.
    """

    def __init__(
        self,
        lake: Lake,
        files: ChannelFiles,
        columns: Sequence[str],
        *,
        day: Span,
        key: str,
        marks_start: bool = False,
    ) -> None:
        self.files = files
        self.reader = open_channel(lake, files.files, columns, marks_start=marks_start)
        self._day = day
        self._key = key
        self._used = [0] * len(files.files)

    @property
    def total(self) -> int:
        """Rows of the day read so far."""
        return sum(self._used)

    def used_of(self, row: ManifestRow | None) -> int:
        """Rows of the day read so far of one of the files."""
        used = zip(self.files.files, self._used, strict=True)
        return sum(rows for item, rows in used if item is row)

    def before(self, *, reach_us: int) -> pl.DataFrame | None:
        """Rows stamped within `reach_us` before the day, else the latest before it.

        Nulls: None where there are none.
        """
        return self.reader.before(self._day.start, reach_us=reach_us)

    def slices(self) -> Iterator[list[pl.DataFrame]]:
        """The day's rows by exchange time: per slice a frame of each file that has some.

        Raises:
            CorruptData: a file cannot be read; when all is read, its rows of the day are not as
                many as its manifest says.
        """
        for parts in self.reader.slices(self._day):
            self._used = [used + part.height for used, part in zip(self._used, parts, strict=True)]
            found = [part for part in parts if part.height]
            if found:
                yield found
        self._check()

    def _check(self) -> None:
        for row, used in zip(self.files.files, self._used, strict=True):
            check_rows(self._key, row, used=used, expected=self.files.rows_of_day(row))


def check_rows(key: str, row: ManifestRow, *, used: int, expected: int) -> None:
    """Hold the rows read of a file against what its manifest row promises.

    Raises:
        CorruptData: they are not as many.
    """
    if used != expected:
        raise CorruptData(
            f"{key}: {row.data_type} file of {row.date}",
            "rows of the day and the manifest do not add up",
            was=used,
            expected=str(expected),
            remedy=f"Materialize raw_ticks/{row.data_type} of {row.date} again with force",
        )
