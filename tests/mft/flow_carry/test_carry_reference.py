"""Carry and surface against plain Python, and the counting of settlements."""

from __future__ import annotations

import datetime as dt
import math

import polars as pl
import pytest

from tickhandler_dagster.market.mft.carry import carry_features
from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.surface_changes import surface_change_features


def _z(name, window):
    def reference(rows, place):
        values = [row[name] for row in rows[place - window + 1 : place + 1]]
        mean = math.fsum(values) / window
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / window)
        return (values[-1] - mean) / deviation

    return reference


def _settled(window):
    def reference(rows, place):
        total = 0.0
        for age in range(place - window + 1, place + 1):
            before, now = rows[age - 1]["next_funding_time"], rows[age]["next_funding_time"]
            if before is None or now is None:
                return None
            if now != before and before <= rows[age]["ts_close"]:
                total += rows[age]["funding_settled"]
        return total

    return reference


def _change(name, horizon):
    def reference(rows, place):
        now, then = rows[place][name], rows[place - horizon][name]
        return None if now is None or then is None else now - then

    return reference


def _moves(rows, place, horizon):
    now, then = rows[place], rows[place - horizon]
    price = math.log(now["price"] / then["price"])
    interest = now["open_interest"] - then["open_interest"]
    return (price > 0) - (price < 0), (interest > 0) - (interest < 0)


def _quadrant(horizon):
    code = {(1, 1): 1, (1, -1): 2, (-1, -1): 3, (-1, 1): 4}
    return lambda rows, place: code.get(_moves(rows, place, horizon), 0)


def _momentum(horizon):
    return lambda rows, place: math.log(
        rows[place]["open_interest"] / rows[place - horizon]["open_interest"]
    )


def _funding_z_30d(rows, place):
    row = rows[place]
    if row["funding_count_30d"] != 30:
        return None
    return (row["funding_annualised"] - row["funding_mean_30d"]) / row["funding_std_30d"]


def _carry_references(windows):
    references = {
        "funding_carry": lambda rows, place: rows[place]["funding_annualised"],
        "funding_carry_z_30d": _funding_z_30d,
    }
    for window in windows.carry:
        references |= {
            f"funding_carry_z_{window}": _z("funding_annualised", window),
            f"funding_settled_sum_{window}": _settled(window),
            f"futures_basis_z_{window}": _z("futures_basis_annualised", window),
            f"perp_premium_z_{window}": _z("perp_premium", window),
        }
    for horizon in windows.horizons:
        references |= {
            f"oi_momentum_{horizon}": _momentum(horizon),
            f"price_oi_sign_{horizon}": lambda rows, place, h=horizon: math.prod(
                _moves(rows, place, h)
            ),
            f"price_oi_quadrant_{horizon}": _quadrant(horizon),
            f"futures_basis_change_{horizon}": _change("futures_basis_annualised", horizon),
        }
    return references


def _surface_references(windows):
    references = {
        "variance_risk_premium_30d": lambda rows, place: (
            rows[place]["atm_iv_30d"] ** 2 - rows[place]["realized_variance_30d"]
        )
    }
    for horizon in windows.horizons:
        for name in ("atm_iv_30d", "term_slope", "risk_reversal_25d_30d"):
            references[f"{name}_change_{horizon}"] = _change(name, horizon)
    return references


def test_every_carry_and_surface_entry_has_a_reference_of_its_name(windows):
    carry, surface = carry_features(windows), surface_change_features(windows)
    assert {entry.name for entry in carry} == set(_carry_references(windows))
    assert {entry.name for entry in surface} == set(_surface_references(windows))


@pytest.mark.parametrize("seed", [3, 4])
def test_carry_entries_are_what_their_formulas_say(windows, agrees, seed):
    agrees(carry_features(windows), _carry_references(windows), seed)


@pytest.mark.parametrize("seed", [5, 6])
def test_surface_entries_are_what_their_formulas_say(windows, agrees, seed):
    agrees(surface_change_features(windows), _surface_references(windows), seed)


def _settled_sums(series, windows, window):
    name = f"funding_settled_sum_{window}"
    entry = next(entry for entry in carry_features(windows) if entry.name == name)
    return evaluated(series, [entry])[name].to_list()


def test_each_settlement_counts_once(candles, as_series, windows):
    frame = candles(150).with_columns(funding_settled=1.0)
    sums = _settled_sums(as_series(frame), windows, 20)
    opens = frame["ts_open"].to_list()
    # The bar that ends at the full hour is the first to name the next one.
    wanted = [
        float(any((opens[age] + dt.timedelta(minutes=1)).minute == 0 for age in ages))
        for ages in (range(place - 19, place + 1) for place in range(20, 150))
    ]
    assert sums[20:] == wanted
    assert {0.0, 1.0} == set(wanted)


def test_a_schedule_that_moves_before_its_time_settles_nothing(candles, as_series, windows):
    later = pl.col("next_funding_time") + pl.duration(hours=3)
    is_moved = pl.int_range(pl.len()) >= 25
    frame = candles(50).with_columns(
        funding_settled=1.0,
        next_funding_time=pl.when(is_moved).then(later.last()).otherwise(later.first()),
    )
    assert set(_settled_sums(as_series(frame), windows, 20)[20:]) == {0.0}


def test_bars_longer_than_the_interval_have_no_sum_of_settlements(candles, as_series, windows):
    frame = candles(50).with_columns(funding_interval_h=0.01)
    assert set(_settled_sums(as_series(frame), windows, 20)) == {None}


def test_funding_that_never_moves_has_no_score(candles, as_series, windows):
    frame = candles(50).with_columns(funding_annualised=0.1095)
    entry = next(e for e in carry_features(windows) if e.name == "funding_carry_z_20")
    assert evaluated(as_series(frame), [entry])[entry.name].null_count() == 50
