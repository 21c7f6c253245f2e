"""The same rows give the same bars to the last bit, however they are cut and ordered."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("slice_rows", [100, 1_000])
def test_the_cut_into_slices_does_not_show(bars, differing, slice_rows):
    sliced = bars.of(bars.markets, slice_rows=slice_rows)
    for timeframe, frame in bars.plain().items():
        assert differing(frame, sliced[timeframe]) == {}, timeframe


def test_the_order_of_rows_inside_equal_keys_does_not_show(bars, differing):
    shuffled = bars.of(bars.markets.each(lambda rows: rows.with_shuffled_ties(seed=5)))
    for timeframe, frame in bars.plain().items():
        assert differing(frame, shuffled[timeframe]) == {}, timeframe


def test_a_second_run_gives_the_same_bars(bars, differing):
    again = bars.of(bars.markets)
    for timeframe, frame in bars.plain().items():
        assert differing(frame, again[timeframe]) == {}, timeframe
