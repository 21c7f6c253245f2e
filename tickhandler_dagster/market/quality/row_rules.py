"""Rules that keep single rows out, each under its name; and the table the kept-out rows go to.

What does not belong here: duplicate ids, which need the whole file (`adapters/duplicate_ids.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RawTable
from tickhandler_dagster.market.tables import Bounds, Column, Table

MAX_CLOCK_DISTANCE_US = 3600 * US_PER_SECOND

REASON = "reason"
SYMBOL = "symbol"


def quarantine_table(table: RawTable) -> Table:
    """The stored form of rows kept out: why, whose, and the row as it came."""
    return Table(
        name=f"quarantined_{table.stored.name}",
        grain=f"one {table.data_type} row that was kept out",
        columns=(
            Column(REASON, pl.String(), "Name of the rule the row breaks."),
            Column(SYMBOL, pl.String(), "The symbol in the vendor's file."),
            *(
                Column(
                    column.name,
                    column.dtype,
                    column.description,
                    unit=column.unit,
                    is_nullable=True,
                )
                for column in table.stored.columns
            ),
        ),
    )


def split_rows(frame: pl.DataFrame, table: RawTable) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that break no rule, and the others with their `reason`.

    Shape:
        Both in the order of `frame`; the second has the column `reason` in addition. Together they
        are all rows.
    Nulls:
        A null breaks no rule.
    """
    rules = _broken_rules(table)
    broken = frame.select(pl.any_horizontal(rules.values()).fill_null(value=False)).to_series()
    if not broken.any():
        return frame, frame.clear().with_columns(pl.lit("").alias(REASON)).clear()
    reason = pl.coalesce(
        *(pl.when(is_broken).then(pl.lit(str(rule))) for rule, is_broken in rules.items())
    ).alias(REASON)
    return frame.filter(~broken), frame.filter(broken).with_columns(reason)


def _broken_rules(table: RawTable) -> dict[RuleName, pl.Expr]:
    """Per rule an expression that is true where a row breaks it; the first gives the reason."""
    columns = table.stored.columns
    numbers = [column.name for column in columns if column.dtype == pl.Float64()]
    distance = pl.col("timestamp").to_physical() - pl.col("local_timestamp").to_physical()
    rules = {
        RuleName.CLOCKS_APART: (distance > MAX_CLOCK_DISTANCE_US)
        | (distance < -MAX_CLOCK_DISTANCE_US),
        RuleName.NOT_FINITE: _any(pl.col(name).is_finite().not_() for name in numbers),
    }
    if table.positive:
        rules[RuleName.NOT_POSITIVE] = _any(pl.col(name) <= 0 for name in table.positive)
    bounded = [
        outside
        for column in columns
        if column.name not in table.positive
        for outside in _outside(column)
    ]
    unsorted = [
        is_wrong
        for side in ("ask", "bid")
        for is_wrong in _out_of_order(_level_prices(table, side))
    ]
    if unsorted:
        rules[RuleName.UNSORTED_LEVELS] = _any(unsorted)
    if bounded:
        rules[RuleName.OUT_OF_BOUNDS] = _any(bounded)
    return rules


def _level_prices(table: RawTable, side: str) -> list[pl.Expr]:
    """The prices of a book side, best first, so signed that they go up; none for other tables."""
    sign = 1 if side == "ask" else -1
    return [
        sign * pl.col(column.name)
        for column in table.stored.columns
        if column.name.startswith(f"{side}_price_")
    ]


def _out_of_order(prices: Sequence[pl.Expr]) -> Iterator[pl.Expr]:
    """Per level an expression that is true where its price is not beyond the last one before it.

    Two levels of one price are one level; levels that are missing are passed over.
    """
    for place in range(1, len(prices)):
        yield prices[place] <= pl.coalesce(prices[place - 1 :: -1])


def _outside(column: Column) -> list[pl.Expr]:
    """Per limit of a number an expression that is true beyond it."""
    value, bounds = pl.col(column.name), column.bounds
    if bounds == Bounds(one_of=bounds.one_of):
        return []
    beyond = (
        (bounds.gt, value.le),
        (bounds.ge, value.lt),
        (bounds.lt, value.ge),
        (bounds.le, value.gt),
    )
    return [outside(limit) for limit, outside in beyond if limit is not None]


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(condition.fill_null(value=False) for condition in conditions)
