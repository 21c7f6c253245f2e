"""Columns of other days and other instruments that are joined to a series before its features.

What belongs here: what those columns are, where they come from, and the joins: frames in, columns
out. What does not: reading candles (`pipeline`) and choosing instruments (`venue_peers.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.market.mft.carry import TRAILING_DAYS
from tickhandler_dagster.market.mft.flow import SLOT_WEEKS
from tickhandler_dagster.market.mft.series import USED_STATUSES
from tickhandler_dagster.market.mft.trailing import trailing_deviation
from tickhandler_dagster.market.mft.window_math import window_sum
from tickhandler_dagster.market.tables import TIMESTAMP

DAYS_PER_YEAR = 365

SLOT_CANDLE_COLUMNS = ("ts_open", "status", "is_final", "volume")
"""What `with_slot_volume` reads of the candles of earlier weeks, same timeframe."""

DAY_CANDLE_COLUMNS = (
    "ts_open",
    "available_at",
    "status",
    "is_final",
    "funding_annualised",
    "realized_variance",
)
"""What `with_trailing_days` reads of the 24 h candles."""

VENUE_CANDLE_COLUMNS = (
    "ts_open",
    "available_at",
    "status",
    "is_final",
    "notional",
    "mid_price",
)
"""What `with_other_venue` and `with_all_venues` read of candles of other venues, same timeframe."""


@dataclass(frozen=True, slots=True)
class JoinedColumn:
    """A column that a series has beside `bar_series`.

    Attributes:
        name: Column name.
        dtype: Polars type.
        definition: What it is.
        origin: The frames it comes from, and the function that joins it.
    """

    name: str
    dtype: pl.DataType
    definition: str
    origin: str


_F64, _I64 = pl.Float64(), pl.Int64()
_OWN = "the instrument's own candle; only to be read with `CANDLE_COLUMNS`, no function"
_WEEKS = "candles of the same timeframe of the days 7, 14, 21 and 28 before: `with_slot_volume`"
_DAYS = "24 h candles of the 30 UTC days before the bar's: `with_trailing_days`"
_OTHER = "candles of `venue_peers.peer_key` on the reference venue: `with_other_venue`"
_ALL = "candles of `venue_peers.group_keys` of all other venues: `with_all_venues`"

JOINED_COLUMNS: tuple[JoinedColumn, ...] = (
    JoinedColumn("funding_interval_h", _F64, "Hours between fundings.", _OWN),
    JoinedColumn(
        "slot_volume_mean_4w",
        _F64,
        "Mean base volume of the four bars exactly 7, 14, 21 and 28 days before; a final bar "
        "without trades counts 0; null unless all four are there, final and observed.",
        _WEEKS,
    ),
    JoinedColumn("slot_volume_count_4w", _I64, "How many of the four are usable.", _WEEKS),
    JoinedColumn(
        "funding_mean_30d",
        _F64,
        "Mean of funding_annualised at the ends of the 30 days; null unless all have it.",
        _DAYS,
    ),
    JoinedColumn(
        "funding_std_30d",
        _F64,
        "Standard deviation (ddof 0) of the same; null unless all have it.",
        _DAYS,
    ),
    JoinedColumn("funding_count_30d", _I64, "How many of the 30 days have it.", _DAYS),
    JoinedColumn(
        "realized_variance_30d",
        _F64,
        "Annualised: Σ realized_variance of the 30 days · 365/30; null unless all have it.",
        _DAYS,
    ),
    JoinedColumn("other_venue", pl.String(), "The reference venue; null for none.", _OTHER),
    JoinedColumn(
        "other_mid_price",
        _F64,
        "Mid price at the same bar's end there; null unless that bar is final and observed.",
        _OTHER,
    ),
    JoinedColumn("other_available_at", TIMESTAMP, "When that bar could first be known.", _OTHER),
    JoinedColumn(
        "all_venues_notional",
        _F64,
        "Money of the bar here and on all other venues of the pair and kind; null unless the bar "
        "is final and observed on every one of them, or where there is no other.",
        _ALL,
    ),
    JoinedColumn(
        "all_venues_available_at", TIMESTAMP, "When the last of those bars could be known.", _ALL
    ),
)
"""Every column that entries read and `bar_series` does not make.

The day's row is known no earlier than `available_at`, `other_available_at`,
`all_venues_available_at` and `cross_section_available_at` (`cross_section.py`), whichever is last:
the stored `available_at` is the largest of those that are not null.
"""


def with_slot_volume(bars: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """The bars with the volume of the same slot of the week over the four weeks before.

    Args:
        bars: A `bar_series`.
        earlier: `SLOT_CANDLE_COLUMNS` of the same instrument and timeframe; days may be missing,
            and days that are not wanted may be there.
    """
    volume = pl.when(pl.col("status") == "no_trade").then(0.0).otherwise("volume")
    usable = earlier.filter(_is_usable()).select("ts_open", volume.alias("_volume")).drop_nulls()
    weeks = [f"_volume_{week}" for week in range(1, SLOT_WEEKS + 1)]
    for week, name in enumerate(weeks, start=1):
        later = usable.select(
            pl.col("ts_open").dt.offset_by(f"{7 * week}d"), pl.col("_volume").alias(name)
        )
        bars = bars.join(later, on="ts_open", how="left", maintain_order="left")
    count = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int64) for name in weeks)
    first, second, third, fourth = (pl.col(name) for name in weeks)
    return bars.with_columns(
        slot_volume_mean_4w=((first + second) + (third + fourth)) / SLOT_WEEKS,
        slot_volume_count_4w=count.cast(pl.Int64),
    ).drop(weeks)


def with_trailing_days(bars: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """The bars with funding and realised variance of the 30 UTC days before the bar's own.

    A day that could not be known yet when the bar was is no day: the columns are null.

    Args:
        bars: A `bar_series` of one day or many.
        days: `DAY_CANDLE_COLUMNS` of the instrument's 24 h candles; days may be missing.
    """
    calendar = _calendar(bars)
    kept = days.select(DAY_CANDLE_COLUMNS).rename({"ts_open": "_day", "available_at": "_known"})
    dense = calendar.join(kept, on="_day", how="left", maintain_order="left").with_columns(
        pl.when(_is_usable().fill_null(value=False)).then(name).alias(name)
        for name in ("funding_annualised", "realized_variance")
    )
    funding, variance = pl.col("funding_annualised"), pl.col("realized_variance")
    trailing = dense.select(
        "_day",
        _known=pl.col("_known").rolling_max(TRAILING_DAYS, min_samples=1).shift(1),
        funding_mean_30d=window_sum(funding, TRAILING_DAYS).shift(1) / TRAILING_DAYS,
        funding_std_30d=trailing_deviation(funding, TRAILING_DAYS).shift(1),
        funding_count_30d=funding.is_not_null().cast(pl.Int64).rolling_sum(TRAILING_DAYS).shift(1),
        realized_variance_30d=window_sum(variance, TRAILING_DAYS).shift(1)
        * (DAYS_PER_YEAR / TRAILING_DAYS),
    )
    names = trailing.columns[2:]
    is_known = pl.col("_known") <= pl.col("available_at")
    return (
        bars.with_columns(_day=pl.col("ts_open").dt.truncate("1d"))
        .join(trailing, on="_day", how="left", maintain_order="left")
        .with_columns(
            pl.when(is_known).then(pl.col(name).fill_nan(None)).alias(name) for name in names
        )
        .with_columns(pl.col("funding_count_30d").fill_null(0))
        .drop("_day", "_known")
    )


def _calendar(bars: pl.DataFrame) -> pl.DataFrame:
    """Midnights of all days of the bars and of the days before that they look at."""
    opens = bars["ts_open"]
    first, last = opens.min(), opens.max()
    if not (isinstance(first, dt.datetime) and isinstance(last, dt.datetime)):
        return pl.DataFrame(schema={"_day": TIMESTAMP})
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    days = pl.datetime_range(
        midnight - dt.timedelta(days=TRAILING_DAYS), last, "1d", eager=True, time_unit="us"
    )
    return pl.DataFrame({"_day": days})


def with_other_venue(
    bars: pl.DataFrame, other: pl.DataFrame | None, venue: str | None
) -> pl.DataFrame:
    """The bars with the mid of the reference venue's instrument at the same bar's end.

    Args:
        bars: A `bar_series`.
        other: `VENUE_CANDLE_COLUMNS` of that instrument; None where there is none.
        venue: The venue it is on.
    """
    if other is None:
        return bars.with_columns(
            other_venue=pl.lit(None, pl.String),
            other_mid_price=pl.lit(None, pl.Float64),
            other_available_at=pl.lit(None, TIMESTAMP),
        )
    there = other.filter(_is_usable()).select(
        "ts_open",
        other_mid_price="mid_price",
        other_available_at="available_at",
    )
    return bars.with_columns(other_venue=pl.lit(venue, pl.String)).join(
        there, on="ts_open", how="left", maintain_order="left"
    )


def with_all_venues(bars: pl.DataFrame, others: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The bars with the money that was traded here and on all other venues.

    The group is one day's: a series over days in which it changes is joined day by day.

    Args:
        bars: A `bar_series`.
        others: `VENUE_CANDLE_COLUMNS` of each instrument of `group_keys`, in that order.
    """
    if not others:
        return bars.with_columns(
            all_venues_notional=pl.lit(None, pl.Float64),
            all_venues_available_at=pl.lit(None, TIMESTAMP),
        )
    money = [f"_money_{place}" for place in range(len(others))]
    known = [f"_known_{place}" for place in range(len(others))]
    for other, money_name, known_name in zip(others, money, known, strict=True):
        notional = pl.when(pl.col("status") == "no_trade").then(0.0).otherwise("notional")
        there = other.filter(_is_usable()).select(
            "ts_open", notional.alias(money_name), pl.col("available_at").alias(known_name)
        )
        bars = bars.join(there, on="ts_open", how="left", maintain_order="left")
    total: pl.Expr = pl.when("is_valid").then("quote_volume")
    for name in money:
        total = total + pl.col(name)
    return bars.with_columns(
        all_venues_notional=total,
        all_venues_available_at=pl.when(total.is_not_null()).then(pl.max_horizontal(known)),
    ).drop(*money, *known)


def _is_usable() -> pl.Expr:
    """A candle that is final and observed, as `bar_series` has it for the instrument's own."""
    return pl.col("is_final") & pl.col("status").is_in(USED_STATUSES)
