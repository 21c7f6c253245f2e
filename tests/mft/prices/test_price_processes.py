"""Volatility estimators on processes whose volatility is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.windows import Windows

BARS, TICKS = 1_500, 1_000
VOLATILITY = 0.8
MINUTES_PER_YEAR = 365 * 24 * 60
PER_BAR = VOLATILITY / math.sqrt(MINUTES_PER_YEAR)
WINDOW = BARS - 1


def _diffusion(drift=0.0, ticks=TICKS, seed=5):
    """Bars of a Brownian log price; the drift is per bar, in the bar's own deviations."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(drift * PER_BAR / ticks, PER_BAR / math.sqrt(ticks), (BARS, ticks))
    # Each bar opens where the one before closed, so that the range starts from there.
    path = np.cumsum(steps, axis=1)
    start = np.concatenate([[0.0], np.cumsum(path[:-1, -1])])
    high, low = np.maximum(path.max(axis=1), 0), np.minimum(path.min(axis=1), 0)
    logs = {"open": start, "high": start + high, "low": start + low, "close": start + path[:, -1]}
    bars = {name: np.exp(values).tolist() for name, values in logs.items()}
    return bars | {"variance": (steps**2).sum(axis=1).tolist(), "trades": [ticks] * BARS}


@pytest.fixture
def estimates(price_series, price_entries):
    def made(bars, **more):
        windows = Windows(volatility=(WINDOW,), ewma_half_lives=(100,))
        entries = [entry for entry in price_entries(windows) if "_vol_" in entry.name]
        return evaluated(price_series(bars, **more), entries).row(-1, named=True)

    return made


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        # Four standard errors; of the range estimators, and the 2 % that 1,000 ticks miss.
        (f"realized_vol_bars_{WINDOW}", 0.075),
        (f"realized_vol_rv_{WINDOW}", 0.005),
        ("ewma_vol_100", 0.24),
        (f"parkinson_vol_{WINDOW}", 0.055),
        (f"garman_klass_vol_{WINDOW}", 0.055),
        (f"rogers_satchell_vol_{WINDOW}", 0.055),
        (f"yang_zhang_vol_{WINDOW}", 0.055),
    ],
)
def test_an_estimator_finds_the_volatility_of_a_driftless_diffusion(estimates, name, tolerance):
    assert estimates(_diffusion())[name] == pytest.approx(VOLATILITY, rel=tolerance)


@pytest.mark.parametrize("name", ["rogers_satchell", "yang_zhang"])
def test_a_drift_does_not_move_the_estimators_that_are_free_of_it(estimates, name):
    found = estimates(_diffusion(drift=1.5))[f"{name}_vol_{WINDOW}"]
    assert found == pytest.approx(VOLATILITY, rel=0.055)


@pytest.mark.parametrize(("name", "variance"), [("parkinson", 1.75), ("garman_klass", 1.19)])
def test_a_drift_of_one_and_a_half_deviations_biases_the_others_as_stated(
    estimates, name, variance
):
    found = estimates(_diffusion(drift=1.5))[f"{name}_vol_{WINDOW}"]
    assert (found / VOLATILITY) ** 2 == pytest.approx(variance, rel=0.08)


def test_the_range_of_few_ticks_is_too_small_and_parkinson_is_then_null(estimates):
    few = _diffusion(ticks=60)
    assert estimates(few)[f"parkinson_vol_{WINDOW}"] is None
    found = estimates(few | {"trades": [100] * BARS})[f"parkinson_vol_{WINDOW}"]
    assert (found / VOLATILITY) ** 2 == pytest.approx(0.845, rel=0.06)


def test_a_year_of_longer_bars_has_fewer_of_them(estimates):
    bars = _diffusion(ticks=10)
    minute, hour = estimates(bars), estimates(bars, minutes=60)
    for name in (f"realized_vol_bars_{WINDOW}", f"yang_zhang_vol_{WINDOW}"):
        assert minute[name] == pytest.approx(hour[name] * math.sqrt(60), rel=1e-12)
