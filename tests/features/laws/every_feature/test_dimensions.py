"""Prices and sizes of other units change every value by its dimension, and sides by their image."""

from __future__ import annotations

import polars as pl
import pytest

ROUNDED = 1e-12
"""Powers of two multiply without rounding; logs and roots of them do not."""


def power(feature, price, size):
    return float(price) ** feature.unit.price * float(size) ** feature.unit.size


def numbers(features, *, scale_free):
    return [
        name
        for name, one in features.items()
        if one.is_scale_free is scale_free and one.dtype.is_numeric()
    ]


@pytest.mark.parametrize("factors", [(2, 1), (1, 4), (2, 4)], ids=str)
def test_values_follow_the_dimension_of_their_unit(bars, differing, features, timeframe, factors):
    def image(name):
        return pl.col(name) / power(features[name], *factors)

    names = numbers(features, scale_free=True)
    plain, scaled = bars.plain()[timeframe], bars.scaled(*factors)[timeframe]
    assert differing(plain, scaled, names, rtol=ROUNDED, image=image) == {}


def test_what_holds_an_amount_of_money_follows_where_money_stays(
    bars, differing, features, timeframe
):
    def image(name):
        return pl.col(name) / power(features[name], 2, 0.5)

    names = numbers(features, scale_free=False)
    plain, scaled = bars.plain()[timeframe], bars.scaled(2, 0.5)[timeframe]
    assert differing(plain, scaled, names, rtol=ROUNDED, image=image) == {}


def test_times_and_flags_do_not_hang_on_units(bars, differing, features, timeframe):
    names = [name for name, one in features.items() if not one.dtype.is_numeric()]
    assert differing(bars.plain()[timeframe], bars.scaled(2, 4)[timeframe], names) == {}


def test_buying_and_selling_are_mirror_images(bars, differing, features, timeframe):
    def image(name):
        mirror = features[name].mirror
        column = pl.col(mirror.removeprefix("-") or name)
        return -column if mirror.startswith("-") else column

    plain, mirrored = bars.plain()[timeframe], bars.mirrored()[timeframe]
    assert differing(plain, mirrored, list(features), rtol=ROUNDED, image=image) == {}
