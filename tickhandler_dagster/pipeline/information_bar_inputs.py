"""What an instrument's information-driven bars are built from: the day's trades and a threshold.

What belongs here: from the inputs of candles and yesterday's 24 h candle to one value per
instrument, without reading a tick. What does not: building and publishing (`information_bars.py`,
`information_bar_files.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.information import INFORMATION_KERNEL_VERSION, TradesDay
from tickhandler_dagster.market.bars.status import Closing
from tickhandler_dagster.market.bars.thresholds import (
    THRESHOLD_MEANINGS,
    DayTotals,
    Threshold,
    ThresholdState,
    threshold_of,
)
from tickhandler_dagster.market.catalog import ExchangeCatalog
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.candle_channels import is_settled
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay, instrument_days

_TOTALS = ("trade_count", "volume", "notional", "coverage", "is_final", "available_at")


@dataclass(frozen=True, slots=True)
class InformationDay:
    """The inputs of one instrument's information-driven bars.

    Attributes:
        raw: Its raw files of trades.
        day: What the kernel needs besides trades; without the trade before the day, which is in the
            files.
        thresholds: What fills a bar, by kind, or why there are no bars.
    """

    raw: InstrumentDay
    day: TradesDay
    thresholds: Mapping[BarKind, Threshold]

    @property
    def key(self) -> str:
        """Canonical key of the instrument."""
        return self.day.instrument_key

    @property
    def is_simulated(self) -> bool:
        """A source came from the sandbox."""
        return any(row.is_simulated for row in self.raw.files)

    @property
    def fixed(self) -> dict[BarKind, Threshold]:
        """The thresholds that have a value."""
        return {
            kind: threshold
            for kind, threshold in self.thresholds.items()
            if threshold.state is ThresholdState.FIXED
        }

    def digest(self, kind: BarKind) -> str:
        """Hash of everything the kind's bars depend on: equal digests, equal bars."""
        known = {
            "kernel": INFORMATION_KERNEL_VERSION,
            "day": dataclasses.asdict(self.day),
            "state": self.raw.state,
            "files": [(row.date.isoformat(), row.content_sha256) for row in self.raw.files],
            "threshold": dataclasses.asdict(self.thresholds[kind]),
            "is_simulated": self.is_simulated,
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def information_days(
    cell: VenueDay,
    *,
    lake: Lake,
    catalog: ExchangeCatalog,
    universe: pl.DataFrame,
    kinds: tuple[BarKind, ...],
) -> list[InformationDay]:
    """The inputs of every instrument of the universe that has trades there, ordered by key.

    Raises:
        MissingUpstream: the raw trades of the day were never ingested.
        CorruptData: a manifest or a candle cannot be read.
    """
    days = instrument_days(cell, lake=lake, catalog=catalog, universe=universe)
    before, after = (_settled(lake, cell.shifted(step), days) for step in (-1, 1))
    return [
        InformationDay(
            raw,
            _trades_day(raw, has_previous=is_before_in, has_next=is_after_in),
            _thresholds(raw, day_totals(lake, cell.shifted(-1), raw.facts.instrument_key), kinds),
        )
        for raw, is_before_in, is_after_in in zip(days, before, after, strict=True)
    ]


def day_totals(lake: Lake, cell: VenueDay, key: str) -> DayTotals | None:
    """What the instrument's 24 h candle says of the day; None where the lake has none.

    Raises:
        CorruptData: the candle cannot be read.
    """
    candle = lake.read_table(CandleFile(cell.date, Timeframe.H24, key), columns=_TOTALS)
    if candle is None or not candle.height:
        return None
    row = candle.with_columns(pl.col("available_at").to_physical()).row(0, named=True)
    return DayTotals(
        coverage=row["coverage"],
        totals={kind: row[kind.measure] for kind in BarKind},
        is_final=row["is_final"],
        available_us=row["available_at"],
    )


def reason_of(threshold: Threshold, cell: VenueDay) -> str | None:
    """Why the cell's bars have no threshold, and what to do; None where they have one."""
    if threshold.state is ThresholdState.FIXED:
        return None
    before = cell.shifted(-1)
    reason = f"{THRESHOLD_MEANINGS[threshold.state]} ({before.date})"
    if threshold.state is not ThresholdState.NO_CANDLE:
        return reason
    return f"{reason}; run: {materialize('candles/24h', before)}"


def _settled(lake: Lake, cell: VenueDay, days: list[InstrumentDay]) -> list[bool]:
    """Per instrument: the neighbouring day's trades are in or were not expected."""
    rows = read_raw_manifest(lake, cell, DataType.TRADES)
    manifest = None if rows is None else {row.instrument_key: row for row in rows}
    return [is_settled(manifest, day.facts.instrument_key) for day in days]


def _trades_day(raw: InstrumentDay, *, has_previous: bool, has_next: bool) -> TradesDay:
    """The facts of a candle's day without those of other channels, whose files change no trade."""
    facts = raw.facts
    return TradesDay(
        instrument_key=facts.instrument_key,
        venue=facts.venue,
        day=facts.day,
        terms=facts.terms,
        closing=Closing(
            facts.day,
            has_previous=has_previous or facts.closing.has_previous,
            has_next=has_next or facts.closing.has_next,
        ),
        clock=facts.clock,
        gaps=tuple(facts.gaps),
        sources=_hashes(raw.previous, raw.own),
        sources_after=_hashes(raw.following),
    )


def _hashes(*rows: ManifestRow | None) -> tuple[str, ...]:
    return tuple(
        row.source_sha256 for row in rows if row is not None and row.source_sha256 is not None
    )


def _thresholds(
    raw: InstrumentDay, yesterday: DayTotals | None, kinds: tuple[BarKind, ...]
) -> dict[BarKind, Threshold]:
    has_known_units = raw.facts.terms.has_known_units
    return {kind: threshold_of(kind, yesterday, has_known_units=has_known_units) for kind in kinds}
