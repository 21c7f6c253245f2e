"""Black-76 is the formula of an independent library, and its inverse is its inverse.

The library's values stand here as numbers: it would bring pandas and scipy into an environment that
has neither, and in which the platform has to work without them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.options.black76 import (
    OptionState,
    delta,
    gamma,
    implied_volatility,
    normal_cdf,
    premium,
)

FORWARD = 60_000.0

# vollib 1.0.11: black, greeks.analytical.delta and .gamma at rate 0 and forward 60,000; each row is
# (right, strike, years, volatility, premium, delta, gamma).
GOLDEN = [
    ("c", 60000.0, 0.0821917808, 0.6, 4112.36443041, 0.534269703587, 3.85112021258e-05),
    ("p", 60000.0, 0.0821917808, 0.6, 4112.36443041, -0.465730296413, 3.85112021258e-05),
    ("c", 66000.0, 0.0821917808, 0.55, 1658.79909638, 0.299578642838, 3.67274628213e-05),
    ("p", 66000.0, 0.0821917808, 0.55, 7658.79909638, -0.700421357162, 3.67274628213e-05),
    ("c", 51000.0, 0.0821917808, 0.75, 10539.2945428, 0.806026579486, 2.1302414571e-05),
    ("p", 51000.0, 0.0821917808, 0.75, 1539.29454278, -0.193973420514, 2.1302414571e-05),
    ("c", 61200.0, 0.002739726, 0.5, 205.624856841, 0.228567804942, 0.000192696918736),
    ("p", 61200.0, 0.002739726, 0.5, 1405.62485684, -0.771432195058, 0.000192696918736),
    ("c", 58800.0, 0.002739726, 0.9, 1817.30674913, 0.674513918972, 0.00012741418077),
    ("p", 58800.0, 0.002739726, 0.9, 617.306749129, -0.325486081028, 0.00012741418077),
    ("c", 96000.0, 0.25, 0.8, 1768.49845334, 0.164777879688, 1.03340221069e-05),
    ("p", 96000.0, 0.25, 0.8, 37768.4984533, -0.835222120312, 1.03340221069e-05),
    ("c", 30000.0, 0.25, 0.9, 30500.7356871, 0.961245593563, 3.11052042501e-06),
    ("p", 30000.0, 0.25, 0.9, 500.735687075, -0.0387544064373, 3.11052042501e-06),
    ("c", 78000.0, 1.0, 0.4, 4163.78598253, 0.324227111394, 1.49817927917e-05),
    ("p", 78000.0, 1.0, 0.4, 22163.7859825, -0.675772888606, 1.49817927917e-05),
    ("c", 42000.0, 1.5, 1.2, 37076.1210702, 0.835847445157, 2.80564151658e-06),
    ("p", 42000.0, 1.5, 1.2, 19076.1210702, -0.164152554843, 2.80564151658e-06),
    ("c", 60000.0, 0.0002283105, 0.35, 126.587783914, 0.501054898199, 0.00125726350757),
    ("p", 60000.0, 0.0002283105, 0.35, 126.587783914, -0.498945101801, 0.00125726350757),

]  # fmt: skip


def _state(strike, years, *, is_call):
    return OptionState(*(np.array([value]) for value in (FORWARD, strike, years, is_call)))


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row[0]}-{row[1]:g}-{row[2]:g}")
def test_premium_delta_and_gamma_are_the_librarys(row):
    right, strike, years, volatility, worth, slope, curvature = row
    state, sigma = _state(strike, years, is_call=right == "c"), np.array([volatility])
    assert premium(state, sigma)[0] == pytest.approx(worth, rel=1e-9, abs=1e-9)
    assert delta(state, sigma)[0] == pytest.approx(slope, rel=1e-9, abs=1e-13)
    assert gamma(state, sigma)[0] == pytest.approx(curvature, rel=1e-9, abs=1e-18)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row[0]}-{row[1]:g}-{row[2]:g}")
def test_the_librarys_premium_gives_its_volatility_back(row):
    right, strike, years, volatility, worth, _, _ = row
    state = _state(strike, years, is_call=right == "c")
    assert implied_volatility(state, np.array([worth]))[0] == pytest.approx(volatility, rel=1e-5)


@given(x=st.floats(-37, 37))
def test_the_distribution_function_is_exact(x):
    expected = math.erfc(-x / math.sqrt(2)) / 2
    found = float(normal_cdf(np.array([x]))[0])
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-300)
    assert found == pytest.approx(expected, abs=5e-16)


@given(
    moneyness=st.floats(0.6, 1.6),
    years=st.floats(0.003, 1.5),
    volatility=st.floats(0.1, 2.5),
)
def test_delta_and_gamma_are_the_slopes_of_the_premium(moneyness, years, volatility):
    step = FORWARD * 1e-4
    sigma = np.full(3, volatility)
    forwards = FORWARD + np.array([-step, 0.0, step])
    for is_call in (True, False):
        state = OptionState(
            forwards, np.full(3, FORWARD * moneyness), np.full(3, years), np.full(3, is_call)
        )
        low, middle, high = premium(state, sigma)
        assert (high - low) / (2 * step) == pytest.approx(delta(state, sigma)[1], abs=1e-4)
        curvature = (high - 2 * middle + low) / step**2
        assert curvature == pytest.approx(gamma(state, sigma)[1], rel=0.02, abs=1e-9)
