"""Rows and instruments of a day against those before: weekdays and listings are no alarm."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.audits.counts import (
    FACTOR,
    MIN_DAYS,
    MIN_ROWS,
    TOTAL_FACTOR,
    listing_changes,
    reference_days,
    unusual_count,
    without_terms,
)
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE

SATURDAY = dt.date(2024, 8, 31)
FRIDAY = SATURDAY - dt.timedelta(days=1)
USUAL = 50_000


def history(date, *, seed=1, spread=0.2, weekend=1.0, days=28, keys=("A",)):
    """Rows of the days before by day and instrument."""
    rng = np.random.default_rng(seed)
    return {
        day: {key: rows_of(day, rng, spread=spread, weekend=weekend) for key in keys}
        for ago in range(1, days + 1)
        if (day := date - dt.timedelta(days=ago))
    }


def rows_of(day, rng, *, spread, weekend):
    return round(USUAL * np.exp(rng.normal(0, spread)) * (weekend if day.weekday() >= 5 else 1.0))


@given(seed=st.integers(0, 10_000), spread=st.floats(0, 0.3), weekend=st.floats(0.05, 1))
@settings(max_examples=100)
def test_a_usual_day_raises_nothing_on_any_weekday(seed, spread, weekend):
    rng = np.random.default_rng(seed)
    date = FRIDAY + dt.timedelta(days=seed % 7)
    earlier = history(date, seed=seed + 1, spread=spread, weekend=weekend)
    today = {"A": rows_of(date, rng, spread=spread, weekend=weekend)}
    assert unusual_count(date, today, earlier, factor=FACTOR) is None


@pytest.mark.parametrize("date", [FRIDAY, SATURDAY])
@pytest.mark.parametrize("factor", [0, 0.02, 0.2, 5, 40])
def test_a_fifth_of_the_rows_or_five_times_as_many_is_found(date, factor):
    today = {"A": round(USUAL * factor)}
    found = unusual_count(date, today, history(date), factor=FACTOR)
    assert found.rows == USUAL * factor
    assert found.usual == pytest.approx(USUAL, rel=0.3)
    assert f"{found.rows:,} rows, {found.days} earlier days suggest" in found.text


def test_a_weekend_is_like_weekends_and_a_friday_like_a_weekend_is_not():
    weekend = {"A": round(USUAL * 0.1)}
    assert unusual_count(SATURDAY, weekend, history(SATURDAY, weekend=0.1), factor=FACTOR) is None
    assert unusual_count(FRIDAY, weekend, history(FRIDAY, weekend=0.1), factor=FACTOR) is not None


def test_too_few_earlier_days_or_rows_are_not_judged():
    today = {"A": USUAL * 20}
    assert unusual_count(FRIDAY, today, history(FRIDAY, days=MIN_DAYS - 1), factor=FACTOR) is None
    assert unusual_count(FRIDAY, today, history(FRIDAY, days=MIN_DAYS), factor=FACTOR).days == 3
    few = {day: {"A": 2} for day in history(FRIDAY)}
    assert unusual_count(FRIDAY, {"A": MIN_ROWS - 1}, few, factor=FACTOR) is None
    assert unusual_count(FRIDAY, {"A": MIN_ROWS}, few, factor=FACTOR) is not None


def test_listings_and_expiries_do_not_change_the_total():
    earlier = history(FRIDAY, keys=("A", "B", "gone"))
    today = {"A": USUAL, "B": USUAL, "new": USUAL * 100}
    assert unusual_count(FRIDAY, today, earlier, factor=TOTAL_FACTOR) is None
    assert unusual_count(FRIDAY, {"new": USUAL}, earlier, factor=TOTAL_FACTOR) is None
    half = {"A": USUAL // 4, "B": USUAL // 4}
    assert unusual_count(FRIDAY, half, earlier, factor=TOTAL_FACTOR) is not None


def test_a_restless_instrument_is_allowed_more():
    today = {"A": USUAL * 5}
    assert unusual_count(FRIDAY, today, history(FRIDAY, spread=0.1), factor=FACTOR) is not None
    assert unusual_count(FRIDAY, today, history(FRIDAY, spread=1.5), factor=FACTOR) is None


def test_the_references_are_a_week_and_four_weekdays_before():
    week, weekdays = reference_days(SATURDAY)
    assert (len(week), max(week), min(week)) == (7, FRIDAY, dt.date(2024, 8, 24))
    assert {day.weekday() for day in weekdays} == {5}
    assert min(weekdays) == dt.date(2024, 8, 3)


def universe(**counts):
    """So many instruments of each type; options by underlying."""
    rows = [
        {"instrument_type": kind, "instrument_key": f"{kind}{number}", "contract_size": 1.0}
        for kind in ("SPOT_PAIR", "PERPETUAL", "FUTURE")
        for number in range(counts.get(kind.lower(), 0))
    ]
    rows += [
        {"instrument_type": "OPTION", "underlying": name, "instrument_key": f"{name}{number}"}
        for name, count in counts.get("options", {}).items()
        for number in range(count)
    ]
    schema = INSTRUMENTS_TABLE.polars_schema
    records = [dict.fromkeys(schema.names()) | row for row in rows]
    return pl.DataFrame(records, schema=schema)


@pytest.mark.parametrize(
    ("before", "today", "texts"),
    [
        ({"perpetual": 200}, {"perpetual": 230}, []),
        ({"perpetual": 200}, {"perpetual": 120}, ["120 PERPETUAL listed, 200 the day before"]),
        ({"spot_pair": 100}, {"spot_pair": 0}, ["0 SPOT_PAIR listed, 100 the day before"]),
        ({"spot_pair": 3}, {"spot_pair": 6}, []),
        ({"spot_pair": 3}, {"spot_pair": 7}, ["7 SPOT_PAIR listed, 3 the day before"]),
        ({}, {"spot_pair": 70}, []),
        ({"future": 40}, {"future": 2}, []),
        ({"options": {"BTC-USD": 900}}, {"options": {"BTC-USD": 40}}, []),
        (
            {"options": {"BTC-USD": 900, "ETH-USD": 700}},
            {"options": {"BTC-USD": 900}},
            ["no options on ETH-USD any more"],
        ),
    ],
)
def test_types_without_expiry_are_counted_and_underlyings_of_options_must_stay(
    before, today, texts
):
    changes = listing_changes(universe(**today), universe(**before))
    assert [change.text for change in changes] == texts


def test_an_instrument_whose_contract_is_unknown_is_named():
    listed = universe(spot_pair=2, options={"BTC-USD": 1})
    assert without_terms(listed) == ["BTC-USD0"]
