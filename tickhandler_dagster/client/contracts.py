"""Instruments of days, and the universe of a moment as it was known then.

What belongs here: rows of `INSTRUMENTS_TABLE`. What does not: choosing them (`choice.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tickhandler_dagster.client.spans import moment_of
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE


def instruments_frame(universes: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The universes of several days below each other, by day and key."""
    if not universes:
        return pl.DataFrame(schema=INSTRUMENTS_TABLE.polars_schema)
    return pl.concat(universes).sort("date", "instrument_key")


def known_universe(universes: Sequence[pl.DataFrame], as_of_us: int) -> pl.DataFrame:
    """What was listed at the moment, without what was only known later.

    The day's universe says when an instrument's data ended, which on the day itself nobody knew;
    an end that lies in the future is therefore null. An expiry is known from the first day on.
    """
    now = moment_of(as_of_us)
    ends = pl.col("available_to")
    return (
        instruments_frame(universes)
        .filter(
            pl.col("available_from") <= now,
            ends.is_null() | (ends > now),
            pl.col("expiry").is_null() | (pl.col("expiry") > now),
        )
        .with_columns(
            pl.when(ends <= now).then(ends).alias("available_to"),
        )
    )
