"""Bars as rows of the candle table: statistics on the grid, with status, provenance and ratios.

What belongs here: putting the parts of one timeframe together. What does not: the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.base import PreviousTrade
from tickhandler_dagster.market.bars.derive import with_ratios
from tickhandler_dagster.market.bars.grid import Span, bar_opens
from tickhandler_dagster.market.bars.statistics import (
    SIZED_STATISTICS,
    UNITLESS_STATISTICS,
    BarStatistics,
)
from tickhandler_dagster.market.bars.status import Closing, available_at, bar_status, overlap_us
from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe
from tickhandler_dagster.market.venues import VenueId

KERNEL_VERSION = "1"
"""Goes up with every change that can change a bar; bars of another version are built anew."""

_EXACT = ("size_p50", "size_p90", "size_p99", "late_count")
_ZERO_WHERE_EMPTY = (
    "trade_count",
    "amount_sum",
    "sweep_count",
    "interarrival_count",
    "interarrival_sum_us",
    "interarrival_m2_ms2",
    "late_count",
)
_ZERO_WHERE_EMPTY_AND_SIZED = (
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
    "unknown_volume_sum",
    "size_m2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Hashes of the vendor's files a day's bars can be cut from; None where there is no such file.

    Attributes:
        previous: File of the day before.
        own: File of the day.
        following: File of the day after.
    """

    previous: str | None = None
    own: str | None = None
    following: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """All that is known of an instrument's day besides its trades.

    Attributes:
        instrument_key: Canonical key.
        venue: Its venue.
        day: The UTC day.
        listed: When the instrument was listed, inside the day.
        terms: What its amounts are worth.
        closing: Which neighbouring files are in.
        clock: `exchange`, or `local` where the venue gives no exchange time.
        is_ingested: The day's trades are in the lake, or are known to be none.
        gaps: Spans for which the vendor reports missing data.
        previous: Last trade before the day; None where none is known.
        sources: The vendor's files.
    """

    instrument_key: str
    venue: VenueId
    day: Span
    listed: Span
    terms: ContractTerms
    closing: Closing
    clock: str = "exchange"
    is_ingested: bool = True
    gaps: Sequence[Span] = ()
    previous: PreviousTrade | None = None
    sources: Sources = Sources()


def candle_frame(
    facts: DayFacts, timeframe: Timeframe, statistics: BarStatistics | None, exact: pl.DataFrame
) -> pl.DataFrame:
    """The day's bars of one timeframe as a frame of `CANDLE_TABLE`, version 1.

    Args:
        facts: What is known of the day.
        timeframe: Length of the bars.
        statistics: Of the traded bars; None where nothing traded.
        exact: `ts_open` and the columns that do not merge, one row per traded bar.
    """
    previous = facts.previous
    last_us, arrival_us = (
        (None, None) if previous is None else (previous.timestamp_us, previous.arrival_us)
    )
    traded = _traded(statistics, exact)
    ts_open = bar_opens(facts.listed, _opens(statistics), timeframe)
    grid = _grid(facts, timeframe, ts_open, traded)
    bars = (
        grid.join(traded, on="ts_open", how="left", maintain_order="left")
        .with_columns(is_observed=(pl.col("covered_us") > 0) | pl.col("trade_count").is_not_null())
        .with_columns(
            pl.when(pl.col("is_observed") & pl.col("trade_count").is_null())
            .then(0)
            .otherwise(pl.col(name))
            .alias(name)
            for name in _zeros(facts)
        )
        .with_columns(
            last_trade=_carried("close_time", shift=0, before=last_us),
            previous_arrival=_carried("last_arrival", shift=1, before=arrival_us),
        )
    )
    identity = {
        "instrument_key": pl.lit(facts.instrument_key),
        "venue": pl.lit(facts.venue.value),
        "timeframe": pl.lit(timeframe.value),
        "clock": pl.lit(facts.clock),
        "bar_version": pl.lit(1),
        "kernel_version": pl.lit(KERNEL_VERSION),
        "status": bar_status(is_ingested=facts.is_ingested),
        "available_at": available_at(),
        "gap_ms": pl.col("gap_us") / 1_000,
        "coverage": pl.col("covered_us") / timeframe.us,
    }
    return (
        with_ratios(bars)
        .with_columns(**identity)
        .select(pl.col(name).cast(dtype) for name, dtype in CANDLE_TABLE.polars_schema.items())
    )


def _zeros(facts: DayFacts) -> tuple[str, ...]:
    sized = _ZERO_WHERE_EMPTY_AND_SIZED if facts.terms.has_known_units else ()
    return (*_ZERO_WHERE_EMPTY, *sized)


def _opens(statistics: BarStatistics | None) -> Int64Array:
    return np.empty(0, dtype=np.int64) if statistics is None else statistics["ts_open"]


def _traded(statistics: BarStatistics | None, exact: pl.DataFrame) -> pl.DataFrame:
    if statistics is not None:
        return statistics.frame().join(exact, on="ts_open", how="left", maintain_order="left")
    names = (*UNITLESS_STATISTICS, *SIZED_STATISTICS, *_EXACT)
    return pl.DataFrame(
        schema={
            name: TIMESTAMP if name == "ts_open" else CANDLE_TABLE.column(name).dtype
            for name in names
        }
    )


def _grid(
    facts: DayFacts, timeframe: Timeframe, ts_open: Int64Array, traded: pl.DataFrame
) -> pl.DataFrame:
    ts_close = ts_open + timeframe.us
    gap_us = overlap_us(ts_open, ts_close, facts.gaps)
    unobserved = [*facts.gaps, *_unlisted(facts, traded)]
    covered_us = timeframe.us - overlap_us(ts_open, ts_close, unobserved)
    return pl.DataFrame(
        {
            "ts_open": ts_open,
            "ts_close": ts_close,
            "gap_us": gap_us,
            "covered_us": covered_us if facts.is_ingested else np.zeros_like(covered_us),
            "is_final": facts.closing.is_final(ts_open, ts_close) & np.bool_(facts.is_ingested),
            "source_sha256": _source_lists(facts, ts_open, ts_close),
        },
        schema_overrides={"source_sha256": pl.List(pl.String)},
    ).with_columns(pl.col("ts_open", "ts_close").cast(TIMESTAMP))


def _unlisted(facts: DayFacts, traded: pl.DataFrame) -> list[Span]:
    """What of the day lies outside the listing, as far as no trade says otherwise."""
    start, end = facts.listed.start, facts.listed.end
    if traded.height:
        first, last = traded["open_time"].to_physical()[0], traded["close_time"].to_physical()[-1]
        width = BASE_TIMEFRAME.us
        start = min(start, first // width * width)
        end = max(end, (last // width + 1) * width)
    return [Span(facts.day.start, start), Span(end, facts.day.end)]


def _source_lists(facts: DayFacts, ts_open: Int64Array, ts_close: Int64Array) -> pl.Series:
    """The hashes of the files each bar can hold trades of, in the order of the days."""
    sources, closing = facts.sources, facts.closing
    choices = [
        [
            digest
            for digest, is_used in (
                (sources.previous, uses_previous),
                (sources.own, True),
                (sources.following, uses_following),
            )
            if is_used and digest is not None
        ]
        for uses_following in (False, True)
        for uses_previous in (False, True)
    ]
    choice = closing.needs_previous(ts_open) + 2 * closing.needs_next(ts_close).astype(np.int64)
    return pl.Series(choices, dtype=pl.List(pl.String)).gather(choice)


def _carried(name: str, *, shift: int, before: int | None) -> pl.Expr:
    """The latest value so far, the given one before there is any."""
    return (
        pl.col(name)
        .cast(TIMESTAMP)
        .shift(shift)
        .forward_fill()
        .fill_null(pl.lit(before, pl.Int64).cast(TIMESTAMP))
    )
