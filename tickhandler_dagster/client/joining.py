"""Joins in time that know no more than was known.

What belongs here: the as-of join on `available_at`. What does not: reading either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from tickhandler_dagster.market.features.registry import DELAYS_US, FEATURES, delayed_name

KNOWN = "available_at"


def delayed_columns(columns: Iterable[str]) -> dict[str, list[str]]:
    """Of these columns the ones that are known later than their bar, by the column that says when.

    Example:
        >>> delayed_columns(["close", "open"])
        {}
    """
    found: dict[str, list[str]] = {}
    for name in columns:
        delay = FEATURES[name].delay_us if name in FEATURES else 0
        if delay in DELAYS_US:
            found.setdefault(delayed_name(delay), []).append(name)
    return found


def known_join(
    left: pl.LazyFrame, right: pl.LazyFrame, columns: Sequence[str], *, suffix: str, by: str
) -> pl.LazyFrame:
    """Each row of `left` with the latest row of `right` known at its `available_at`.

    Nulls: where nothing of `right` was known yet, or a column of it was not yet.
    """
    delayed = delayed_columns(columns)
    wanted = list(dict.fromkeys(name for name in columns if name not in {KNOWN, by}))
    taken = right.select(
        by,
        KNOWN,
        pl.col(KNOWN).alias(f"{KNOWN}{suffix}"),
        *(pl.col(name).alias(f"{name}{suffix}") for name in wanted),
        *(pl.col(name).alias(f"_{name}") for name in delayed),
    )
    # both sides ordered for the join alone; the rows come back in the order they had
    joined = (
        left.with_row_index("_place")
        .sort(KNOWN, maintain_order=True)
        .join_asof(
            taken.sort(KNOWN, maintain_order=True),
            on=KNOWN,
            by=by,
            strategy="backward",
            check_sortedness=False,
        )
        .sort("_place")
    )
    hidden = [
        pl.when(pl.col(f"_{moment}") <= pl.col(KNOWN))
        .then(pl.col(f"{name}{suffix}"))
        .alias(f"{name}{suffix}")
        for moment, names in delayed.items()
        for name in names
    ]
    return joined.with_columns(hidden).drop("_place", *(f"_{name}" for name in delayed))
