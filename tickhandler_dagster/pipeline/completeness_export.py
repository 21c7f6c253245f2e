"""The rows of a report as CSV and Parquet beside its page.

What belongs here: writing them as they come, a batch in memory at a time. The files stand outside
the lake: they are for a spreadsheet or another tool.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.adapters.parquet import ParquetTableWriter
from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE

CSV_NAME = "completeness.csv"
PARQUET_NAME = "completeness.parquet"


class RowsExport:
    """Writes rows of `COMPLETENESS_TABLE` to both files; they appear whole at the end, or not.

    Args:
        folder: Where; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._csv = self._open.enter_context(_partial(self._folder / CSV_NAME).open("wb"))
        self._parquet = self._open.enter_context(
            ParquetTableWriter(_partial(self._folder / PARQUET_NAME), COMPLETENESS_TABLE)
        )
        with storage_errors(self._folder):
            self._write_csv(COMPLETENESS_TABLE.polars_schema, has_header=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)
        for name in (CSV_NAME, PARQUET_NAME):
            _partial(self._folder / name).unlink(missing_ok=True)

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows; they follow those before in the order of the table's key.

        Raises:
            StorageFull: the device has no space left.
        """
        self._parquet.write(rows)
        with storage_errors(self._folder):
            self._write_csv(rows.select(COMPLETENESS_TABLE.names), has_header=False)

    def finish(self) -> list[Path]:
        """Make both files visible; gives their paths.

        Raises:
            StorageFull: the device has no space left.
        """
        self._parquet.finish()
        with storage_errors(self._folder):
            self._csv.close()
            paths = [self._folder / CSV_NAME, self._folder / PARQUET_NAME]
            for path in paths:
                _partial(path).replace(path)
        return paths

    def _write_csv(self, rows: pl.DataFrame | pl.Schema, *, has_header: bool) -> None:
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(schema=rows)
        frame.write_csv(
            self._csv, include_header=has_header, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ"
        )


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")
