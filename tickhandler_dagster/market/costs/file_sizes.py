"""How large a vendor's file of a day will be, from the files of days that are known.

What belongs here: statistics of known files and the size of files like them. What does not: which
files are wanted (`market/planning.py`) and reading manifests (`pipeline/plan_statistics.py`).

A file is judged by the nearest thing that is known: its own days, else files of its kind on the
venue, else those of other venues, else published sizes. How far days are from what their files'
medians say gives the range.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tickhandler_dagster.market.costs.amounts import ZERO, Amount, Spread, spread_of
from tickhandler_dagster.market.costs.typical_sizes import (
    SHARE_OF_LARGEST,
    TYPICAL_FILES,
    UNCERTAINTY,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId

SIZES = ("source_bytes", "rows", "bytes", "objects")
"""What a file has a size in: bytes at the vendor, rows, bytes and objects in the lake."""

KNOWN_FILES: Mapping[str, pl.DataType] = MappingProxyType(
    {
        "date": pl.Date(),
        "venue": pl.String(),
        "data_type": pl.String(),
        "source_symbol": pl.String(),
        "kind": pl.String(),
        **{name: pl.Float64() for name in SIZES},
    }
)
"""Columns of known files; `kind` is the instrument type, or the group's name of a grouped file."""

_ENOUGH_OF_A_WEEKDAY = 2
_DAYS_PER_WEEK = 7


class Basis(StrEnum):
    """What a file's size is taken from, the nearest first."""

    FILE = "its own days"
    KIND = "files of its kind on the venue"
    ELSEWHERE = "files of its kind on other venues"
    PUBLISHED = "published sizes"


_WIDENED: Mapping[Basis, float] = MappingProxyType(
    {Basis.FILE: 1.0, Basis.KIND: 2.0, Basis.ELSEWHERE: 4.0, Basis.PUBLISHED: UNCERTAINTY}
)
"""By how much a range is wider than that of the venue's days."""


@dataclass(frozen=True, slots=True)
class FileAmounts:
    """Sizes of some files together.

    Attributes:
        source_bytes: At the vendor.
        rows: Rows.
        bytes: In the lake.
        objects: In the lake.
    """

    source_bytes: Amount = ZERO
    rows: Amount = ZERO
    bytes: Amount = ZERO
    objects: Amount = ZERO

    def __add__(self, other: FileAmounts) -> FileAmounts:
        """Both together."""
        return FileAmounts(*(getattr(self, name) + getattr(other, name) for name in SIZES))


NO_FILES = FileAmounts()

_Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class _TypeSizes:
    """What is known of a venue's files of a type.

    Attributes:
        rows: Row of each symbol in `medians`.
        medians: By weekday (0 for all of them), symbol and size.
        kinds: Mean sizes by kind.
        elsewhere: Mean sizes by kind, on other venues.
        published: Sizes of a file nothing is known of.
        days: How far the venue's days were from the medians of their files.
    """

    rows: Mapping[str, int]
    medians: _Values
    kinds: Mapping[str, _Values]
    elsewhere: Mapping[str, _Values]
    published: _Values
    days: Spread | None

    def basis(self, symbol: str, kind: str) -> Basis:
        if symbol in self.rows:
            return Basis.FILE
        if kind in self.kinds:
            return Basis.KIND
        return Basis.ELSEWHERE if kind in self.elsewhere else Basis.PUBLISHED

    def value(self, symbol: str, kind: str, weekday: int) -> _Values:
        basis = self.basis(symbol, kind)
        if basis is Basis.FILE:
            found: _Values = self.medians[weekday, self.rows[symbol]]
            return found
        tables = {Basis.KIND: self.kinds, Basis.ELSEWHERE: self.elsewhere}
        return tables[basis][kind] if basis in tables else self.published

    def spread(self, basis: Basis) -> Spread:
        if basis in {Basis.FILE, Basis.KIND} and self.days is not None:
            return self.days.widened(_WIDENED[basis])
        return Spread().widened(_WIDENED[basis])


class FileSizes:
    """What is known of files.

    Args:
        files: Rows of `KNOWN_FILES`: the latest days that are known, of any venue and type.
    """

    def __init__(self, files: pl.DataFrame | None = None) -> None:
        schema = dict(KNOWN_FILES)
        self._files = pl.DataFrame(schema=schema) if files is None else files.select(*schema)
        self._types: dict[tuple[VenueId, DataType], _TypeSizes] = {}

    def of(
        self, venue: VenueId, data_type: DataType, wanted: Sequence[tuple[str, str]], weekday: int
    ) -> FileAmounts:
        """The sizes of files of one day, together.

        Args:
            venue: Whose.
            data_type: Of which type.
            wanted: Symbol and kind of each file.
            weekday: 1 for Monday to 7.
        """
        known = self._of_type(venue, data_type)
        rows = [known.rows[symbol] for symbol, _ in wanted if symbol in known.rows]
        sums = {basis: np.zeros(len(SIZES)) for basis in Basis}
        sums[Basis.FILE] += known.medians[weekday, rows].sum(axis=0)
        others = Counter(kind for symbol, kind in wanted if symbol not in known.rows)
        for kind, count in others.items():
            basis = known.basis("", kind)
            sums[basis] += known.value("", kind, weekday) * count
        total = NO_FILES
        for basis, values in sums.items():
            spread = known.spread(basis)
            total += FileAmounts(*(Amount.exact(value).within(spread) for value in values))
        return total

    def bases(
        self, venue: VenueId, data_type: DataType, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[Basis, int]:
        """Number of the files by what their size is taken from."""
        known = self._of_type(venue, data_type)
        return Counter(known.basis(symbol, kind) for symbol, kind in wanted)

    def likely_bytes(self, venue: VenueId, data_type: DataType, symbol: str, kind: str) -> float:
        """The likely size of one file at the vendor."""
        return float(self._of_type(venue, data_type).value(symbol, kind, 0)[0])

    def _of_type(self, venue: VenueId, data_type: DataType) -> _TypeSizes:
        found = self._types.get((venue, data_type))
        if found is None:
            found = self._types[venue, data_type] = self._built(venue, data_type)
        return found

    def _built(self, venue: VenueId, data_type: DataType) -> _TypeSizes:
        of_type = self._files.filter(pl.col("data_type") == str(data_type))
        own = of_type.filter(pl.col("venue") == str(venue))
        typical = TYPICAL_FILES[data_type]
        share = 1.0 if typical.is_group else SHARE_OF_LARGEST
        stored = typical.source_bytes * typical.stored_share
        rows, medians = _medians(own)
        return _TypeSizes(
            rows=rows,
            medians=medians,
            kinds=_means(own),
            elsewhere=_means(of_type.filter(pl.col("venue") != str(venue))),
            published=np.array([typical.source_bytes, typical.rows, stored, 1 / share]) * share,
            days=_day_spread(own, rows, medians[0]),
        )


def _medians(own: pl.DataFrame) -> tuple[dict[str, int], _Values]:
    """Row of each symbol; its medians over all days, or a weekday's where there are enough."""
    every = own.group_by("source_symbol").agg(pl.col(SIZES).median()).sort("source_symbol")
    rows = {symbol: row for row, symbol in enumerate(every["source_symbol"])}
    medians = np.repeat(every.select(SIZES).to_numpy()[None, :, :], _DAYS_PER_WEEK + 1, axis=0)
    weekdays = (
        own.group_by("source_symbol", pl.col("date").dt.weekday().alias("weekday"))
        .agg(pl.col(SIZES).median(), pl.len().alias("days"))
        .filter(pl.col("days") >= _ENOUGH_OF_A_WEEKDAY)
    )
    for symbol, weekday, *values, _ in weekdays.iter_rows():
        medians[weekday, rows[symbol]] = values
    return rows, medians


def _means(files: pl.DataFrame) -> dict[str, _Values]:
    means = files.group_by("kind").agg(pl.col(SIZES).mean())
    return {kind: np.array(values) for kind, *values in means.iter_rows()}


def _day_spread(own: pl.DataFrame, rows: Mapping[str, int], medians: _Values) -> Spread | None:
    """How far days were from the medians of their files; None where no day is known."""
    usual: dict[dt.date, float] = {}
    actual: dict[dt.date, float] = {}
    for day, symbol, size in own.select("date", "source_symbol", "source_bytes").iter_rows():
        usual[day] = usual.get(day, 0.0) + float(medians[rows[symbol], 0])
        actual[day] = actual.get(day, 0.0) + size
    ratios = [actual[day] / usual[day] for day in sorted(usual) if usual[day] > 0]
    return spread_of(ratios) if ratios else None
