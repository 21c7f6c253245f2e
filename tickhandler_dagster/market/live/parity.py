"""Live bars against the batch's bars of the same day: what differs, and what explains it.

What belongs here: the comparison of one instrument and timeframe. What does not: sets of columns
(`parity_columns.py`), findings (`parity_findings.py`) and reading either side (`pipeline`).

Equal means equal to the last bit: both sides come from one kernel, so that a rounding difference
would be a difference. A cause is looked for from the bar to the column: first whether rows are
missing on one side, which explains every column, then what sets the column apart by nature.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import polars as pl
import polars.selectors as cs

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.live.live_candle_table import LiveStage
from tickhandler_dagster.market.live.live_differences_table import (
    BY_NATURE,
    LIVE_DIFFERENCES_TABLE,
    LiveDifferenceCause,
)
from tickhandler_dagster.market.live.parity_causes import (
    BATCH,
    LIVE,
    around,
    bar_causes,
    explained_before,
    forgets,
    sides,
    text,
)
from tickhandler_dagster.market.live.parity_columns import (
    AFTER_END,
    BY_ARRIVAL,
    BY_DAYS_BEFORE,
    BY_LEVELS,
    BY_QUOTES,
    BY_TRADES,
    COMPARED,
    OF_CHANNEL,
    THINNED_BOOKS,
    WITH_CHANNEL,
    provisional_nulls,
)
from tickhandler_dagster.market.live.parity_past import LivePast
from tickhandler_dagster.market.live.trade_evidence import EVIDENCE_SCHEMA
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe

_FACTS = ("stage", "revision")

BATCH_COLUMNS = ("ts_open", "kernel_version", *COMPARED)
"""What of the batch's bars a comparison reads."""

LIVE_COLUMNS = ("instrument_key", "timeframe", *_FACTS, *BATCH_COLUMNS)
"""What of live bars it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """An instrument's live bars of a day and timeframe against the batch's.

    Attributes:
        instrument_key: Canonical key.
        timeframe: Length of the bars.
        bars: Bars compared: those between the first and the last live bar.
        equal: Of these, bars without any difference.
        agreeing: Of these, bars without a difference but by nature (`BY_NATURE`).
        provisional: Bars that live never completed.
        outside: Bars of the batch before the first and after the last live bar.
        differences: Rows of `LIVE_DIFFERENCES_TABLE`.
    """

    instrument_key: str
    timeframe: Timeframe
    bars: int
    equal: int
    agreeing: int
    provisional: int
    outside: int
    differences: pl.DataFrame


def compare_live(
    live: pl.DataFrame,
    batch: pl.DataFrame,
    cell: VenueDay,
    *,
    evidence: pl.DataFrame | None = None,
    past: LivePast | None = None,
) -> LiveComparison:
    """Compare bar by bar and column by column.

    Args:
        live: One instrument's live bars of a timeframe, the highest revision of each: not
            empty, `LIVE_COLUMNS` of `LIVE_CANDLE_TABLE`.
        batch: The batch's bars of the day: `BATCH_COLUMNS` of `CANDLE_TABLE`.
        cell: Day and venue.
        evidence: What became of the trades, where live ticks were kept (`trade_evidence.py`).
        past: What the two sides did not share of the days before, as far as that is known.

    Nulls: a null equals a null. What a provisional bar does not have yet is not compared.
    """
    key, timeframe = live["instrument_key"][0], Timeframe(live["timeframe"][0])
    past = past or LivePast()
    joined = _joined(live, batch, evidence).with_columns(
        **bar_causes(has_evidence=evidence is not None)
    )
    flagged = pl.concat([past.disturbed, joined], how="diagonal").with_columns(*around(timeframe))
    session = flagged.filter(
        pl.col("ts_open").is_between(live["ts_open"].min(), live["ts_open"].max())
    )
    session = session.with_columns(forgets=forgets(past))
    fields = _explained(session, timeframe, _by_nature(live, batch, cell))
    rows = pl.concat([_missing(session), fields])
    differences = _as_table(rows.join(session, on="ts_open", how="left"), cell, timeframe, key)
    against = differences.filter(~pl.col("cause").is_in([str(one) for one in BY_NATURE]))
    return LiveComparison(
        instrument_key=key,
        timeframe=timeframe,
        bars=session.height,
        equal=session.height - differences["ts_open"].n_unique(),
        agreeing=session.height - against["ts_open"].n_unique(),
        provisional=live.filter(pl.col("stage") == LiveStage.PROVISIONAL.value).height,
        outside=joined.height - session.height,
        differences=differences,
    )


def _as_table(rows: pl.DataFrame, cell: VenueDay, timeframe: Timeframe, key: str) -> pl.DataFrame:
    return (
        rows.select(
            pl.lit(cell.date).alias("date"),
            pl.lit(cell.venue.value).alias("venue"),
            pl.lit(timeframe.value).alias("timeframe"),
            pl.lit(key).alias("instrument_key"),
            "ts_open",
            "cause",
            "fields",
            "sample",
            *_FACTS,
            pl.col(f"{BATCH}status").alias("status"),
            _trades_of_cause().alias("rows_of_trades"),
        )
        .cast(LIVE_DIFFERENCES_TABLE.polars_schema)
        .sort("ts_open", "cause")
    )


def _joined(live: pl.DataFrame, batch: pl.DataFrame, evidence: pl.DataFrame | None) -> pl.DataFrame:
    """Every bar that one side has, by time, with the evidence beside it."""
    names = (*COMPARED, "kernel_version")
    seen = pl.DataFrame(schema=EVIDENCE_SCHEMA) if evidence is None else evidence
    return (
        live.select("ts_open", *_FACTS, pl.col(names).name.prefix(LIVE))
        .join(
            batch.select("ts_open", pl.col(names).name.prefix(BATCH)),
            on="ts_open",
            how="full",
            coalesce=True,
        )
        .join(seen, on="ts_open", how="left")
        .sort("ts_open")
    )


def _by_nature(
    live: pl.DataFrame, batch: pl.DataFrame, cell: VenueDay
) -> dict[LiveDifferenceCause, Collection[str]]:
    """Columns that differ by nature over the instrument's whole day."""
    absent: set[str] = set()
    for channel, own in OF_CHANNEL.items():
        stated = [name for name in own if live[name].null_count() < live.height]
        if not stated and any(batch[name].null_count() < batch.height for name in own):
            absent |= WITH_CHANNEL[channel]
            absent |= {"quote_source"} if channel is Channel.TOP else set()
            absent |= {"book_source"} if channel is Channel.LEVELS else set()
    is_thin = cell.venue in THINNED_BOOKS
    depth: set[str] = set()
    for source, columns in (("quote_source", BY_QUOTES), ("book_source", BY_LEVELS)):
        if is_thin or set(live[source]) != set(batch[source]):
            depth |= columns
    return {LiveDifferenceCause.ABSENT: absent, LiveDifferenceCause.DEPTH: depth}


def _explained(
    session: pl.DataFrame,
    timeframe: Timeframe,
    nature: dict[LiveDifferenceCause, Collection[str]],
) -> pl.DataFrame:
    """A row per bar of both sides and cause, with the columns that it explains."""
    both = session.filter(pl.col("stage").is_not_null() & pl.col(f"{BATCH}gap_ms").is_not_null())
    differing = _differing(both, timeframe)
    names = pl.col("field")
    cause = LiveDifferenceCause
    found = differing.join(
        both.select(
            "ts_open",
            "bar_cause",
            "trade_cause",
            "cause_after",
            cs.starts_with("before_", "since_", "trades_since_"),
            "forgets",
        ),
        on="ts_open",
    ).with_columns(cause_before=explained_before(timeframe))
    found = found.with_columns(
        pl.when(pl.col("bar_cause").is_not_null())
        .then("bar_cause")
        .when(pl.col("trade_cause").is_not_null() & names.is_in(sorted(BY_TRADES)))
        .then("trade_cause")
        .when(names.is_in(sorted(nature[cause.ABSENT])))
        .then(text(cause.ABSENT))
        .when(names.is_in(sorted(nature[cause.DEPTH])))
        .then(text(cause.DEPTH))
        .when(pl.col("forgets") & names.is_in(sorted(BY_DAYS_BEFORE)))
        .then(text(cause.MEMORY))
        .when(pl.col("cause_after").is_not_null() & names.is_in(sorted(AFTER_END)))
        .then("cause_after")
        .when(pl.col("cause_before").is_not_null())
        .then("cause_before")
        .when(names.is_in(sorted(BY_ARRIVAL)))
        .then(text(cause.DELAY))
        .otherwise(text(cause.UNEXPLAINED))
        .alias("cause")
    )
    rows = found.group_by("ts_open", "cause", maintain_order=True).agg(
        pl.col("field").alias("fields")
    )
    return _with_samples(rows, both)


def _differing(both: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Bar and column of every difference, columns in the order of the table."""
    not_yet = provisional_nulls(timeframe)
    is_provisional = pl.col("stage") == LiveStage.PROVISIONAL.value
    flags = []
    for name in COMPARED:
        live, batch = sides(name)
        differs = live.ne_missing(batch)
        flags.append((differs & ~is_provisional if name in not_yet else differs).alias(name))
    seen = both.select("ts_open", *flags)
    stated = [name for name in COMPARED if seen[name].any()]
    schema = pl.Schema({"ts_open": TIMESTAMP, "field": pl.String()})
    if not stated:
        return pl.DataFrame(schema=schema)
    return (
        seen.select("ts_open", *stated)
        .unpivot(index="ts_open", variable_name="field", value_name="differs")
        .filter("differs")
        .select(schema.names())
    )


def _with_samples(rows: pl.DataFrame, both: pl.DataFrame) -> pl.DataFrame:
    """The first differing column of each row in words; columns are taken one by one."""
    first = rows.with_columns(pl.col("fields").list.first().alias("field"))
    parts: list[pl.DataFrame] = []
    for (name,), some in first.group_by("field", maintain_order=True):
        live, batch = sides(str(name))
        words = both.select(
            "ts_open",
            pl.format(
                f"{name} {{}} against {{}}",
                live.cast(pl.String).fill_null("null"),
                batch.cast(pl.String).fill_null("null"),
            ).alias("sample"),
        )
        parts.append(some.join(words, on="ts_open", how="left").select(_ROW.names()))
    return pl.concat([pl.DataFrame(schema=_ROW), *parts])


_ROW = pl.Schema(
    {
        "ts_open": TIMESTAMP,
        "cause": pl.String(),
        "fields": pl.List(pl.String()),
        "sample": pl.String(),
    }
)


def _missing(session: pl.DataFrame) -> pl.DataFrame:
    """Bars that one side alone has."""
    alone = pl.col("stage").is_null() | pl.col(f"{BATCH}gap_ms").is_null()
    return session.filter(alone).select(
        "ts_open",
        pl.col("bar_cause").alias("cause"),
        pl.lit([], dtype=pl.List(pl.String())).alias("fields"),
        pl.lit(None, dtype=pl.String()).alias("sample"),
    )


def _trades_of_cause() -> pl.Expr:
    """How many trades of the bar are the evidence of its cause."""
    cause = LiveDifferenceCause
    found: Any = pl
    for name in (cause.LOST, cause.LATE, cause.REVISED):
        found = found.when((pl.col("cause") == name.value) & (pl.col(name.value) > 0)).then(
            pl.col(name.value)
        )
    return found.otherwise(None)  # type: ignore[no-any-return]
