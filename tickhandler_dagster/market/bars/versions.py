"""A bar's version: how often its values have changed since it was first published.

What belongs here: comparing a day's new bars with the stored ones. What does not: reading and
writing them (`pipeline/candle_files.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.candle_table import CANDLE_TABLE, PROVENANCE
from tickhandler_dagster.market.tables import Table


@dataclass(frozen=True, slots=True)
class BarChanges:
    """What a build did to stored bars.

    Attributes:
        new: Bars that were not there.
        changed: Bars with another value than before.
        finalised: Bars that became final.
    """

    new: int = 0
    changed: int = 0
    finalised: int = 0

    def __add__(self, other: BarChanges) -> BarChanges:
        return BarChanges(
            self.new + other.new, self.changed + other.changed, self.finalised + other.finalised
        )


def with_versions(
    bars: pl.DataFrame,
    stored: pl.DataFrame | None,
    *,
    table: Table = CANDLE_TABLE,
    place: str = "ts_open",
    version: str = "bar_version",
) -> tuple[pl.DataFrame, BarChanges]:
    """The new bars with the version each has by the stored ones, and what changed.

    Args:
        bars: A day's bars of one instrument and timeframe or kind, of `table`.
        stored: The bars in the lake; None where there are none. With other columns than today's,
            or of other types, every bar counts as changed.
        table: What both are.
        place: The column that says which bar of the day a bar is.
        version: The column that holds the version.
    """
    if stored is None:
        return bars, BarChanges(new=bars.height)
    values = [name for name in table.names if name not in {place, version, *PROVENANCE}]
    known = [name for name in values if stored.schema.get(name) == bars.schema[name]]
    has_all_columns = len(known) == len(values)
    old = stored.select(
        place,
        stored_version=version,
        was_final="is_final",
        was_there=pl.lit(value=True),
        was=pl.struct(known),
    )
    matched = (
        bars.with_columns(now=pl.struct(known))
        .join(old, on=place, how="left", suffix="_stored", maintain_order="left")
        .with_columns(pl.col("was_there").fill_null(value=False))
        .with_columns(
            is_changed=pl.col("was_there")
            & (pl.col("was").ne_missing(pl.col("now")) | pl.lit(not has_all_columns))
        )
    )
    versioned = matched.with_columns(
        (pl.col("stored_version").fill_null(1) + pl.col("is_changed")).cast(pl.Int32).alias(version)
    ).select(table.names)
    counts = matched.select(
        new=(~pl.col("was_there")).sum(),
        changed=pl.col("is_changed").sum(),
        finalised=(pl.col("is_final") & ~pl.col("was_final").fill_null(value=True)).sum(),
    ).row(0, named=True)
    return versioned, BarChanges(**counts)
