"""Bars of a span: candles, features and sets of them, under the rules of the question.

What belongs here: from files to rows. What does not: which files (`listing.py`) and what the rules
are (`rules.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.parquet import read_footer
from tickhandler_dagster.adapters.written_at import written_after
from tickhandler_dagster.client.joining import delayed_columns
from tickhandler_dagster.client.listing import DayFile
from tickhandler_dagster.client.rows import ReadPlan, Rows
from tickhandler_dagster.client.rules import (
    BarRules,
    Fill,
    marked,
    require_allowed,
    rule_columns,
    shaped,
)
from tickhandler_dagster.client.sources import BarSource
from tickhandler_dagster.client.spans import moment_of
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.errors import ConcurrentWrite, CorruptData, InvalidInput
from tickhandler_dagster.market.nearest import did_you_mean

_UNREADABLE = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.NoDataError)


@dataclass(frozen=True, slots=True)
class _OpenedFiles:
    """The files of a question on this machine, and the columns they have."""

    paths: Sequence[Path]
    schema: Mapping[str, pl.DataType]


@dataclass(frozen=True)
class BarQuestion:
    """Bars that are asked for.

    Attributes:
        lake: Where they are.
        source: What they are.
        files: Their files, in the order of the answer.
        span: Bars that open in it.
        columns: Names of columns; None for the source's usual ones.
        rules: What is done about gaps, versions and the future.
    """

    lake: Lake
    source: BarSource
    files: Sequence[DayFile]
    span: Span
    columns: Sequence[str] | None
    rules: BarRules

    def rows(self) -> Rows:
        """The answer, to be read."""
        return Rows(self._lazy, self._plan, collect=self._collect)

    def _collect(self) -> pl.DataFrame:
        files = self._opened()
        names = self._names(files.schema)
        try:
            found = self._marked(files, self._read_names(names)).collect()
        except _UNREADABLE as error:
            raise self._unreadable() from error
        require_allowed(found, self.source, self.rules)
        if self.rules.changes_nothing and found["is_final"].all():
            return found.select(names)  # no copy of what is most of the answers
        return shaped(found.lazy(), self.source, names, self.rules).collect()

    def _lazy(self) -> pl.LazyFrame:
        files = self._opened()
        names = self._names(files.schema)
        try:
            few = self._marked(files, rule_columns(self.source, names, self.rules)).collect()
        except _UNREADABLE as error:
            raise self._unreadable() from error
        require_allowed(few, self.source, self.rules)
        rows = self._marked(files, self._read_names(names))
        return shaped(rows, self.source, names, self.rules)

    def _plan(self) -> ReadPlan:
        files = self._opened()
        names = set(self._read_names(self._names(files.schema)))
        groups = rows = size = 0
        for path in files.paths:
            footer = read_footer(path)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                groups, rows = groups + 1, rows + group.num_rows
                size += sum(
                    column.total_compressed_size
                    for column in map(group.column, range(group.num_columns))
                    if column.path_in_schema.partition(".")[0] in names
                )
        items = tuple(file.item.path for file in self.files)
        return ReadPlan(len(files.paths), groups, 0, rows, size, items)

    def _marked(self, files: _OpenedFiles, names: Sequence[str]) -> pl.LazyFrame:
        # A schema of these columns alone: the whole one, of hundreds, would be compared with that
        # of every file. Days that are asked for as a whole are read without a filter, which would
        # look at every row to drop none.
        rows = pl.scan_parquet(
            list(files.paths),
            glob=False,
            hive_partitioning=False,
            schema={name: files.schema[name] for name in names},
            missing_columns="insert" if self.source.schema else "raise",
            extra_columns="ignore",
        )
        if self.span.start % US_PER_DAY or self.span.end % US_PER_DAY:
            opened = pl.col("ts_open")
            start, end = moment_of(self.span.start), moment_of(self.span.end)
            rows = rows.filter(opened >= start, opened < end)
        return marked(rows, self.source, self.rules, self._rewritten())

    def _rewritten(self) -> pl.LazyFrame | None:
        as_of_us = self.rules.as_of_us
        if as_of_us is None:
            return None
        later = written_after(self.lake, [file.item for file in self.files], moment_of(as_of_us))
        known: list[tuple[str, dt.date]] = [
            (file.key, file.cell.date)
            for file, is_later in zip(self.files, later, strict=True)
            if is_later
        ]
        return pl.LazyFrame(
            known, schema={"instrument_key": pl.String(), "day": pl.Date()}, orient="row"
        )

    def _opened(self) -> _OpenedFiles:
        found = self.lake.fetch([file.item for file in self.files])
        for file, path in zip(self.files, found, strict=True):
            if path is None:
                raise ConcurrentWrite(
                    file.item.path,
                    "named by its manifest and not there",
                    remedy="Ask again if the partition is being made; else make it again",
                )
        paths = [path for path in found if path is not None]
        return _OpenedFiles(paths, self.source.schema or pl.read_parquet_schema(paths[0]))

    def _names(self, known: Mapping[str, pl.DataType]) -> list[str]:
        if self.columns is None:
            return list(self.source.names or known)
        for name in self.columns:
            if name not in known:
                raise InvalidInput(
                    f"'{name}'",
                    f"no column of {self.source.asset}",
                    remedy=did_you_mean(
                        name, known, otherwise="See docs/data-dictionary.md for the names"
                    ),
                )
        key = ["instrument_key", "ts_open", "ts_close", "available_at"]
        return list(dict.fromkeys([*key, *self.columns, *delayed_columns(self.columns)]))

    def _read_names(self, names: Sequence[str]) -> list[str]:
        extra = ["close"] if self.rules.fill is Fill.FFILL else []
        read = [*names, *rule_columns(self.source, names, self.rules), *extra]
        return list(dict.fromkeys(read))

    def _unreadable(self) -> CorruptData:
        return CorruptData(
            self.source.asset,
            "a file of the span cannot be read, or has other columns than the others",
            remedy="Make the span again; the days may be of different versions",
        )
