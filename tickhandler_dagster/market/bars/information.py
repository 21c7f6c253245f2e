"""Information-driven bars: trades in, bars of a fixed number of trades, base or quote asset out.

What belongs here: which trades make a bar, and the state between slices. What does not: what is
computed from a bar's trades, which is the kernel of the time bars (`base.py`) and the registry
(`features/`), and the thresholds (`thresholds.py`).

A day begins with an empty bar at midnight. A bar closes with the trade that brings its running sum
to the threshold or above; that trade is in it whole, and the next bar begins empty. A trade is
never split: one worth several thresholds closes one bar. The day's end closes the last bar, which
is then not complete. Each bar spans the time since the bar before it closed (the first: since
midnight) until it closes itself, so that the bars of a day follow each other without a hole;
several can close at one exchange time, and then span no time at all.

Bars stand on every trade of the day before them: one trade more at midnight moves all of them. That
is why a bar is known no earlier than the bar before it, and final only when nothing of the day's
beginning can change.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bar_kinds import BarKind
from tickhandler_dagster.market.bars.base import US_PER_MS, PreviousTrade, run_statistics
from tickhandler_dagster.market.bars.exact import WATERMARK_US
from tickhandler_dagster.market.bars.filling import Positions, counted_ends, filled_ends
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.order import in_total_order
from tickhandler_dagster.market.bars.statistics import BarStatistics
from tickhandler_dagster.market.bars.status import Closing, overlap_us
from tickhandler_dagster.market.bars.thresholds import Threshold
from tickhandler_dagster.market.bars.ticks import Int64Array, TradeTicks, concatenated
from tickhandler_dagster.market.bars.units import ContractTerms, Sizes, sizes
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.registry import with_derived
from tickhandler_dagster.market.information_bar_table import (
    INFORMATION_BAR_TABLE,
    SHARED_COLUMNS,
)
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId

INFORMATION_KERNEL_VERSION = "1"
"""Goes up with every change that can change a bar; bars of another version are built anew."""

_Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradesDay:
    """All that is known of an instrument's day of trades besides the trades.

    Attributes:
        instrument_key: Canonical key.
        venue: Its venue.
        day: The UTC day.
        terms: What its amounts are worth.
        closing: Which neighbouring files of trades are in.
        clock: `exchange`, or `local` where the venue gives no exchange time.
        gaps: Spans in which trades are missing, reported or found.
        previous: Last trade before the day; None where none is known.
        sources: Hashes of the vendor's files of the day before and of the day.
        sources_after: Hash of the vendor's file of the day after; empty where there is none.
    """

    instrument_key: str
    venue: VenueId
    day: Span
    terms: ContractTerms
    closing: Closing
    clock: str = "exchange"
    gaps: Sequence[Span] = ()
    previous: PreviousTrade | None = None
    sources: tuple[str, ...] = ()
    sources_after: tuple[str, ...] = ()


class _Filling:
    """Bars of one kind, as trades come.

    The trades of the open bar are kept until it closes, at most as many as its threshold allows:
    every bar is computed at once from all its trades, whatever slices they came in.
    """

    def __init__(
        self, kind: BarKind, threshold: float, terms: ContractTerms, previous_us: int | None
    ) -> None:
        self._kind = kind
        self._threshold = threshold
        self._terms = terms
        self._previous_us = previous_us
        self._open: TradeTicks | None = None
        self._parts: list[_Arrays] = []

    def add(self, ordered: TradeTicks) -> None:
        ticks = ordered if self._open is None else concatenated([self._open, ordered])
        true_sizes = sizes(ticks, self._terms)
        ends = self._ends(ticks, true_sizes)
        closed = int(ends[-1]) if len(ends) else 0
        # by positions, which copies: a view would keep the whole slice in memory
        waiting = np.arange(closed, len(ticks))
        self._open = ticks.take(waiting) if len(waiting) else None
        if closed:
            self._close(ticks.take(slice(closed)), true_sizes, ends)

    def finish(self) -> tuple[_Arrays, bool] | None:
        """One array per statistic, and whether the last bar is complete; None without a bar."""
        is_complete = self._open is None
        if self._open is not None:
            true_sizes = sizes(self._open, self._terms)
            self._close(self._open, true_sizes, np.array([len(self._open)]))
        if not self._parts:
            return None
        names = self._parts[0]
        return {
            name: np.concatenate([part[name] for part in self._parts]) for name in names
        }, is_complete

    def _ends(self, ticks: TradeTicks, true_sizes: Sizes | None) -> Positions:
        if self._kind is BarKind.TICK or true_sizes is None:
            return counted_ends(len(ticks), int(self._threshold))
        amounts = true_sizes.base if self._kind is BarKind.VOLUME else true_sizes.quote
        return filled_ends(amounts, self._threshold)

    def _close(self, ticks: TradeTicks, true_sizes: Sizes | None, ends: Positions) -> None:
        starts = np.concatenate((np.zeros(1, dtype=np.intp), ends[:-1]))
        inside = (
            None
            if true_sizes is None
            else Sizes(true_sizes.base[: len(ticks)], true_sizes.quote[: len(ticks)])
        )
        self._parts.append(run_statistics(ticks, inside, starts, previous_us=self._previous_us))
        self._previous_us = int(ticks.timestamp[-1])


class InformationBars:
    """Builds the information-driven bars of one instrument and day.

    Args:
        facts: What is known of the day besides its trades.
        thresholds: What fills a bar, by kind; every one fixed, and none of a kind that needs sizes
            where the contract's units are unknown.
    """

    def __init__(self, facts: TradesDay, thresholds: Mapping[BarKind, Threshold]) -> None:
        self._facts = facts
        self._thresholds = thresholds
        previous_us = None if facts.previous is None else facts.previous.timestamp_us
        self._fillings = {
            kind: _Filling(kind, _value(kind, threshold, facts), facts.terms, previous_us)
            for kind, threshold in thresholds.items()
        }
        self._last_us = facts.day.start - 1

    def add(self, ticks: TradeTicks) -> None:
        """Add all trades of a span of exchange time that follows the spans before it.

        Raises:
            CorruptData: the trades are not in the day, or not after those already added.
        """
        if not len(ticks):
            return
        ordered = in_total_order(ticks)
        first, last = int(ordered.timestamp[0]), int(ordered.timestamp[-1])
        if first <= self._last_us or last >= self._facts.day.end:
            raise CorruptData(
                f"{self._facts.instrument_key}: slice of trades",
                "outside the part of the day still open",
                was=f"{first}..{last} µs",
                expected=f"({self._last_us}, {self._facts.day.end}) µs",
                remedy="Add spans of exchange time in their order",
            )
        for filling in self._fillings.values():
            filling.add(ordered)
        self._last_us = last

    def finish(self) -> Mapping[BarKind, pl.DataFrame]:
        """The bars of each kind as frames of `INFORMATION_BAR_TABLE`, version 1; ends the building.

        Shape: a frame without rows where nothing was traded.
        """
        return {
            kind: _frame(self._facts, kind, self._thresholds[kind], filling.finish())
            for kind, filling in self._fillings.items()
        }


def _value(kind: BarKind, threshold: Threshold, facts: TradesDay) -> float:
    if threshold.value is None or (kind.has_size and not facts.terms.has_known_units):
        message = f"{facts.instrument_key}: {kind} bars without a threshold"
        raise ValueError(message)
    return threshold.value


def _frame(
    facts: TradesDay, kind: BarKind, threshold: Threshold, built: tuple[_Arrays, bool] | None
) -> pl.DataFrame:
    if built is None:
        return pl.DataFrame(schema=INFORMATION_BAR_TABLE.polars_schema)
    statistics, is_last_complete = built
    is_complete = np.ones(len(statistics["close"]), dtype=np.bool_)
    is_complete[-1] = is_last_complete
    ts_close = np.where(is_complete, statistics["close_time"], facts.day.end)
    ts_open = np.concatenate((np.array([facts.day.start]), ts_close[:-1]))
    gap_us = overlap_us(ts_open, ts_close, facts.gaps)
    identity = {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "available_at": _available_us(facts, threshold, ts_close, statistics["last_arrival"]),
        "bar_number": np.arange(1, len(ts_close) + 1, dtype=np.int64),
        "is_complete": is_complete,
        "is_final": _is_final(facts, threshold, ts_close),
        "covered_us": ts_close - ts_open - gap_us,
        "gap_ms": gap_us / US_PER_MS,
        "duration_ms": (ts_close - ts_open) / US_PER_MS,
    }
    bars = _with_shared(identity | statistics).with_columns(
        date=pl.lit(dt.datetime.fromtimestamp(facts.day.start // US_PER_SECOND, tz=dt.UTC).date()),
        instrument_key=pl.lit(facts.instrument_key),
        venue=pl.lit(facts.venue.value),
        kind=pl.lit(kind.value),
        threshold=pl.lit(threshold.value),
        clock=pl.lit(facts.clock),
        bar_version=pl.lit(1),
        kernel_version=pl.lit(INFORMATION_KERNEL_VERSION),
        source_sha256=_sources(facts, ts_close),
    )
    return bars.select(
        pl.col(name).cast(dtype) for name, dtype in INFORMATION_BAR_TABLE.polars_schema.items()
    )


def _with_shared(columns: _Arrays) -> pl.DataFrame:
    """The bars as a frame, with the columns that follow from others as candles have them.

    Evaluated with one row more than there are, so that it is never one row alone: Polars divides
    the only row of a frame by a number, and several rows with the number's reciprocal. The last bit
    of a day's first bar would change when a second one follows.
    """
    padded = {name: np.append(values, values[-1:]) for name, values in columns.items()}
    bars = (
        BarStatistics(padded)
        .frame()
        .with_columns(pl.col("ts_close", "available_at").cast(TIMESTAMP))
    )
    return with_derived(bars, names=SHARED_COLUMNS).head(len(columns["ts_open"]))


def _available_us(
    facts: TradesDay, threshold: Threshold, ts_close: Int64Array, last_arrival: Int64Array
) -> Int64Array:
    """When each bar could first be known: not before the ones before it, nor the threshold."""
    known = np.maximum(ts_close, last_arrival)
    if facts.previous is not None:
        known[0] = max(int(known[0]), facts.previous.arrival_us)
    latest = np.maximum.accumulate(known) + WATERMARK_US
    return np.asarray(np.maximum(latest, threshold.available_us))


def _is_final(
    facts: TradesDay, threshold: Threshold, ts_close: Int64Array
) -> npt.NDArray[np.bool_]:
    closing = facts.closing
    is_settled = np.bool_(closing.has_previous and threshold.is_final)
    return is_settled & (np.bool_(closing.has_next) | ~closing.needs_next(ts_close))


def _sources(facts: TradesDay, ts_close: Int64Array) -> pl.Series:
    """The hashes of the files each bar stands on, in the order of the days."""
    choices = [list(facts.sources), [*facts.sources, *facts.sources_after]]
    choice = facts.closing.needs_next(ts_close).astype(np.int64)
    return pl.Series("source_sha256", choices, dtype=pl.List(pl.String)).gather(choice)
