"""The calendar and the clocks of events: known in advance, so they may look forward.

What belongs here: entries that follow from the bar's time and the venue's announced times. They
need no data, yet a bar that is not valid has none of them: a row is read whole or not at all.
"""

from __future__ import annotations

import math

import polars as pl

from tickhandler_dagster.market.features.units import Unit
from tickhandler_dagster.market.mft.entry import MftFeature
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.tables import Bounds

MINUTES_PER_DAY = 1_440
EXPIRY_HOUR = 8
"""Options and dated futures end at 08:00 UTC."""

_DAYS_PER_WEEK = 7
_FRIDAY = 5
_SATURDAY = 6
_US_PER_MINUTE = 60_000_000
_MINUTES = Unit("min")
_CYCLE = Bounds(ge=-1, le=1)

_opens, _closes = pl.col("ts_open"), pl.col("ts_close")


def seasonality_features(_windows: Windows) -> tuple[MftFeature, ...]:
    """Entries of the calendar; no window changes them."""
    return (*_cycles(), *_calendar(), *_clocks())


def _cycles() -> tuple[MftFeature, ...]:
    minute = _opens.dt.hour().cast(pl.Float64) * 60 + _opens.dt.minute()
    weekday = (_opens.dt.weekday() - 1).cast(pl.Float64)
    angles = (
        ("minute_of_day", "minute of the day / 1440", minute * (2 * math.pi / MINUTES_PER_DAY)),
        ("day_of_week", "day of the week / 7, Monday 0", weekday * (2 * math.pi / _DAYS_PER_WEEK)),
    )
    return tuple(
        MftFeature(
            name=f"{name}_{wave}",
            formula=f"{wave}(2π · {meaning}) of the bar's open, UTC.",
            look_back=0,
            inputs=("ts_open",),
            expression=angle.sin() if wave == "sin" else angle.cos(),
            bounds=_CYCLE,
        )
        for name, meaning, angle in angles
        for wave in ("sin", "cos")
    )


def _calendar() -> tuple[MftFeature, ...]:
    expiry = _quarter_expiry(_opens)
    return (
        MftFeature(
            name="is_weekend",
            formula="The bar opens on a Saturday or Sunday, UTC.",
            look_back=0,
            inputs=("ts_open",),
            expression=_opens.dt.weekday() >= _SATURDAY,
            dtype=pl.Boolean(),
        ),
        MftFeature(
            name="is_quarter_expiry_week",
            formula="The bar opens in the seven days before the quarter's expiry: 08:00 UTC on the "
            "last Friday of March, June, September or December.",
            look_back=0,
            inputs=("ts_open",),
            expression=(_opens < expiry) & (_opens >= expiry.dt.offset_by("-7d")),
            dtype=pl.Boolean(),
        ),
    )


def _quarter_expiry(moment: pl.Expr) -> pl.Expr:
    """08:00 on the last Friday of the moment's quarter, which may be past."""
    last_day = moment.dt.truncate("1q").dt.offset_by("1q").dt.offset_by("-1d")
    after_friday = (last_day.dt.weekday().cast(pl.Int64) - _FRIDAY) % _DAYS_PER_WEEK
    return last_day - pl.duration(days=after_friday) + pl.duration(hours=EXPIRY_HOUR)


def _clocks() -> tuple[MftFeature, ...]:
    to_funding = _minutes(pl.col("next_funding_time") - _closes)
    since_expiry = _minutes(_closes - _closes.dt.truncate("1d")) - EXPIRY_HOUR * 60
    return (
        MftFeature(
            name="minutes_to_funding",
            formula="Time from the bar's end to next_funding_time.",
            look_back=0,
            inputs=("ts_close", "next_funding_time"),
            expression=pl.when(to_funding >= 0).then(to_funding),
            unit=_MINUTES,
            bounds=Bounds(ge=0),
            null_rule="the venue names no next funding, or one that is past",
        ),
        MftFeature(
            name="minutes_to_expiry",
            formula="Time from the bar's end to the next 08:00 UTC, when options and dated futures "
            "end; 0 at that moment.",
            look_back=0,
            inputs=("ts_close",),
            expression=(-since_expiry) % MINUTES_PER_DAY,
            unit=_MINUTES,
            bounds=Bounds(ge=0, lt=MINUTES_PER_DAY),
        ),
    )


def _minutes(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / _US_PER_MINUTE
