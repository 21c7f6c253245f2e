"""The cross-section against plain Python; members, ties, order."""

from __future__ import annotations

import datetime as dt
import math
import random

import polars as pl
import pytest

from tickhandler_dagster.market.mft.cross_section import (
    compared_columns,
    cross_section_features,
    cross_sectional,
)
from tickhandler_dagster.market.mft.entry import Scope
from tickhandler_dagster.market.mft.windows import Windows

WINDOWS = Windows(horizons=(1, 5))
FEATURES = cross_section_features(WINDOWS)
NAMES = compared_columns(WINDOWS)
START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def _frame(bars=30, instruments=12, seed=0):
    """Ties, unknown values, invalid rows; every seventh bar has only four valid instruments."""
    rng = random.Random(seed)
    rows = []
    for bar in range(bars):
        for member in range(instruments):
            moment = START + bar * 60 * SECOND
            values = {
                name: None if rng.random() < 0.1 else round(rng.gauss(0, 2), 1) for name in NAMES
            }
            is_few = bar % 7 == 6 and member >= 4
            rows.append(
                values
                | {
                    "instrument_key": f"V:PERPETUAL:A{member:02}-USDT",
                    "ts_open": moment,
                    "available_at": moment + 60 * SECOND + rng.randrange(900) * SECOND / 1000,
                    "is_valid": not is_few and rng.random() > 0.1,
                }
            )
    times = dict.fromkeys(("ts_open", "available_at"), pl.Datetime("us", "UTC"))
    return pl.DataFrame(rows, schema_overrides=times | dict.fromkeys(NAMES, pl.Float64))


def _percentile(values, share):
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _rank(values, value):
    below = sum(other < value for other in values)
    alike = sum(other == value for other in values)
    rank = below + (alike + 1) / 2
    return (rank - 0.5) / len(values) - 0.5


def _moments(values):
    low, high = _percentile(values, 0.01), _percentile(values, 0.99)
    cut = [min(max(value, low), high) for value in values]
    mean = math.fsum(cut) / len(cut)
    return low, high, mean, math.sqrt(math.fsum((x - mean) ** 2 for x in cut) / len(cut))


def _z(values, value):
    low, high, mean, deviation = _moments(values)
    return (min(max(value, low), high) - mean) / deviation


def _of_member(measure):
    return lambda values, value: None if value is None else measure(values, value)


def _references():
    references = {}
    for name in NAMES:
        references[f"cs_rank_{name}"] = name, _of_member(_rank)
        references[f"cs_z_{name}"] = name, _of_member(_z)
    for name in ("log_return_1", "log_return_5"):
        references[f"cs_dispersion_{name}"] = (
            name,
            _of_member(lambda values, _: _moments(values)[3]),
        )
        references[f"cs_breadth_{name}"] = (
            name,
            _of_member(lambda values, _: sum(value > 0 for value in values) / len(values)),
        )
    return references


def test_every_cross_section_entry_has_a_reference_of_its_name():
    assert {entry.name for entry in FEATURES} == set(_references())
    assert all(entry.scope is Scope.CROSS_SECTION for entry in FEATURES)
    assert all(len(entry.formula) <= 200 for entry in FEATURES)


def test_inputs_are_what_is_compared():
    for entry in FEATURES:
        assert set(entry.expression.meta.root_names()) == {*entry.inputs, "ts_open"}
        assert set(entry.inputs) <= set(NAMES)


@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_what_the_formulas_say(seed):
    got = cross_sectional(_frame(seed=seed), FEATURES)
    for name, (base, reference) in _references().items():
        defined = 0
        for _, bar in got.group_by("ts_open"):
            rows = bar.to_dicts()
            members = [row for row in rows if row["is_valid"] and row[base] is not None]
            values = [row[base] for row in members]
            for row in rows:
                is_defined = row["is_valid"] and len(values) >= 5
                want = reference(values, row[base]) if is_defined else None
                if want is None:
                    assert row[name] is None, name
                else:
                    assert row[name] == pytest.approx(want, rel=1e-9, abs=1e-12), name
                    defined += 1
        assert defined, name


def test_the_order_of_rows_changes_no_bit():
    frame = _frame()
    wanted = cross_sectional(frame, FEATURES).sort("ts_open", "instrument_key")
    for seed in range(5):
        shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
        got = cross_sectional(shuffled, FEATURES)
        assert got["instrument_key"].equals(shuffled["instrument_key"])
        assert got.sort("ts_open", "instrument_key").equals(wanted)


def test_each_bar_alone_is_the_bar_of_the_whole_range():
    frame = _frame(bars=40, instruments=60)
    whole = cross_sectional(frame, FEATURES)
    for bar in range(40):
        moment = pl.col("ts_open") == START + bar * 60 * SECOND
        assert cross_sectional(frame.filter(moment), FEATURES).equals(whole.filter(moment))


def test_an_instrument_that_is_not_valid_counts_for_nobody():
    frame = _frame(instruments=8).with_columns(is_valid=pl.lit(value=True))
    is_last = pl.col("instrument_key") == "V:PERPETUAL:A07-USDT"
    shouting = frame.with_columns(
        pl.when(is_last).then(1e9).otherwise(name).alias(name) for name in NAMES
    ).with_columns(
        is_valid=~is_last,
        available_at=pl.when(is_last)
        .then(pl.col("available_at") + pl.duration(days=1))
        .otherwise("available_at"),
    )
    got = cross_sectional(shouting, FEATURES)
    without = cross_sectional(frame.filter(~is_last), FEATURES)
    assert got.filter(~is_last).drop(NAMES).equals(without.drop(NAMES))
    names = [entry.name for entry in FEATURES]
    assert got.filter(is_last).select(pl.col(names).is_null().all()).row(0) == (True,) * len(names)


def test_four_instruments_are_not_compared_and_five_are():
    frame = _frame(bars=1, instruments=5, seed=3).with_columns(
        pl.lit(value=True).alias("is_valid"), log_return_1=pl.Series([3.0, 1, 2, 5, 4])
    )
    got = cross_sectional(frame, FEATURES)["cs_rank_log_return_1"]
    assert got.to_list() == pytest.approx([0.0, -0.4, -0.2, 0.4, 0.2])
    few = cross_sectional(frame.head(4), FEATURES)
    assert few.select(entry.name for entry in FEATURES).null_count().sum_horizontal()[0] == 4 * len(
        FEATURES
    )


def test_ties_share_the_mean_of_their_ranks_and_equal_values_have_no_score():
    frame = _frame(bars=1, instruments=6).with_columns(
        pl.lit(value=True).alias("is_valid"),
        log_return_1=pl.Series([1.0, 1, 1, 2, 3, 3]),
        log_return_5=pl.lit(0.1),
    )
    got = cross_sectional(frame, FEATURES)
    assert got["cs_rank_log_return_1"].to_list() == pytest.approx(
        [-0.25, -0.25, -0.25, 3.5 / 6 - 0.5, 5 / 6 - 0.5, 5 / 6 - 0.5]
    )
    assert got["cs_rank_log_return_5"].to_list() == [0.0] * 6
    assert got["cs_z_log_return_5"].null_count() == 6


def test_ranks_of_a_bar_sum_to_nothing():
    got = cross_sectional(_frame(), FEATURES)
    sums = got.group_by("ts_open").agg(pl.col("cs_rank_log_return_1").sum())
    assert (sums["cs_rank_log_return_1"].abs() < 1e-12).all()


def test_the_comparison_is_known_when_its_last_member_is():
    frame = _frame()
    for _, bar in cross_sectional(frame, FEATURES).group_by("ts_open"):
        last = max(row["available_at"] for row in bar.to_dicts() if row["is_valid"])
        known = {row["is_valid"]: row["cross_section_available_at"] for row in bar.to_dicts()}
        assert known[True] == last
