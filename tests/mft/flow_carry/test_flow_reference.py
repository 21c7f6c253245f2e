"""Volume and flow against sums in plain Python, written from the formulas."""

from __future__ import annotations

import math

import pytest

from tickhandler_dagster.market.mft.flow import FEWEST_SIGNS, flow_features


def _window(rows, place, window, name):
    return [row[name] for row in rows[place - window + 1 : place + 1]]


def _z(values):
    if None in values:
        return None
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return (values[-1] - mean) / deviation if deviation > 0 else None


def _volume_z(window):
    return lambda rows, place: _z(_window(rows, place, window, "base_volume"))


def _sides(rows, place, window):
    bought = math.fsum(_window(rows, place, window, "buys"))
    return bought, math.fsum(_window(rows, place, window, "sells"))


def _imbalance(window):
    def reference(rows, place):
        bought, sold = _sides(rows, place, window)
        return (bought - sold) / (bought + sold) if bought + sold else None

    return reference


def _ratio(window):
    def reference(rows, place):
        bought, sold = _sides(rows, place, window)
        return bought / sold if sold else None

    return reference


def _liquidations(window):
    def reference(rows, place):
        money = math.fsum(_window(rows, place, window, "quote_volume"))
        liquidated = math.fsum(_window(rows, place, window, "liquidation_notional"))
        return liquidated / money if money else None

    return reference


def _flow(row):
    return row["trade_flow_imbalance"] if row["trade_count"] else 0.0


def _persistence(window):
    return lambda rows, place: math.fsum(_flow(row) for row in rows[place - window + 1 : place + 1])


def _sign(value):
    return (value > 0) - (value < 0)


def _sign_autocorrelation(window):
    def reference(rows, place):
        ages = range(place - window + 1, place + 1)
        now = [_sign(_flow(rows[age])) for age in ages]
        then = [_sign(_flow(rows[age - 1])) for age in ages]
        mean_now, mean_then = sum(now) / window, sum(then) / window
        pairs = list(zip(now, then, strict=True))
        both = math.fsum((one - mean_now) * (other - mean_then) for one, other in pairs)
        square_now = math.fsum((one - mean_now) ** 2 for one in now)
        square_then = math.fsum((other - mean_then) ** 2 for other in then)
        if len(set(now)) == 1 or len(set(then)) == 1:
            return None
        return both / math.sqrt(square_now * square_then)

    return reference


def _cost(name, window):
    def reference(rows, place):
        values = _window(rows, place, window, name)
        counts = _window(rows, place, window, "trades")
        known = [(value, n) for value, n in zip(values, counts, strict=True) if value is not None]
        weight = sum(n for _, n in known)
        if len(known) * 2 < window or not weight:
            return None
        return math.fsum(value * n for value, n in known) / weight

    return reference


def _relative_volume(rows, place):
    row = rows[place]
    if row["slot_volume_count_4w"] != 4 or not row["slot_volume_mean_4w"]:
        return None
    return row["base_volume"] / row["slot_volume_mean_4w"]


_COSTS = ("amihud", "kyle_lambda", "effective_spread_bps", "spread_tw_bps")


def _references(windows):
    references = {"relative_volume_4w": _relative_volume}
    for window in windows.flow:
        references |= {
            f"volume_z_{window}": _volume_z(window),
            f"order_flow_imbalance_{window}": _imbalance(window),
            f"aggressive_buy_sell_ratio_{window}": _ratio(window),
            f"liquidation_intensity_{window}": _liquidations(window),
            f"flow_persistence_{window}": _persistence(window),
        }
        references |= {f"{name}_{window}": _cost(name, window) for name in _COSTS}
        if window >= FEWEST_SIGNS:
            references[f"flow_sign_autocorr_{window}"] = _sign_autocorrelation(window)
    return references


def test_every_flow_entry_has_a_reference_of_its_name(windows):
    assert {entry.name for entry in flow_features(windows)} == set(_references(windows))


@pytest.mark.parametrize("seed", [1, 2])
def test_flow_entries_are_what_their_formulas_say(windows, agrees, seed):
    features = [entry for entry in flow_features(windows) if entry.name != "volume_z_1"]
    agrees(features, _references(windows), seed)


def test_a_volume_that_does_not_vary_has_no_score(candles, as_series, windows):
    from_one_bar = as_series(candles(30))
    entry = next(entry for entry in flow_features(windows) if entry.name == "volume_z_1")
    assert from_one_bar.select(entry.expression).to_series().null_count() == 30


def test_flipping_the_takers_flips_the_flow(candles, as_series, windows):
    features = flow_features(windows)
    plain = candles(120, has_holes=True)
    flipped = plain.with_columns(
        buy_volume_sum="sell_volume_sum",
        sell_volume_sum="buy_volume_sum",
        trade_flow_imbalance=-plain["trade_flow_imbalance"],
    )
    for feature in features:
        one, other = (
            as_series(frame).select(feature.expression.alias("x"))["x"]
            for frame in (plain, flipped)
        )
        if feature.name.startswith(("order_flow_imbalance", "flow_persistence")):
            assert one.equals(-other), feature.name
        elif feature.name.startswith("aggressive"):
            both = (one * other).drop_nulls()
            both = both.filter(both.is_finite())
            assert both.len()
            assert ((both - 1).abs() < 1e-12).all()
        else:
            assert one.equals(other), feature.name
