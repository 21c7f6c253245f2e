"""Rows of ticks as hftbacktest's events: what each row does to the tape and to the book.

What belongs here: event by event. What does not: their common order and the file
(`hftbacktest.py`). Times are nanoseconds, `exch_ts` the exchange's, `local_ts` the arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from tickhandler_dagster.market.data_types import DataType

EVENT_DTYPE = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
"""hftbacktest's event, 64 bytes."""

DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE_EVENT, LOCAL_EVENT, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28

_SIDES = {"bid": BUY, "ask": SELL}
_LEVELS: Mapping[DataType, int] = {DataType.BOOK_SNAPSHOT_5: 5, DataType.BOOK_SNAPSHOT_25: 25}
_TIMES = ("timestamp", "local_timestamp")


def trade_events(rows: pl.DataFrame) -> pl.DataFrame:
    """Trades; one whose taker is unknown has no side."""
    side = pl.col("side").replace_strict(
        {"buy": BUY, "sell": SELL}, default=0, return_dtype=pl.UInt64()
    )
    return _events(rows, TRADE + side, pl.col("price"), pl.col("amount"))


class BookEvents:
    """The book of a day, from rows that are given part by part in the order of arrival.

    Args:
        kind: Data type of the rows.
    """

    def __init__(self, kind: DataType) -> None:
        self._kind = kind
        self._last: pl.DataFrame | None = None

    def taken(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The events of the next part."""
        if rows.is_empty():
            return _events(rows, pl.lit(0), pl.lit(0.0), pl.lit(0.0))
        before, self._last = self._last, rows.tail(1)
        if self._kind in _LEVELS:
            return _level_changes(rows, before, _LEVELS[self._kind])
        return _feed(rows, before)


def _events(rows: pl.DataFrame, ev: pl.Expr, price: pl.Expr, amount: pl.Expr) -> pl.DataFrame:
    exchange, local = (pl.col(name).to_physical() * 1000 for name in _TIMES)
    return rows.select(
        ev.cast(pl.UInt64()).alias("ev"),
        exchange.cast(pl.Int64()).alias("exch_ts"),
        local.cast(pl.Int64()).alias("local_ts"),
        price.cast(pl.Float64()).alias("px"),
        amount.cast(pl.Float64()).alias("qty"),
    )


def _feed(rows: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """Changes of levels as the venue gave them; a snapshot is one run of rows, which starts anew.

    A book of which the first rows are changes alone is known as far as these go.
    """
    was_snapshot = False if before is None else bool(before["is_snapshot"][0])
    marked = rows.with_row_index("at").with_columns(
        pl.col("is_snapshot").shift(1, fill_value=was_snapshot).alias("was")
    )
    side = pl.col("side").replace_strict(_SIDES, return_dtype=pl.UInt64())
    kind = pl.when("is_snapshot").then(SNAPSHOT).otherwise(DEPTH)
    starts = marked.filter(pl.col("is_snapshot"), ~pl.col("was"))
    found = [
        _placed(starts, 0, CLEAR + pl.lit(flag), pl.lit(float("nan")), pl.lit(0.0))
        for flag in _SIDES.values()
    ]
    found.append(_placed(marked, 1, kind + side, pl.col("price"), pl.col("amount")))
    return _in_place(found)


def _level_changes(rows: pl.DataFrame, before: pl.DataFrame | None, depth: int) -> pl.DataFrame:
    """What changed from each snapshot to the next.

    Snapshots show some levels alone: one that is no longer among them leaves the book, since nobody
    knows what becomes of it.
    """
    known = rows if before is None else pl.concat([before, rows])
    numbered = known.with_row_index("at")
    times = numbered.select("at", *_TIMES)
    found = []
    if before is None:
        first = times.head(1)
        found += [
            _placed(first, 0, CLEAR + pl.lit(flag), pl.lit(float("nan")), pl.lit(0.0))
            for flag in _SIDES.values()
        ]
    for side, flag in _SIDES.items():
        levels = _long(numbered, side, depth)
        levels = levels.sort("price", "at").with_columns(
            pl.col("at", "amount").shift(1).over("price").name.prefix("last_"),
            pl.col("at").shift(-1).over("price").alias("next_at"),
        )
        is_new = pl.col("last_at").is_null() | (pl.col("last_at") + 1 != pl.col("at"))
        changed = levels.filter(is_new | (pl.col("last_amount") != pl.col("amount")))
        gone = levels.filter(
            pl.col("next_at").is_null() | (pl.col("at") + 1 != pl.col("next_at")),
            pl.col("at") + 1 < known.height,
        ).with_columns(pl.col("at") + 1)
        kind = pl.when((pl.col("at") == 0) & (before is None)).then(SNAPSHOT).otherwise(DEPTH)
        kind = kind + pl.lit(flag)
        for order, part, amount in ((1, gone, pl.lit(0.0)), (2, changed, pl.col("amount"))):
            timed = part.join(times, on="at", how="left", maintain_order="left")
            if before is not None:
                timed = timed.filter(pl.col("at") > 0)
            found.append(_placed(timed, order, kind, pl.col("price"), amount))
    return _in_place(found)


def _long(numbered: pl.DataFrame, side: str, depth: int) -> pl.DataFrame:
    return pl.concat(
        numbered.select(
            "at",
            pl.col(f"{side}_price_{level}").alias("price"),
            pl.col(f"{side}_volume_{level}").alias("amount"),
        )
        for level in range(1, depth + 1)
    ).filter(pl.col("price").is_not_null(), pl.col("amount") > 0)


def _placed(
    rows: pl.DataFrame, order: int, ev: pl.Expr, price: pl.Expr, amount: pl.Expr
) -> pl.DataFrame:
    """Events with their row's place, and their order among those of the row."""
    return _events(rows, ev, price, amount).with_columns(
        rows["at"], pl.lit(order, pl.Int8()).alias("order")
    )


def _in_place(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """In the order of the rows: a side is cleared before it is filled, and a level goes first."""
    return pl.concat(parts).sort("at", "order", maintain_order=True).drop("at", "order")
