"""Bars as rows of the candle table: what each family found, on the grid, with status and sources.

What belongs here: putting the parts of one timeframe together. What does not: the parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tickhandler_dagster.market.bars.facts import KERNEL_VERSION, DayFacts
from tickhandler_dagster.market.bars.grid import Span, bar_opens
from tickhandler_dagster.market.bars.statistics import (
    SIZED_STATISTICS,
    UNITLESS_STATISTICS,
    BarStatistics,
)
from tickhandler_dagster.market.bars.status import bar_status, first_known, overlap_us
from tickhandler_dagster.market.bars.ticks import Int64Array
from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.features.family import (
    NO_ARRIVAL,
    Cut,
    FamilyDay,
    arrival_column,
    cut_columns,
)
from tickhandler_dagster.market.features.feature import Channel, Feature, Merge
from tickhandler_dagster.market.features.registry import (
    DELAYS_US,
    FEATURES,
    delayed_name,
    with_derived,
)
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME, Timeframe

_SPARSE = frozenset({*UNITLESS_STATISTICS, *SIZED_STATISTICS})
_ZERO_WHERE_EMPTY = (
    "trade_count",
    "amount_sum",
    "sweep_count",
    "interarrival_count",
    "interarrival_sum_us",
    "interarrival_m2_ms2",
)
_ZERO_WHERE_EMPTY_AND_SIZED = (
    "volume",
    "notional",
    "buy_volume_sum",
    "sell_volume_sum",
    "unknown_volume_sum",
    "size_m2",
)
_ALWAYS = (
    *("timeframe", "ts_open", "ts_close", "gap_us", "covered_us", "is_final", "source_sha256"),
    *("last_trade", "previous_arrival", "arrival_0", *(f"arrival_{delay}" for delay in DELAYS_US)),
)
_STORED = tuple(feature for feature in FEATURES.values() if feature.merge is not Merge.DERIVED)
_DENSE = {
    delay: tuple(
        feature for feature in _STORED if feature.delay_us == delay and feature.name not in _SPARSE
    )
    for delay in (0, *DELAYS_US)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayParts:
    """What a day's bars are put together from.

    Attributes:
        traded: Per timeframe the statistics of the bars with trades; None where nothing traded.
        found: What the kernels found, by how long after a bar's end it is known, in microseconds.
            Columns of a channel that is not in the lake are absent.
        surface: Per timeframe `ts_open` and the columns of the option surface; empty without one.
    """

    traded: Mapping[Timeframe, BarStatistics | None]
    found: Mapping[int, FamilyDay]
    surface: Mapping[Timeframe, pl.DataFrame]


def candle_frames(facts: DayFacts, parts: DayParts) -> dict[Timeframe, pl.DataFrame]:
    """The day's bars as frames of `CANDLE_TABLE`, version 1, smallest timeframe first.

    All timeframes go through as one frame wherever a value hangs on its own row alone: hundreds of
    columns have a fixed price, which seven small frames would pay seven times.
    """
    ordered = sorted(parts.traded, key=lambda timeframe: timeframe.us)
    traded = [_with_trades(facts, timeframe, parts.traded[timeframe]) for timeframe in ordered]
    bars = pl.concat(traded).hstack(_dense_series(facts, traded, ordered, parts.found))
    bars = _with_surface(_without_book_gaps(_only_observed(bars), facts), parts.surface)
    bars = bars.select(_stored_columns(bars))
    bars = (
        with_derived(_never_one_row(bars))
        .with_columns(_identity(facts))
        .with_columns(_delayed_arrivals())
        .select(pl.col(name).cast(dtype) for name, dtype in CANDLE_TABLE.polars_schema.items())
    )
    ends = list(itertools.accumulate(frame.height for frame in traded))
    return {
        timeframe: bars.slice(end - frame.height, frame.height)
        for timeframe, frame, end in zip(ordered, traded, ends, strict=True)
    }


def _never_one_row(bars: pl.DataFrame) -> pl.DataFrame:
    """The bars and a row of which all but the timeframe is null, in one piece.

    Polars divides a piece of one row by a number, and a longer one by multiplying with the
    reciprocal, so that a 24h bar alone would differ in its last bit from the same bar beside
    others. A second row like the first is not enough: equal rows are kept as one.
    """
    other = bars.select("timeframe").head(1)
    return pl.concat([bars, other], how="diagonal", rechunk=True)


def _with_trades(
    facts: DayFacts, timeframe: Timeframe, statistics: BarStatistics | None
) -> pl.DataFrame:
    """The bars of one timeframe with what single trades give, and what hangs on bars before."""
    traded = _traded(statistics)
    opens = statistics["ts_open"] if statistics is not None else np.empty(0, dtype=np.int64)
    ts_open = bar_opens(facts.listed, opens, timeframe)
    return (
        _grid(facts, timeframe, ts_open, traded)
        .join(traded, on="ts_open", how="left", maintain_order="left")
        .with_columns(
            timeframe=pl.lit(timeframe.value),
            is_observed=(pl.col("covered_us") > 0) | pl.col("trade_count").is_not_null(),
        )
        .with_columns(_zero_where_empty(facts))
        .with_columns(_carried(facts))
    )


def _stored_columns(bars: pl.DataFrame) -> list[pl.Expr]:
    """What is not derived, null where a channel is missing, and what deriving needs."""
    return [
        *(pl.col(name) for name in _ALWAYS),
        *(
            pl.col(feature.name).cast(feature.dtype)
            if feature.name in bars.columns
            else pl.lit(None, feature.dtype).alias(feature.name)
            for feature in _STORED
        ),
    ]


def _identity(facts: DayFacts) -> list[pl.Expr]:
    texts = {
        "instrument_key": facts.instrument_key,
        "venue": facts.venue.value,
        "clock": facts.clock,
        "kernel_version": KERNEL_VERSION,
        "book_source": facts.book_source,
        "quote_source": facts.quote_source,
    }
    return [
        *(pl.lit(text, pl.String).alias(name) for name, text in texts.items()),
        pl.lit(1).alias("bar_version"),
        pl.lit(value=facts.has_memory).alias("has_memory"),
        bar_status(is_ingested=facts.is_ingested).alias("status"),
        first_known("ts_close", "last_arrival", "previous_arrival", "arrival_0").alias(
            "available_at"
        ),
        (pl.col("gap_us") / 1_000).alias("gap_ms"),
        (pl.col("covered_us") / _width_us()).alias("coverage"),
    ]


def _width_us() -> pl.Expr:
    return (pl.col("ts_close") - pl.col("ts_open")).dt.total_microseconds()


def _delayed_arrivals() -> list[pl.Expr]:
    """When the columns that look past the bar's end could first be known, per horizon."""
    return [
        pl.max_horizontal(
            "available_at",
            first_known(pl.col("ts_close") + pl.duration(microseconds=delay), f"arrival_{delay}"),
        ).alias(delayed_name(delay))
        for delay in DELAYS_US
    ]


def _zero_where_empty(facts: DayFacts) -> list[pl.Expr]:
    sized = _ZERO_WHERE_EMPTY_AND_SIZED if facts.terms.has_known_units else ()
    is_empty = pl.col("is_observed") & pl.col("trade_count").is_null()
    return [
        pl.when(is_empty).then(0).otherwise(pl.col(name)).alias(name)
        for name in (*_ZERO_WHERE_EMPTY, *sized)
    ]


def _carried(facts: DayFacts) -> list[pl.Expr]:
    """The last trade up to the bar's end, and the arrival of the last one before it."""
    previous = facts.previous
    last_us, arrival_us = (
        (None, None) if previous is None else (previous.timestamp_us, previous.arrival_us)
    )
    return [
        _latest("close_time", shift=0, before=last_us).alias("last_trade"),
        _latest("last_arrival", shift=1, before=arrival_us).alias("previous_arrival"),
    ]


def _latest(name: str, *, shift: int, before: int | None) -> pl.Expr:
    """The latest value so far, the given one before there is any."""
    return (
        pl.col(name)
        .cast(TIMESTAMP)
        .shift(shift)
        .forward_fill()
        .fill_null(pl.lit(before, pl.Int64).cast(TIMESTAMP))
    )


def _dense_series(
    facts: DayFacts,
    traded: Sequence[pl.DataFrame],
    timeframes: Sequence[Timeframe],
    found: Mapping[int, FamilyDay],
) -> list[pl.Series]:
    """The kernels' columns and the arrivals they stand on, cut to the grid of the listing."""
    cuts = [
        _cut(facts, timeframe, frame) for timeframe, frame in zip(timeframes, traded, strict=True)
    ]
    series: list[pl.Series] = []
    for delay in (0, *DELAYS_US):
        day = found.get(delay)
        series += [] if day is None else cut_columns(day, _DENSE[delay], cuts)
        arrivals = arrival_column(day, cuts).replace(NO_ARRIVAL, None).cast(TIMESTAMP)
        series.append(arrivals.alias(f"arrival_{delay}"))
    return series


def _cut(facts: DayFacts, timeframe: Timeframe, bars: pl.DataFrame) -> Cut:
    first = int(bars["ts_open"].to_physical()[0]) if bars.height else facts.day.start
    start = (first - facts.day.start) // timeframe.us
    return timeframe, slice(start, start + bars.height)


def _only_observed(bars: pl.DataFrame) -> pl.DataFrame:
    """What a family says of a bar of which nothing was observed is not known."""
    if bars["is_observed"].all():
        return bars
    names = [
        feature.name
        for feature in _STORED
        if feature.name in bars.columns and feature.name not in _SPARSE
    ]
    return bars.with_columns(
        pl.when("is_observed").then(pl.col(name)).alias(name) for name in names
    )


def _without_book_gaps(bars: pl.DataFrame, facts: DayFacts) -> pl.DataFrame:
    """What a bar that touches a hole of the book says of the book is not known.

    Not a shorter average: what the book was in the hole can be all that mattered in the bar.
    """
    for channel in facts.book_gaps:
        opens, closes = (bars[name].to_physical().to_numpy() for name in ("ts_open", "ts_close"))
        is_touched = overlap_us(opens, closes, facts.gaps_of(channel)) > 0
        if is_touched.any():
            whole = pl.Series(~is_touched)
            bars = bars.with_columns(
                pl.when(whole).then(pl.col(feature.name)).alias(feature.name)
                for feature in _STORED
                if _stands_on(feature, channel, facts) and feature.name in bars.columns
            )
    return bars


def _stands_on(feature: Feature, channel: Channel, facts: DayFacts) -> bool:
    """The feature needs the channel; levels serve for best quotes where there is no feed."""
    serves_quotes = channel is Channel.LEVELS and Channel.TOP not in facts.book_gaps
    return channel in feature.inputs or (serves_quotes and Channel.TOP in feature.inputs)


def _with_surface(bars: pl.DataFrame, surface: Mapping[Timeframe, pl.DataFrame]) -> pl.DataFrame:
    if not surface:
        return bars
    frames = [
        frame.with_columns(timeframe=pl.lit(timeframe.value))
        for timeframe, frame in surface.items()
    ]
    return bars.join(
        pl.concat(frames), on=["timeframe", "ts_open"], how="left", maintain_order="left"
    )


def _traded(statistics: BarStatistics | None) -> pl.DataFrame:
    names = (*UNITLESS_STATISTICS, *SIZED_STATISTICS)
    if statistics is not None:
        return statistics.frame().select(names)
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
    """The hashes of the files each bar can hold rows of, in the order of the days."""
    sources, closing = facts.sources, facts.closing
    choices = [
        [
            *(sources.previous if uses_previous else ()),
            *sources.own,
            *(sources.following if uses_following else ()),
        ]
        for uses_following in (False, True)
        for uses_previous in (False, True)
    ]
    choice = closing.needs_previous(ts_open) + 2 * closing.needs_next(ts_close).astype(np.int64)
    return pl.Series(choices, dtype=pl.List(pl.String)).gather(choice)
