"""What is known of each bar: observed or not, final or not, and when it could first be known.

What belongs here: rules over bars and spans. What does not: who reports a gap (`catalog.py`) and
which files are in (`pipeline/candles.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from tickhandler_dagster.market.bars.exact import WATERMARK_US
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.bars.ticks import Int64Array

CLOSING_WINDOW_US = 600 * 1_000_000
"""How far from midnight a trade can lie in the neighbouring day's file: lag and clock skew."""


class BarStatus(StrEnum):
    """Why a bar holds what it holds."""

    TRADED = "traded"
    NO_TRADE = "no_trade"
    VENDOR_GAP = "vendor_gap"
    NOT_INGESTED = "not_ingested"


BAR_STATUS_MEANINGS: dict[BarStatus, str] = {
    BarStatus.TRADED: "at least one trade",
    BarStatus.NO_TRADE: "the whole bar was observed and nobody traded",
    BarStatus.VENDOR_GAP: "no trade is known, and a gap in the vendor's data lies inside the bar",
    BarStatus.NOT_INGESTED: "the instrument's trades of the day are not in the lake",
}


@dataclass(frozen=True, slots=True)
class Closing:
    """Which neighbouring files a day's bars still wait for.

    Attributes:
        day: The day.
        has_previous: The file of the day before is in, or there cannot be one.
        has_next: The file of the day after is in, or there cannot be one.
        opening_us: Bars that open within this time of the day's start need the file before.
        closing_us: Bars that end within this time of the day's end need the file after.
    """

    day: Span
    has_previous: bool
    has_next: bool
    opening_us: int = CLOSING_WINDOW_US
    closing_us: int = CLOSING_WINDOW_US

    def needs_previous(self, ts_open: Int64Array) -> npt.NDArray[np.bool_]:
        """Per bar: its trades can lie in the file of the day before."""
        return ts_open < self.day.start + self.opening_us

    def needs_next(self, ts_close: Int64Array) -> npt.NDArray[np.bool_]:
        """Per bar: its trades can lie in the file of the day after."""
        return ts_close > self.day.end - self.closing_us

    def is_final(self, ts_open: Int64Array, ts_close: Int64Array) -> npt.NDArray[np.bool_]:
        """Per bar: no file that is still to come can change it."""
        waits_for_previous = self.needs_previous(ts_open) & np.bool_(not self.has_previous)
        waits_for_next = self.needs_next(ts_close) & np.bool_(not self.has_next)
        return ~(waits_for_previous | waits_for_next)


def merged_spans(spans: Sequence[Span]) -> list[Span]:
    """The same time as disjoint spans in order; empty ones vanish.

    Example:
        >>> merged_spans([Span(5, 9), Span(0, 6), Span(20, 20)])
        [Span(start=0, end=9)]
    """
    merged: list[Span] = []
    for span in sorted(
        (span for span in spans if span.end > span.start), key=lambda span: span.start
    ):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def overlap_us(ts_open: Int64Array, ts_close: Int64Array, spans: Sequence[Span]) -> Int64Array:
    """Per bar: how much of it lies inside the spans, which may overlap each other.

    Units: microseconds.
    """
    total = np.zeros(len(ts_open), dtype=np.int64)
    for span in merged_spans(spans):
        inside = np.minimum(ts_close, span.end) - np.maximum(ts_open, span.start)
        total += np.maximum(inside, 0)
    return total


def bar_status() -> pl.Expr:
    """The status from `is_ingested`, `trade_count` (null or 0: no trades) and `gap_us`."""
    return (
        pl.when(~pl.col("is_ingested"))
        .then(pl.lit(BarStatus.NOT_INGESTED.value))
        .when(pl.col("trade_count") > 0)
        .then(pl.lit(BarStatus.TRADED.value))
        .when(pl.col("gap_us") > 0)
        .then(pl.lit(BarStatus.VENDOR_GAP.value))
        .otherwise(pl.lit(BarStatus.NO_TRADE.value))
    )


def first_known(*moments: str | pl.Expr) -> pl.Expr:
    """When something could first be known: the latest of its moments plus the watermark.

    Args:
        moments: Its end, and the arrivals of all it stands on; null where there is none.
    """
    return pl.max_horizontal(*moments) + pl.duration(microseconds=WATERMARK_US)
