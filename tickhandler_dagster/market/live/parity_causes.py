"""What a bar's own rows, and the bars around it, say of why live and batch differ in it.

What belongs here: the causes of a bar as expressions over both sides, and how far they reach into
its neighbours. What does not: which columns differ (`parity.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.live.live_differences_table import LiveDifferenceCause
from tickhandler_dagster.market.live.parity_columns import (
    BY_LOOK_BACK,
    BY_TRADES,
    COMPARED,
    LOOKS_AHEAD_US,
)
from tickhandler_dagster.market.live.parity_past import LivePast
from tickhandler_dagster.market.timeframes import Timeframe

LIVE, BATCH = "live ", "batch "
"""What the columns of either side are called by, one beside the other."""


def sides(name: str) -> tuple[pl.Expr, pl.Expr]:
    """A column of live and of the batch."""
    return pl.col(f"{LIVE}{name}"), pl.col(f"{BATCH}{name}")


def text(cause: LiveDifferenceCause) -> pl.Expr:
    """A cause as a value."""
    return pl.lit(cause.value)


def bar_causes(*, has_evidence: bool) -> dict[str, pl.Expr]:
    """Causes of a bar: one that explains every column, one that explains those of trades."""
    live, batch = sides("gap_ms")
    live_covers, batch_covers = sides("coverage")
    live_kernel, batch_kernel = sides("kernel_version")
    live_jumps, batch_jumps = (side.fill_null(0) for side in sides("id_gap_count"))
    cause = LiveDifferenceCause
    by_count = pl.when(live_jumps > batch_jumps).then(text(cause.LOST))
    by_trade = (
        pl.when(pl.col("lost") > 0)
        .then(text(cause.LOST))
        .when(pl.col("late") > 0)
        .then(text(cause.LATE))
        .when(pl.col("revised") > 0)
        .then(text(cause.REVISED))
    )
    return {
        "bar_cause": pl.when(pl.col("stage").is_null())
        .then(text(cause.LOST))
        .when(batch.is_null())
        .then(text(cause.REVISED))
        .when(live_kernel != batch_kernel)
        .then(text(cause.KERNEL))
        .when((live > batch) | (live_covers < batch_covers))
        .then(text(cause.LOST))
        .when((live < batch) | (pl.col(f"{BATCH}status") == BarStatus.NOT_INGESTED.value))
        .then(text(cause.REVISED)),
        "trade_cause": by_trade if has_evidence else by_count,
    }


def around(timeframe: Timeframe) -> Iterator[pl.Expr]:
    """Per bar what the bars around it explain: the newest cause before, and the one after.

    What every column of a bar lost, and what those of trades alone did, are two questions.
    """
    either = pl.coalesce("bar_cause", "trade_cause")
    ahead = range(1, -(-LOOKS_AHEAD_US // timeframe.us) + 1)
    yield pl.coalesce(either.shift(-bars) for bars in ahead).alias("cause_after")
    # What both sides have of trades: of a bar without any, nothing.
    trades = pl.min_horizontal(sides("trade_count")).fill_null(0).cum_sum()
    for cause, name in ((pl.col("bar_cause"), "any"), (either, "trades")):

        def newest(value: pl.Expr, cause: pl.Expr = cause) -> pl.Expr:
            return pl.when(cause.is_not_null()).then(value).shift(1).forward_fill()

        yield newest(cause).alias(f"before_{name}")
        end = newest(pl.col("ts_open")) + pl.duration(microseconds=timeframe.us)
        yield (pl.col("ts_open") - end).dt.total_microseconds().alias(f"since_{name}_us")
        yield (trades.shift(1) - newest(trades)).alias(f"trades_since_{name}")


def explained_before(timeframe: Timeframe) -> pl.Expr:
    """The cause before the bar, where the column looks back as far as it."""
    found = pl.lit(None, dtype=pl.String)
    for name, own in (("trades", BY_TRADES), ("any", frozenset(COMPARED) - BY_TRADES)):
        for look_back, columns in BY_LOOK_BACK.items():
            reaches = (
                pl.lit(look_back.is_unlimited)
                | (pl.col(f"since_{name}_us") < look_back.us)
                | (pl.col(f"since_{name}_us") < look_back.bars * timeframe.us)
                | (pl.col(f"trades_since_{name}") < look_back.trades)
            )
            is_own = pl.col("field").is_in(sorted(own & columns))
            found = pl.when(is_own & reaches).then(f"before_{name}").otherwise(found)
    return found


def forgets(past: LivePast) -> pl.Expr:
    """One side does not know the days before, or knows other rows of them."""
    live, batch = sides("has_memory")
    return (live != batch) | pl.lit(past.is_remembered_otherwise)
