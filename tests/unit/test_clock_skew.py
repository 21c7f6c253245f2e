"""How far clocks are apart, told from delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.live.clock_skew import ClockSkewMeter

START, SECOND = 1_723_075_200_000_000, 1_000_000


def taken(meter, delays, *, start=START, every=SECOND):
    local = start + np.arange(len(delays), dtype=np.int64) * every
    meter.take(local - np.array(delays, dtype=np.int64), local)
    return meter.skew()


def test_before_the_first_row_nothing_is_known():
    meter = ClockSkewMeter()
    assert taken(meter, []) is None


@given(
    delays=st.lists(st.integers(-500_000, 500_000), min_size=1, max_size=50), cut=st.integers(0, 50)
)
def test_the_least_delay_does_not_depend_on_how_rows_come(delays, cut):
    whole, parts = ClockSkewMeter(), ClockSkewMeter()
    expected = taken(whole, delays)
    taken(parts, delays[:cut])
    found = taken(parts, delays[cut:], start=START + len(delays[:cut]) * SECOND)
    assert (found or parts.skew()).least_us == expected.least_us == min(delays)


def test_delays_are_forgotten_after_the_window():
    meter = ClockSkewMeter(window_us=60 * SECOND)
    assert taken(meter, [-80_000] + [5_000] * 50).least_us == -80_000
    later = taken(meter, [7_000] * 70, start=START + 60 * SECOND)
    assert (later.least_us, later.median_us, later.jump_us) == (7_000, 7_000, 0)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (5_000, 5_000, None),
        (5_000, 240_000, None),
        (-45_000, -45_000, None),
        (-55_000, -55_000, "rows arrive 55 ms before they happen"),
        (5_000, 300_000, "jumped by 295 ms: a clock was set on"),
        (300_000, 5_000, "jumped by -295 ms: a clock was set back"),
    ],
)
def test_a_clock_that_is_behind_or_was_set_is_a_warning(before, after, words):
    warning = taken(ClockSkewMeter(), [before] * 10 + [after] * 10).warning
    assert (warning is None) if words is None else (words in warning)


def test_memory_does_not_grow_with_rows():
    meter = ClockSkewMeter()
    for second in range(400):
        taken(meter, [1_000] * 1_000, start=START + second * SECOND, every=1_000)
    assert sum(len(step.sample) for step in meter._steps) <= 31 * 64


def test_a_clock_set_back_loses_no_delay():
    meter = ClockSkewMeter()
    taken(meter, [5_000] * 30)
    assert taken(meter, [-90_000], start=START - 100 * SECOND).least_us == -90_000
