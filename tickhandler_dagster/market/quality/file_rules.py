"""Rules that condemn a whole file, applied to one block of its rows after another.

What does not belong here: rules about the text (`tick_csv.py`) and about single rows
(`row_rules.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.quality.rules import RULES, RuleName
from tickhandler_dagster.market.raw_tables import RawTable

_MICROSECONDS = range(10**14, 10**16)
"""1973 to 2286 in microseconds; the same years in milliseconds or nanoseconds lie outside."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """The rules of a file.

    Attributes:
        table: The data type's columns.
        day: The file's day; arrival times lie in it.
        subject: The file's name in errors.
    """

    table: RawTable
    day: dt.date
    subject: str

    def check(self, frame: pl.DataFrame, previous_local_us: int | None) -> int | None:
        """Accept a block; the arrival of its last row, to be given with the next block.

        Args:
            frame: Rows in file order.
            previous_local_us: What the call for the block before returned; None for the first.

        Raises:
            CorruptData: a rule is broken.
        """
        if frame.is_empty():
            return previous_local_us
        self._check_nulls(frame)
        local = frame.get_column("local_timestamp").to_physical()
        first, last = local[0], local[-1]
        self._check_magnitude(frame.get_column("timestamp").to_physical(), local)
        if not local.is_sorted() or (previous_local_us is not None and first < previous_local_us):
            raise self._broken(RuleName.ARRIVAL_NON_DECREASING, was=None, expected=None)
        start, end = day_span_us(self.day)
        if first < start or last >= end:
            raise self._broken(
                RuleName.ARRIVAL_INSIDE_DAY,
                was=f"{_iso(first)} to {_iso(last)}",
                expected=f"all of {self.day}",
            )
        return int(last)

    def _check_nulls(self, frame: pl.DataFrame) -> None:
        required = [column.name for column in self.table.stored.columns if not column.is_nullable]
        empty = [name for name in required if frame.get_column(name).null_count()]
        if empty:
            raise self._broken(
                RuleName.NO_NULLS_IN_KEY_COLUMNS, was=f"empty {', '.join(empty)}", expected=None
            )

    def _check_magnitude(self, exchange: pl.Series, local: pl.Series) -> None:
        """Single wild exchange times are for the row rules, a block of them is a wrong unit."""
        lowest, highest = int(local.min()), int(local.max())  # type: ignore[arg-type]  # int64, no nulls
        if lowest not in _MICROSECONDS or highest not in _MICROSECONDS:
            raise self._broken(
                RuleName.MICROSECOND_TIMES, was=f"local_timestamp {lowest}", expected=None
            )
        median = int(exchange.median())  # type: ignore[arg-type]  # int64, no nulls
        if median not in _MICROSECONDS:
            raise self._broken(RuleName.MICROSECOND_TIMES, was=f"timestamp {median}", expected=None)

    def _broken(self, rule: RuleName, *, was: str | None, expected: str | None) -> CorruptData:
        return CorruptData(
            self.subject,
            f"{RULES[rule].meaning} [{rule}]",
            was=was,
            expected=expected,
            remedy="Run the partition again; if it stays, report the file to the vendor",
        )


def _iso(microseconds: int) -> str:
    return (
        dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
    ).isoformat()
