"""What holds of every entry over one series: how far it looks back, never ahead, its dimension."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.joined import JOINED_COLUMNS
from tickhandler_dagster.market.mft.series import CANDLE_COLUMNS
from tickhandler_dagster.market.mft.trailing import trailing_deviation, trailing_z
from tickhandler_dagster.market.mft.window_math import window_sum

_PRICES = ("open", "high", "low", "close", "price_vwap", "mid_price", "mark_price", "index_price")
_SIZES = ("volume", "buy_volume_sum", "sell_volume_sum", "open_interest", "slot_volume_mean_4w")
_MONEY = ("notional", "liquidation_notional", "all_venues_notional")
_PER_MONEY = ("amihud", "kyle_lambda")
_FACTORS = (
    dict.fromkeys((*_PRICES, "other_mid_price"), 2.0)
    | dict.fromkeys(_SIZES, 4.0)
    | dict.fromkeys(_MONEY, 8.0)
    | dict.fromkeys(_PER_MONEY, 0.125)
)


def _features(series, entries):
    return evaluated(series, entries).select(entry.name for entry in entries)


def test_names_are_unique_and_texts_are_one_sentence(entries):
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.formula.endswith("."), entry.name
        assert len(entry.formula) <= 200, entry.name
        assert not entry.null_rule.endswith("."), entry.name


def test_inputs_are_what_the_expression_reads(entries, candles, as_series):
    known = set(as_series(candles(3)).columns)
    for entry in entries:
        assert set(entry.inputs) == set(entry.expression.meta.root_names()), entry.name
        assert set(entry.inputs) <= known, entry.name


def test_inputs_outside_the_series_are_the_joined_columns(entries, candles, as_series):
    joined = {column.name for column in JOINED_COLUMNS}
    own = set(as_series(candles(3).select(CANDLE_COLUMNS)).columns)
    assert not joined & own
    read = {name for entry in entries for name in entry.inputs}
    only_said = {"other_venue", "other_available_at", "all_venues_available_at"}
    assert read - own == joined - only_said


def test_one_lost_bar_takes_away_the_look_back_and_itself(entries, candles, as_series):
    lost = 100
    is_lost = pl.int_range(pl.len()) == lost
    status = pl.when(is_lost).then(pl.lit("vendor_gap")).otherwise("status")
    whole = _features(as_series(candles(200)), entries)
    torn = _features(as_series(candles(200).with_columns(status.alias("status"))), entries)
    for entry in entries:
        present = whole[entry.name].is_not_null()
        gone = (present & torn[entry.name].is_null()).arg_true().to_list()
        wanted = [place for place in range(lost, lost + entry.look_back + 1) if present[place]]
        assert gone == wanted, entry.name
        assert wanted or entry.name.endswith("_z_1"), entry.name
        kept = torn[entry.name].is_not_null()
        assert whole[entry.name].filter(kept).equals(torn[entry.name].filter(kept)), entry.name


@pytest.mark.parametrize("has_holes", [False, True])
def test_no_bit_depends_on_bars_before_the_look_back_or_after_the_bar(
    entries, candles, as_series, has_holes
):
    series = as_series(candles(200, seed=7, has_holes=has_holes))
    whole = _features(series, entries)
    for start, end in ((0, 150), (61, 200), (97, 133), (110, 111)):
        part = series[start:end].with_columns(
            pl.min_horizontal(name, pl.int_range(1, pl.len() + 1)).alias(name)
            for name in ("valid_run", "traded_run")
        )
        got = _features(part, entries)
        for entry in entries:
            first = min(start + entry.look_back, end) if start else 0
            want = whole[entry.name][first:end]
            assert got[entry.name][first - start :].equals(want), (entry.name, start, end)


def test_the_oldest_bar_of_the_look_back_counts(entries, candles, as_series):
    changed = 100
    frame = candles(200, seed=8)
    is_changed = pl.int_range(pl.len()) == changed
    floats = [
        name
        for name, dtype in frame.schema.items()
        if dtype == pl.Float64 and name not in ("funding_interval_h", "trade_flow_imbalance")
    ]
    moved = frame.with_columns(
        *(pl.when(is_changed).then(pl.col(name) * 1.25).otherwise(name) for name in floats),
        trade_flow_imbalance=pl.when(is_changed)
        .then(-pl.col("trade_flow_imbalance"))
        .otherwise("trade_flow_imbalance"),
    )
    one, other = (_features(as_series(each), entries) for each in (frame, moved))
    for entry in entries:
        differs = ~one[entry.name].eq_missing(other[entry.name])
        places = differs.arg_true().to_list()
        assert all(changed <= place <= changed + entry.look_back for place in places), entry.name
        if _shows_every_change(entry):
            assert changed + entry.look_back in places, entry.name


def _shows_every_change(entry):
    """Not counts and signs, the calendar, or a sum over the one bar in sixty that settles."""
    return (
        entry.dtype == pl.Float64
        and any(name not in _CLOCKS for name in entry.inputs)
        and not entry.name.startswith(("funding_settled_sum", "flow_sign_autocorr"))
        and not entry.name.endswith("_z_1")
        and not (entry.name.startswith("order_flow_imbalance_1"))
        and entry.name not in _UNMOVED
    )


_CLOCKS = ("ts_open", "ts_close", "next_funding_time")
_UNMOVED = (
    # Both sides of a ratio over one bar move alike.
    *("aggressive_buy_sell_ratio_1", "liquidation_intensity_1", "venue_share_1"),
    *("cross_venue_spread", "relative_volume_4w"),
    # A score over two bars is 1 or -1.
    *("funding_carry_z_2", "futures_basis_z_2", "perp_premium_z_2"),
    # Level and spread of the days before move with it.
    "funding_carry_z_30d",
)


def test_twice_the_price_and_four_times_the_size_follow_the_units(entries, candles, as_series):
    frame = candles(120, seed=9, has_holes=True)
    scaled = frame.with_columns(pl.col(name) * factor for name, factor in _FACTORS.items())
    one, other = (_features(as_series(each), entries) for each in (frame, scaled))
    for entry in entries:
        factor = 2.0**entry.unit.price * 4.0**entry.unit.size
        want = one[entry.name] if factor == 1 else one[entry.name] * factor
        assert other[entry.name].equals(want), entry.name


def test_values_obey_their_bounds(entries, candles, as_series):
    values = _features(as_series(candles(260, seed=10, has_holes=True)), entries)
    for entry in entries:
        column, bounds = values[entry.name].drop_nulls(), entry.bounds
        if bounds.ge is not None:
            assert (column >= bounds.ge).all(), entry.name
        if bounds.le is not None:
            assert (column <= bounds.le).all(), entry.name
        if bounds.gt is not None:
            assert (column > bounds.gt).all(), entry.name


@pytest.mark.parametrize("window", [1, 2, 3, 7, 20, 33])
def test_trailing_sums_agree_with_exact_ones(window):
    rng = random.Random(window)
    values = [rng.lognormvariate(0, 3) for _ in range(90)]
    frame = pl.DataFrame({"x": values}).select(
        total=window_sum(pl.col("x"), window),
        deviation=trailing_deviation(pl.col("x"), window),
    )
    for place in range(window - 1, 90):
        part = values[place - window + 1 : place + 1]
        mean = math.fsum(part) / window
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in part) / window)
        assert frame["total"][place] == pytest.approx(math.fsum(part), rel=1e-14)
        assert frame["deviation"][place] == pytest.approx(deviation, rel=1e-12)
    assert frame["total"].null_count() == window - 1


def test_a_level_far_above_the_variation_keeps_its_digits():
    small = [float(place * place % 17) for place in range(60)]
    frame = pl.DataFrame({"small": small, "high": [value + 2.0**20 for value in small]})
    got = frame.select(one=trailing_z(pl.col("small"), 20), other=trailing_z(pl.col("high"), 20))
    for one, other in zip(got["one"], got["other"], strict=True):
        assert one is other is None or one == pytest.approx(other, rel=1e-9)
