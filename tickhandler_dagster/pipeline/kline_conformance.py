"""How our bars of one minute agree with the venue's own klines on a day.

What belongs here: the use case from cell to stored differences and findings. What does not: the
comparison (`market/kline_comparison.py`) and where klines come from (`adapters/klines`).
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidSetting, MissingUpstream
from tickhandler_dagster.market.kline_comparison import (
    BAR_COLUMNS,
    SOURCE,
    KlineComparison,
    compare_klines,
    conformance_rate,
    kline_findings,
)
from tickhandler_dagster.market.kline_differences_table import (
    KLINE_DIFFERENCES_TABLE,
    DifferenceCause,
)
from tickhandler_dagster.market.klines import FetchedKlines, KlineInstrument
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    FindingsFile,
    KlineDifferencesFile,
    TickGapsFile,
)
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.gaps import GapKind
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.universe import read_instruments

BATCH = 50
"""Instruments whose klines are in memory together: about 5 MB."""

Gaps = Mapping[str, Sequence[tuple[dt.datetime, dt.datetime]]]


class KlineSource(Protocol):
    """Where klines come from."""

    def fetch(self, cell: VenueDay, instruments: Sequence[KlineInstrument]) -> FetchedKlines:
        """The klines of a day of each instrument, or why there are none."""
        ...


class NoKlines:
    """The source of an installation that compares with none."""

    def fetch(self, cell: VenueDay, _: Sequence[KlineInstrument]) -> FetchedKlines:
        """Say what to set.

        Raises:
            InvalidSetting: always.
        """
        raise InvalidSetting(
            "KLINES_SOURCE",
            f"off, and {cell} has no klines to be compared with",
            was="off",
            expected="venue, or the path of a file or folder of klines",
            remedy="Set it, or do not select kline_conformance",
        )


@dataclass(frozen=True, slots=True)
class InstrumentConformance:
    """An instrument's day in numbers.

    Attributes:
        instrument_key: Canonical key.
        minutes: Minutes compared.
        by_cause: Differing minutes of every cause.
    """

    instrument_key: str
    minutes: int
    by_cause: Mapping[DifferenceCause, int]

    @property
    def differing(self) -> int:
        """Minutes that differ."""
        return sum(self.by_cause.values())

    @property
    def rate(self) -> float | None:
        """The share of minutes without a difference; None where nothing was compared."""
        return conformance_rate(self.minutes, self.differing)


@dataclass(frozen=True, slots=True, kw_only=True)
class KlineConformance:
    """What a comparison of a cell found.

    Attributes:
        cell: The day and venue.
        instruments: The compared ones, ordered by key.
        absent: Why there are no klines, by the keys of the others.
        findings: Broken rules.
        requests: Requests sent.
        content_sha256: Hash of the stored differences.
        is_simulated: Bars came from the sandbox.
    """

    cell: VenueDay
    instruments: tuple[InstrumentConformance, ...]
    absent: Mapping[str, str]
    findings: tuple[Finding, ...]
    requests: int
    content_sha256: str
    is_simulated: bool

    @property
    def minutes(self) -> int:
        """Minutes compared."""
        return sum(one.minutes for one in self.instruments)

    @property
    def by_cause(self) -> Mapping[DifferenceCause, int]:
        """Differing minutes of every cause."""
        return {
            cause: sum(one.by_cause[cause] for one in self.instruments) for cause in DifferenceCause
        }

    @property
    def rate(self) -> float | None:
        """The share of all minutes without a difference; None where nothing was compared."""
        return conformance_rate(self.minutes, sum(self.by_cause.values()))


@dataclass(slots=True)
class _Found:
    """What the batches so far gave."""

    instruments: list[InstrumentConformance] = field(default_factory=list)
    differences: list[pl.DataFrame] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    def take(self, comparison: KlineComparison, cell: VenueDay) -> None:
        """Add an instrument."""
        self.instruments.append(
            InstrumentConformance(
                comparison.instrument_key, comparison.minutes, comparison.by_cause
            )
        )
        self.findings += kline_findings(comparison, cell)
        if comparison.differences.height:
            self.differences.append(comparison.differences)


def compare_with_klines(
    cell: VenueDay, *, lake: Lake, source: KlineSource, on_progress: OnProgress | None = None
) -> KlineConformance:
    """Compare the bars of one minute of a cell with the source's klines and store what differs.

    Of a bar's file only the columns compared are read. Instruments without klines are named and
    not compared. The same bars and klines give the same bytes.

    Args:
        cell: The UTC day and venue.
        lake: Where bars are read and differences are written.
        source: Where klines come from.
        on_progress: Called after each batch of instruments.

    Raises:
        MissingUpstream: the day's candles or instruments are not in the lake.
        InvalidSetting: there is no source.
        TransientError: the venue does not answer; another try can succeed.
        PermanentError: the venue refuses, or klines cannot be read.
    """
    manifest = _manifest(lake, cell)
    instruments, unlisted = _instruments(lake, cell, manifest["instrument_key"].to_list())
    gaps, found = _gaps(lake, cell), _Found(absent=unlisted)
    for first in range(0, len(instruments), BATCH):
        batch = instruments[first : first + BATCH]
        klines = source.fetch(cell, batch)
        found.absent |= klines.absent
        found.requests += klines.requests
        for instrument in batch:
            key = instrument.instrument_key
            if key in klines.frames:
                bars = _bars(lake, cell, key)
                touched = gaps.get(key, ())
                found.take(
                    compare_klines(bars, klines.frames[key], instrument, cell, gaps=touched), cell
                )
        _tell(on_progress, cell, first + len(batch), len(instruments))
    return _stored(lake, cell, found, is_simulated=bool(manifest["is_simulated"].any()))


def _manifest(lake: Lake, cell: VenueDay) -> pl.DataFrame:
    manifest = lake.read_table(
        CandleManifest(cell.date, Timeframe.M1, cell.venue),
        columns=["instrument_key", "is_simulated"],
    )
    if manifest is None:
        raise MissingUpstream(
            f"candles/1m {cell}",
            "not materialized",
            remedy=f"Run: {materialize('candles/1m', cell)}",
        )
    return manifest


def _instruments(
    lake: Lake, cell: VenueDay, keys: Sequence[str]
) -> tuple[list[KlineInstrument], dict[str, str]]:
    """Instruments with bars that the day lists, and why the others are not compared."""
    columns = ("instrument_key", "exchange_raw_symbol", "is_inverse")
    listed = {
        row[0]: KlineInstrument(row[0], row[1].upper(), is_inverse=row[2])
        for row in read_instruments(lake, cell).select(columns).iter_rows()
    }
    unlisted = {key: "only a neighbouring day lists it" for key in keys if key not in listed}
    return [listed[key] for key in sorted(keys) if key in listed], unlisted


def _gaps(lake: Lake, cell: VenueDay) -> Gaps:
    """Known holes in the trades by instrument; none where the raw day was never audited."""
    stored = lake.read_table(
        TickGapsFile(cell.date, DataType.TRADES, cell.venue),
        columns=["instrument_key", "kind", "gap_start", "gap_end"],
    )
    found: dict[str, list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
    if stored is not None:
        for key, kind, start, end in stored.iter_rows():
            if kind != GapKind.RESNAPSHOT:
                found[key].append((start, end))
    return found


def _bars(lake: Lake, cell: VenueDay, key: str) -> pl.DataFrame:
    item = CandleFile(cell.date, Timeframe.M1, key)
    bars = lake.read_table(item, columns=BAR_COLUMNS)
    if bars is None:
        raise MissingUpstream(
            item.path,
            "the manifest names it, and it is not there",
            remedy=f"Run: {materialize('candles/1m', cell)}",
        )
    return bars


def _stored(lake: Lake, cell: VenueDay, found: _Found, *, is_simulated: bool) -> KlineConformance:
    empty = pl.DataFrame(schema=KLINE_DIFFERENCES_TABLE.polars_schema)
    stored = lake.write_table(
        KlineDifferencesFile(cell.date, cell.venue),
        pl.concat([empty, *found.differences]),
        KLINE_DIFFERENCES_TABLE,
        sorted_by=("instrument_key", "ts_open"),
    )
    lake.write_table(
        FindingsFile(cell.date, cell.venue, SOURCE), findings_frame(found.findings), FINDINGS_TABLE
    )
    return KlineConformance(
        cell=cell,
        instruments=tuple(found.instruments),
        absent=dict(sorted(found.absent.items())),
        findings=tuple(found.findings),
        requests=found.requests,
        content_sha256=stored.sha256,
        is_simulated=is_simulated,
    )


def _tell(listener: OnProgress | None, cell: VenueDay, done: int, total: int) -> None:
    if listener is not None:
        listener(Progress(f"kline_conformance {cell}", done, total, "instruments"))
