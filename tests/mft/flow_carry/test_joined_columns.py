"""Columns joined from other days and venues against look-ups in plain Python."""

from __future__ import annotations

import datetime as dt
import math
import random

import polars as pl
import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.joined import (
    JOINED_COLUMNS,
    with_all_venues,
    with_other_venue,
    with_slot_volume,
    with_trailing_days,
)
from tickhandler_dagster.market.mft.venues import venue_features

TIME = pl.Datetime("us", "UTC")
DAY = dt.timedelta(days=1)
BARS = 6
TODAY = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
STATUSES = ("traded", "no_trade", "vendor_gap", "traded", "traded", "traded", "traded", "traded")
_TYPES = {"ts_open": TIME, "available_at": TIME, "volume": pl.Float64, "notional": pl.Float64}


def _candle(rng, opens, width):
    status = rng.choice(STATUSES)
    return {
        "ts_open": opens,
        "available_at": opens + width + dt.timedelta(milliseconds=rng.randrange(200, 1200)),
        "status": status,
        "is_final": rng.random() > 0.05,
        "volume": rng.choice([rng.lognormvariate(0, 1), None])
        if status == "no_trade"
        else rng.lognormvariate(0, 1),
        "notional": 0.0 if status == "no_trade" else rng.lognormvariate(5, 1),
        "mid_price": rng.choice([rng.lognormvariate(4, 0.1), None]),
        "funding_annualised": None if rng.random() < 0.002 else rng.gauss(0.1, 0.05),
        "realized_variance": rng.lognormvariate(-8, 1),
    }


def _frame(rows):
    floats = dict.fromkeys(("mid_price", "funding_annualised", "realized_variance"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides=_TYPES | floats)


def _hours(day, seed, count=BARS):
    rng = random.Random(f"{day}{seed}")
    hour = dt.timedelta(hours=4)
    return [_candle(rng, day + place * hour, hour) for place in range(count)]


def _bars(days=(TODAY,)):
    rows = [row for day in days for row in _hours(day, "own")]
    return _frame(rows).with_columns(
        is_valid=_usable_expression(), quote_volume="notional", valid_run=1, traded_run=1
    )


def _usable_expression():
    return pl.col("is_final") & pl.col("status").is_in(["traded", "no_trade"])


def _is_usable(row):
    return row is not None and row["is_final"] and row["status"] != "vendor_gap"


def test_the_slot_of_the_week_is_the_same_time_four_weeks_running():
    days = [TODAY + place * DAY for place in range(10)]
    earlier = [row for ago in range(1, 40) for row in _hours(TODAY + (9 - ago) * DAY, "own")]
    known = {row["ts_open"]: row for row in earlier}
    bars = _bars(days)
    got = with_slot_volume(bars, _frame(earlier).sample(fraction=1, shuffle=True, seed=1))
    assert got.drop("slot_volume_mean_4w", "slot_volume_count_4w").equals(bars)
    counts = set()
    for row in got.to_dicts():
        volumes = []
        for week in (1, 2, 3, 4):
            then = known.get(row["ts_open"] - 7 * week * DAY)
            if _is_usable(then):
                volumes.append(0.0 if then["status"] == "no_trade" else then["volume"])
        counts.add(len(volumes))
        assert row["slot_volume_count_4w"] == len(volumes)
        want = math.fsum(volumes) / 4 if len(volumes) == 4 else None
        assert row["slot_volume_mean_4w"] == (want if want is None else pytest.approx(want))
    assert {3, 4} <= counts


def test_without_earlier_weeks_no_slot_counts():
    got = with_slot_volume(_bars(), _frame(_hours(TODAY, "own")))
    assert got["slot_volume_count_4w"].to_list() == [0] * BARS
    assert got["slot_volume_mean_4w"].null_count() == BARS


def _days(count, first):
    rng = random.Random(5)
    rows = [_candle(rng, first + place * DAY, DAY) for place in range(count)]
    return [row | {"status": "traded", "is_final": True} for row in rows]


def _wanted_of_days(days, day):
    rows = [days.get(day - ago * DAY) for ago in range(1, 31)]
    funding = [row["funding_annualised"] for row in rows if _is_usable(row)]
    funding = [value for value in funding if value is not None]
    variance = [row["realized_variance"] for row in rows if _is_usable(row)]
    wanted = {"funding_count_30d": len(funding), "funding_mean_30d": None}
    wanted |= {"funding_std_30d": None, "realized_variance_30d": None}
    if len(funding) == 30:
        mean = math.fsum(funding) / 30
        wanted["funding_mean_30d"] = mean
        wanted["funding_std_30d"] = math.sqrt(math.fsum((x - mean) ** 2 for x in funding) / 30)
    if len(variance) == 30:
        wanted["realized_variance_30d"] = math.fsum(variance) * 365 / 30
    return wanted


def test_the_thirty_days_are_those_before_the_bars_own_day():
    rows = _days(110, TODAY - 32 * DAY)
    rows[40] |= {"status": "vendor_gap"}
    rows[90] |= {"funding_annualised": None}
    days = {row["ts_open"]: row for row in rows}
    bars = _bars([TODAY + place * DAY for place in range(-3, 77)])
    got = with_trailing_days(bars, _frame(rows))
    assert got.columns[: len(bars.columns)] == bars.columns
    whole = 0
    for row in got.to_dicts():
        wanted = _wanted_of_days(days, row["ts_open"].replace(hour=0))
        whole += None not in wanted.values()
        for name, want in wanted.items():
            assert row[name] == (want if want is None else pytest.approx(want, rel=1e-12)), name
    assert 0 < whole < got.height


def test_one_day_alone_has_the_days_of_the_whole_range():
    days = _frame(_days(80, TODAY - 40 * DAY))
    each = [TODAY + place * DAY for place in range(30)]
    whole = with_trailing_days(_bars(each), days)
    parts = [with_trailing_days(_bars([day]), days) for day in each]
    assert pl.concat(parts).equals(whole)


def test_a_day_that_came_to_be_known_after_the_bar_is_not_used():
    rows = _days(30, TODAY - 30 * DAY)
    rows[-1] |= {"available_at": TODAY + dt.timedelta(hours=6), "funding_annualised": 0.1}
    got = with_trailing_days(_bars(), _frame(rows))
    is_known = got["available_at"] > TODAY + dt.timedelta(hours=6)
    assert got["realized_variance_30d"].is_not_null().equals(is_known.alias("x"))
    assert is_known.to_list() == [False, *[True] * 5]


def test_no_bars_have_no_days():
    got = with_trailing_days(_bars().clear(), _frame(_days(3, TODAY)))
    assert got.height == 0
    assert "realized_variance_30d" in got.columns


def test_the_other_venue_has_a_mid_only_where_its_bar_is_usable():
    other = _hours(TODAY, "other", 4)
    bars = _bars()
    got = with_other_venue(bars, _frame(other), "bybit")
    known = {row["ts_open"]: row for row in other}
    for row in got.to_dicts():
        there = known.get(row["ts_open"])
        fresh = there if _is_usable(there) else {}
        assert row["other_mid_price"] == fresh.get("mid_price")
        assert row["other_available_at"] == fresh.get("available_at")
        assert row["other_venue"] == "bybit"
    none = with_other_venue(bars, None, None)
    assert none.select("other_venue", "other_mid_price", "other_available_at").null_count().row(
        0
    ) == (BARS, BARS, BARS)
    assert none.schema == got.schema


def test_money_of_all_venues_needs_every_venue():
    groups = [_hours(TODAY, name) for name in ("a", "b")]
    known = [{row["ts_open"]: row for row in rows} for rows in groups]
    bars = _bars()
    got = with_all_venues(bars, [_frame(rows) for rows in groups])
    for row in got.to_dicts():
        there = [rows.get(row["ts_open"]) for rows in known]
        is_whole = row["is_valid"] and all(map(_is_usable, there))
        want = row["notional"] + sum(one["notional"] for one in there) if is_whole else None
        last = max(one["available_at"] for one in there) if is_whole else None
        assert row["all_venues_notional"] == (want if want is None else pytest.approx(want))
        assert row["all_venues_available_at"] == last
    assert 0 < got["all_venues_notional"].null_count() < BARS
    alone = with_all_venues(bars, [])
    assert alone["all_venues_notional"].null_count() == BARS
    assert alone.schema == got.schema


def test_joined_columns_have_the_stated_types():
    bars, other = _bars(), _frame(_hours(TODAY, "other"))
    got = with_all_venues(with_other_venue(bars, other, "bybit"), [other])
    got = with_trailing_days(with_slot_volume(got, other), other)
    stated = {column.name: column.dtype for column in JOINED_COLUMNS}
    own = stated.pop("funding_interval_h")
    assert own == pl.Float64
    assert {name: got.schema[name] for name in stated} == stated


def test_venue_features_are_what_their_formulas_say(windows, candles, as_series):
    features = venue_features(windows)
    frame = candles(80, has_holes=True)
    series = as_series(frame)
    got = evaluated(series, features).to_dicts()
    names = {"cross_venue_spread", *(f"venue_share_{window}" for window in windows.flow)}
    assert {entry.name for entry in features} == names
    for place, row in enumerate(got):
        other = row["other_mid_price"]
        want = math.log(row["mid_price"] / other) if row["is_valid"] and other else None
        assert row["cross_venue_spread"] == (want if want is None else pytest.approx(want))
        for window in windows.flow:
            rows = got[place - window + 1 : place + 1] if place + 1 >= window else []
            is_whole = bool(rows) and all(one["is_valid"] for one in rows)
            value = row[f"venue_share_{window}"]
            if not is_whole:
                assert value is None
                continue
            share = math.fsum(one["quote_volume"] for one in rows)
            assert value == pytest.approx(
                share / math.fsum(one["all_venues_notional"] for one in rows)
            )
