"""The calendar and the clocks against Python's own calendar."""

from __future__ import annotations

import calendar
import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.seasonality import seasonality_features
from tickhandler_dagster.market.mft.windows import Windows

FEATURES = seasonality_features(Windows())
TIME = pl.Datetime("us", "UTC")
MINUTE = dt.timedelta(minutes=1)


def _values(opens, *, width=MINUTE, next_funding=None, is_valid=True):
    frame = pl.DataFrame(
        {
            "ts_open": [opens],
            "ts_close": [opens + width],
            "next_funding_time": [next_funding],
            "valid_run": [int(is_valid)],
            "traded_run": [0],
        },
        schema_overrides=dict.fromkeys(("ts_open", "ts_close", "next_funding_time"), TIME),
    )
    return evaluated(frame, FEATURES).row(0, named=True)


def _quarter_expiries(year):
    for month in (3, 6, 9, 12):
        fridays = [
            week[calendar.FRIDAY]
            for week in calendar.Calendar().monthdayscalendar(year, month)
            if week[calendar.FRIDAY]
        ]
        yield dt.datetime(year, month, fridays[-1], 8, tzinfo=dt.UTC)


def _reference(opens, closes, next_funding):
    minute, weekday = opens.hour * 60 + opens.minute, opens.weekday()
    expiries = list(_quarter_expiries(opens.year))
    week = dt.timedelta(days=7)
    expiry = closes.replace(hour=8, minute=0, second=0, microsecond=0)
    if expiry < closes:
        expiry += dt.timedelta(days=1)
    is_named = next_funding is not None and next_funding >= closes
    return {
        "minute_of_day_sin": math.sin(2 * math.pi * minute / 1440),
        "minute_of_day_cos": math.cos(2 * math.pi * minute / 1440),
        "day_of_week_sin": math.sin(2 * math.pi * weekday / 7),
        "day_of_week_cos": math.cos(2 * math.pi * weekday / 7),
        "is_weekend": weekday in (5, 6),
        "is_quarter_expiry_week": any(end - week <= opens < end for end in expiries),
        "minutes_to_funding": (next_funding - closes) / MINUTE if is_named else None,
        "minutes_to_expiry": (expiry - closes) / MINUTE,
    }


_minutes = st.integers(0, 15 * 365 * 1440).map(
    lambda count: dt.datetime(2018, 1, 1, tzinfo=dt.UTC) + count * MINUTE
)


@settings(max_examples=60)
@given(
    opens=_minutes,
    width=st.sampled_from([1, 5, 15, 60, 240, 1440]).map(lambda count: count * MINUTE),
    to_funding=st.none() | st.integers(-600, 600).map(lambda count: count * MINUTE),
)
def test_the_calendar_is_the_calendar(opens, width, to_funding):
    next_funding = None if to_funding is None else opens + to_funding
    got = _values(opens, width=width, next_funding=next_funding)
    for name, wanted in _reference(opens, opens + width, next_funding).items():
        assert got[name] == (
            pytest.approx(wanted, abs=1e-12) if isinstance(wanted, float) else wanted
        ), name


def test_every_calendar_entry_has_a_reference_of_its_name():
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert {entry.name for entry in FEATURES} == set(_reference(moment, moment, None))


@pytest.mark.parametrize(
    "expiry",
    [
        dt.datetime(2024, 3, 29, 8, tzinfo=dt.UTC),
        dt.datetime(2024, 6, 28, 8, tzinfo=dt.UTC),
        dt.datetime(2024, 9, 27, 8, tzinfo=dt.UTC),
        dt.datetime(2024, 12, 27, 8, tzinfo=dt.UTC),
        dt.datetime(2023, 6, 30, 8, tzinfo=dt.UTC),
    ],
)
def test_the_week_before_a_known_quarter_expiry_ends_with_it(expiry):
    week = dt.timedelta(days=7)
    answers = [
        _values(moment)["is_quarter_expiry_week"]
        for moment in (expiry - week - MINUTE, expiry - week, expiry - MINUTE, expiry)
    ]
    assert answers == [False, True, True, False]


def test_an_ordinary_monthly_expiry_is_no_quarter_expiry():
    assert not _values(dt.datetime(2024, 4, 26, 7, 59, tzinfo=dt.UTC))["is_quarter_expiry_week"]


def test_at_eight_no_minute_is_left_to_expiry():
    assert _values(dt.datetime(2024, 4, 26, 7, 59, tzinfo=dt.UTC))["minutes_to_expiry"] == 0
    assert _values(dt.datetime(2024, 4, 26, 8, 0, tzinfo=dt.UTC))["minutes_to_expiry"] == 1439


def test_a_bar_that_is_not_valid_has_no_calendar():
    values = _values(dt.datetime(2024, 4, 26, tzinfo=dt.UTC), is_valid=False)
    assert all(values[entry.name] is None for entry in FEATURES)
