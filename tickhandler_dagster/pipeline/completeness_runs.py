"""Days in a row in which an instrument's data has one state for one reason, as one row.

What belongs here: shortening a span's rows to such runs and adding up what they lost. Six years of
rows do not fit a page; the runs of what is not present do.
"""

from __future__ import annotations

import polars as pl

from tickhandler_dagster.market.states import DataState

COMPLETE_STATES = (DataState.PRESENT, DataState.EMPTY)
"""Nothing is missing: the file is whole, or the vendor's file has no rows."""

NOT_EXPECTED_STATES = (DataState.NOT_LISTED, DataState.NOT_EXPORTED_YET)
"""Nothing can be there yet or ever: no reproach, and in no share."""

RUN_KEY = ("venue", "data_type", "instrument_key", "state", "reason", "verdict")

_INSTRUMENT = ("venue", "data_type", "instrument_key")
_SUMS = ("gaps", "gap_us", "lost_trades", "quarantined_rows")
_LONGEST = ("longest_gap_start", "longest_gap_end")
_DAY = pl.duration(days=1)


def runs_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The runs in some rows of `COMPLETENESS_TABLE`, of what is not whole.

    Shape:
        `RUN_KEY`, first, last (both included), days, sums of gaps, gap_us, lost_trades and
        quarantined_rows over the days, and the longest hole of all days.
    Nulls:
        lost_trades where no day's numbers prove anything; the longest hole where there is none.
    """
    is_noted = (
        (pl.col("state") != DataState.PRESENT)
        | (pl.col("gap_us") > 0)
        | (pl.col("lost_trades").fill_null(0) > 0)
    )
    return join_runs(
        rows.filter(is_noted).select(
            *RUN_KEY,
            pl.col("date").alias("first"),
            pl.col("date").alias("last"),
            pl.lit(1, pl.Int64).alias("days"),
            *_SUMS,
            *_LONGEST,
        )
    )


def join_runs(pieces: pl.DataFrame) -> pl.DataFrame:
    """Runs that follow one another made one, ordered by key and first day."""
    ordered = pieces.sort(*RUN_KEY, "first")
    begins = (pl.col("first") != pl.col("last").shift(1) + _DAY).fill_null(value=True)
    for name in RUN_KEY:
        begins = begins | pl.col(name).ne_missing(pl.col(name).shift(1))
    length = (pl.col("longest_gap_end") - pl.col("longest_gap_start")).dt.total_microseconds()
    longest = length.fill_null(-1).arg_max()
    any_lost = pl.col("lost_trades").is_not_null().any()
    return (
        ordered.with_columns(begins.cum_sum().alias("_run"))
        .group_by("_run", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in RUN_KEY),
            pl.col("first").min(),
            pl.col("last").max(),
            pl.col("days").sum(),
            pl.col("gaps").sum(),
            pl.col("gap_us").sum(),
            pl.when(any_lost).then(pl.col("lost_trades").sum()).alias("lost_trades"),
            pl.col("quarantined_rows").sum(),
            *(pl.col(name).get(longest) for name in _LONGEST),
        )
        .drop("_run")
    )


def instrument_sums(runs: pl.DataFrame) -> pl.DataFrame:
    """What each instrument and data type lost over the days of the runs.

    Shape:
        venue, data_type, instrument_key, missing_days, partial_days, gap_us, lost_trades (nulls as
        in the runs), last_day.
    """
    missing = pl.col("state").is_in(
        [str(one) for one in DataState if one.is_missing and one not in NOT_EXPECTED_STATES]
    )
    partial = pl.col("state") == DataState.PARTIAL
    return add_sums(
        runs.select(
            *_INSTRUMENT,
            pl.when(missing).then("days").otherwise(0).alias("missing_days"),
            pl.when(partial).then("days").otherwise(0).alias("partial_days"),
            "gap_us",
            "lost_trades",
            pl.col("last").alias("last_day"),
        )
    )


def add_sums(sums: pl.DataFrame) -> pl.DataFrame:
    """Sums of several batches as one row for each instrument and data type."""
    any_lost = pl.col("lost_trades").is_not_null().any()
    return sums.group_by(_INSTRUMENT).agg(
        pl.col("missing_days", "partial_days", "gap_us").sum(),
        pl.when(any_lost).then(pl.col("lost_trades").sum()).alias("lost_trades"),
        pl.col("last_day").max(),
    )


def worst_first(sums: pl.DataFrame) -> pl.DataFrame:
    """Those that lost something: most missing days, partial days, gap time, trades first."""
    ranked = ("missing_days", "partial_days", "gap_us", "lost_trades")
    has_lost = pl.any_horizontal(pl.col(name).fill_null(0) > 0 for name in ranked)
    return sums.filter(has_lost).sort(
        *ranked, *_INSTRUMENT, descending=[True] * 4 + [False] * 3, nulls_last=True
    )


def shorten(runs: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` runs in their order: settled ones go first, then the shortest."""
    if runs.height <= limit:
        return runs
    settled = [str(state) for state in DataState if state.is_settled and state != DataState.PARTIAL]
    kept = (
        runs.with_row_index("_place")
        .sort(pl.col("state").is_in(settled), -pl.col("days"), "_place")
        .head(limit)
    )
    return kept.sort("_place").drop("_place")
