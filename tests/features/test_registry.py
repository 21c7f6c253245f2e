"""Every entry of the feature registry is complete and fits the others."""

from __future__ import annotations

import re

import polars as pl
import pytest

from tickhandler_dagster.market.candle_table import CANDLE_TABLE
from tickhandler_dagster.market.features.feature import (
    CHANNEL_MEANINGS,
    MERGE_MEANINGS,
    Channel,
    Feature,
    Merge,
)
from tickhandler_dagster.market.features.registry import FAMILIES, FEATURES, with_derived

EARLIER_BAR_NAMES = [
    "buy_volume_sum", "sell_volume_sum", "size_avg", "price_vwap", "trade_count",
    "delay_median", "delay_mean", "delay_max", "delay_min", "liquidation_buy_volume",
    "liquidation_sell_volume", "liquidation_count", "oi_change", "liquidation_with_rising_oi",
    "liquidation_with_falling_oi", "funding_rate", "index_price", "mark_price", "open_interest",
    "predicted_funding_rate", "skew_25d_put_call_ratio", "atm_mark_iv",
]  # fmt: skip
EARLIER_BOOK_NAMES = [
    "mid_price", "spread_abs", "spread_bps", "bid_ask_ratio", "bid_distance_1",
    "bid_distance_2", "bid_distance_3", "bid_distance_4", "bid_distance_5", "ask_distance_1",
    "ask_distance_2", "ask_distance_3", "ask_distance_4", "ask_distance_5", "total_bid_volume",
    "total_ask_volume", "volume_imbalance", "bid_volume_ratio_1", "bid_volume_ratio_2",
    "bid_volume_ratio_3", "bid_volume_ratio_4", "bid_volume_ratio_5", "ask_volume_ratio_1",
    "ask_volume_ratio_2", "ask_volume_ratio_3", "ask_volume_ratio_4", "ask_volume_ratio_5",
    "bid_vwap", "ask_vwap", "vwap_spread", "bid_levels_filled", "ask_levels_filled",
    "book_imbalance",
]  # fmt: skip
LEVEL_NAMES = [
    f"{side}_{field}_{level}"
    for side in ("bid", "ask")
    for field in ("price", "volume")
    for level in range(1, 6)
]
GIVEN_COLUMNS = {"ts_open", "ts_close", "covered_us", "last_trade"}
SUFFIX_UNITS = {
    "bps": "basis point",
    "ms": "ms",
    "us": "µs",
    "usd": "USD",
    "pct": "percent",
    "per_s": "/s",
}
LONGEST_FORMULA = 200


ALL = tuple(FEATURES.values())


def offending(holds, features=ALL):
    """Names of the features for which it does not hold."""
    return [one.name for one in features if not holds(one)]


def roots(feature):
    """Features that a derived one follows from."""
    if feature.expression is None:
        return []
    names = feature.expression.meta.root_names()
    return [FEATURES[name] for name in names if name in FEATURES]


def test_no_two_features_have_one_name():
    assert len(FEATURES) == sum(len(family.features) for family in FAMILIES)


def test_every_family_has_entries():
    assert [family.name for family in FAMILIES if not family.features] == []


@pytest.mark.parametrize("names", [EARLIER_BAR_NAMES, EARLIER_BOOK_NAMES, LEVEL_NAMES])
def test_every_name_of_the_earlier_system_exists(names):
    assert [name for name in names if name not in FEATURES] == []


def test_names_are_plain():
    assert offending(lambda one: re.fullmatch(r"[a-z][a-z0-9_]*", one.name)) == []


@pytest.mark.parametrize(("suffix", "label"), SUFFIX_UNITS.items())
def test_a_name_that_ends_in_a_unit_has_it(suffix, label):
    named = [one for one in FEATURES.values() if one.name.endswith(f"_{suffix}")]
    assert offending(lambda one: label in one.unit.label, named) == []


def test_every_formula_is_one_sentence():
    def is_sentence(one):
        return one.formula.endswith(".") and "\n" not in one.formula

    assert offending(is_sentence) == []
    assert offending(lambda one: len(one.formula) <= LONGEST_FORMULA) == []


def test_every_source_and_every_oracle_is_named():
    assert offending(lambda one: one.source.strip() and one.oracle.strip()) == []


def test_texts_are_single_lines_without_loose_ends():
    def is_tidy(one):
        texts = (
            one.null_rule, one.look_back.text, one.carry_in, one.minimum, one.source, one.oracle,
            one.earlier_meaning, one.unit.label,
        )  # fmt: skip
        return all(text == " ".join(text.split()) for text in texts)

    assert offending(is_tidy) == []


def test_what_takes_something_over_looks_back_and_says_so():
    assert offending(lambda one: one.look_back.text or not one.carry_in) == []
    assert offending(lambda one: one.look_back.text or not one.look_back.is_within_day) == []


def test_inputs_are_named_once_each():
    assert offending(lambda one: one.inputs and len(set(one.inputs)) == len(one.inputs)) == []


def test_expressions_use_columns_that_exist():
    def is_known(one):
        used = [] if one.expression is None else one.expression.meta.root_names()
        return set(used) <= set(FEATURES) | GIVEN_COLUMNS

    assert offending(is_known) == []


def test_what_follows_from_other_columns_has_their_inputs():
    def has_inputs(one):
        needed = {channel for root in roots(one) for channel in root.inputs}
        return needed <= {*one.inputs, Channel.FACTS}

    assert offending(has_inputs) == []


def test_what_follows_from_a_late_column_is_as_late():
    def is_as_late(one):
        return one.delay_us >= max((root.delay_us for root in roots(one)), default=0)

    assert offending(is_as_late) == []


def test_features_of_a_family_are_known_at_one_time():
    assert all(
        {feature.delay_us for feature in family.features} == {family.delay_us}
        for family in FAMILIES
    )


def test_the_mirror_image_of_the_mirror_image_is_the_feature():
    def is_mirrored(one):
        name = one.mirror.removeprefix("-")
        image = FEATURES[name] if name else one
        is_back = image.mirror == (one.mirror.replace(name, one.name) if name else one.mirror)
        return is_back and (image.unit, image.dtype) == (one.unit, one.dtype)

    assert offending(is_mirrored) == []


def test_types_fit_the_merging():
    def is_known(one):
        is_label = one.dtype in (pl.Boolean(), pl.String())
        return one.dtype.is_numeric() or one.dtype.is_temporal() or is_label

    assert offending(is_known) == []
    sums = [one for one in FEATURES.values() if one.merge is Merge.SUM]
    assert offending(lambda one: one.dtype.is_numeric(), sums) == []


def test_only_whole_things_are_integers():
    whole = [one for one in FEATURES.values() if one.dtype.is_integer()]
    assert offending(lambda one: not one.unit.price and not one.unit.size, whole) == []


def test_bounds_can_hold():
    def can_hold(one):
        low = one.bounds.gt if one.bounds.ge is None else one.bounds.ge
        high = one.bounds.lt if one.bounds.le is None else one.bounds.le
        return low is None or high is None or low < high

    assert offending(can_hold) == []


def test_what_changes_its_sign_is_not_bound_to_one():
    def is_even(one):
        bounds = one.bounds
        low, high = bounds.ge, bounds.le
        is_open = bounds.gt is None and bounds.lt is None
        return is_open and (low, high) == (None if high is None else -high, high)

    assert offending(is_even, [one for one in FEATURES.values() if one.mirror == "-"]) == []


def test_what_needs_a_row_says_when_it_is_null():
    needs_row = [
        one
        for one in FEATURES.values()
        if one.merge in {Merge.FIRST, Merge.MIN, Merge.MAX} and one.dtype.is_float()
    ]
    assert offending(lambda one: one.null_rule, needs_row) == []


def test_the_table_of_bars_has_every_feature():
    columns = {column.name: column for column in CANDLE_TABLE.columns}
    assert offending(lambda one: columns.get(one.name) == one.column) == []


def test_every_channel_and_every_rule_of_merging_has_a_meaning():
    assert set(CHANNEL_MEANINGS) == set(Channel)
    assert set(MERGE_MEANINGS) == set(Merge)


def test_derived_values_are_never_infinite_or_nan():
    stored = [one for one in FEATURES.values() if one.merge is not Merge.DERIVED]
    values = {one.name: pl.Series([0, 0, None, 1]).cast(one.dtype) for one in stored}
    moments = pl.Series([0, 0, 0, 60_000_000]).cast(pl.Datetime("us", "UTC"))
    bars = pl.DataFrame(values).with_columns(
        ts_open=moments,
        ts_close=moments + pl.duration(minutes=1),
        covered_us=pl.Series([0, 60_000_000, 0, 60_000_000]),
        last_trade=moments,
    )
    derived = with_derived(bars)
    for one in FEATURES.values():
        assert derived[one.name].dtype == one.dtype, one.name
        if one.dtype.is_float():
            assert derived[one.name].is_finite().all(), one.name


def test_a_feature_has_an_expression_exactly_where_it_is_derived():
    with pytest.raises(ValueError, match="expression"):
        Feature(name="a", formula="A.", inputs=(Channel.TRADES,), merge=Merge.DERIVED)
