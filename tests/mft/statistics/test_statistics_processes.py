"""Rolling statistics of simulated processes whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated
from tickhandler_dagster.market.mft.windows import Windows

LONG = 4096
WINDOWS = Windows(
    autocorrelation=(LONG,),
    variance_ratio=((2, LONG), (5, LONG)),
    moments=(LONG,),
    reference=(LONG,),
    hurst=(256, LONG),
)
ERROR = 1 / math.sqrt(LONG)
"""Standard error of a correlation of noise."""


@pytest.fixture(scope="module")
def last_values(series_of, features_of):
    """Values at the last bar of a path of given log returns."""

    def made(returns, reference=None):
        paths = [
            100.0 * np.exp(np.concatenate([[0.0], np.cumsum(1e-3 * row)]))
            for row in (returns, returns if reference is None else reference)
        ]
        return evaluated(series_of(*paths), features_of(WINDOWS)).tail(1).to_dicts()[0]

    return made


def fractional_noise(exponent, count, rng):
    """Increments of fractional Brownian motion, exact, by circulant embedding."""
    lags = np.arange(count + 1.0)
    power = 2 * exponent
    covariance = (np.abs(lags + 1) ** power - 2 * lags**power + np.abs(lags - 1) ** power) / 2
    spectrum = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real.clip(0)
    size = len(spectrum)
    waves = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    return np.fft.fft(np.sqrt(spectrum / size) * waves)[:count].real


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.6])
def test_an_autoregression_gives_back_its_coefficient(last_values, phi):
    rng = np.random.default_rng(11)
    returns = np.zeros(LONG)
    for step, noise in enumerate(rng.standard_normal(LONG)):
        returns[step] = phi * returns[step - 1] + noise
    found = last_values(returns)
    for lag in (1, 2, 3):
        assert found[f"autocorrelation_{lag}_{LONG}"] == pytest.approx(phi**lag, abs=4 * ERROR)


@pytest.mark.parametrize("q", [2, 5])
def test_a_random_walk_has_a_variance_ratio_of_one(last_values, q):
    returns = np.random.default_rng(12).standard_normal(LONG)
    error = math.sqrt(2 * (2 * q - 1) * (q - 1) / (3 * q * LONG))
    assert last_values(returns)[f"variance_ratio_{q}_{LONG}"] == pytest.approx(1, abs=4 * error)


def test_a_variance_ratio_is_one_plus_the_autocorrelation_where_q_is_two(last_values):
    returns = fractional_noise(0.7, LONG, np.random.default_rng(13))
    found = last_values(returns)
    expected = 1 + found[f"autocorrelation_1_{LONG}"]
    assert found[f"variance_ratio_2_{LONG}"] == pytest.approx(expected, abs=5 / LONG)


@pytest.mark.parametrize(
    ("exponent", "window", "expected"),
    [
        (0.3, LONG, pytest.approx(0.3, abs=0.04)),
        (0.5, LONG, pytest.approx(0.5, abs=0.05)),
        (0.7, LONG, pytest.approx(0.7, abs=0.08)),
        (0.3, 256, pytest.approx(0.26, abs=0.04)),
        (0.5, 256, pytest.approx(0.43, abs=0.05)),
        (0.7, 256, pytest.approx(0.58, abs=0.06)),
    ],
)
def test_fractional_brownian_motion_gives_back_its_exponent_as_published(
    series_of, features_of, exponent, window, expected
):
    """The mean of 40 paths, end to end in one series: only whole paths are read."""
    rng = np.random.default_rng(14)
    steps = np.concatenate([fractional_noise(exponent, window, rng) for _ in range(40)])
    [feature] = (entry for entry in features_of(WINDOWS) if entry.name == f"hurst_{window}")
    values = evaluated(series_of(np.exp(1e-3 * np.cumsum(steps))), [feature])
    assert values[f"hurst_{window}"].gather_every(window, offset=window - 1).mean() == expected


def test_gaussian_returns_have_no_skewness_and_a_kurtosis_of_three(last_values):
    found = last_values(np.random.default_rng(15).standard_normal(LONG))
    assert found[f"return_skewness_{LONG}"] == pytest.approx(0, abs=4 * math.sqrt(6) * ERROR)
    assert found[f"return_kurtosis_{LONG}"] == pytest.approx(3, abs=4 * math.sqrt(24) * ERROR)


def test_beta_and_residual_part_the_market_from_the_rest(last_values):
    rng = np.random.default_rng(16)
    reference, rest = rng.standard_normal((2, LONG))
    found = last_values(1.5 * reference + rest, reference)
    assert found[f"reference_beta_{LONG}"] == pytest.approx(1.5, abs=4 * ERROR)
    expected = 1.5 / math.sqrt(1.5**2 + 1)
    assert found[f"reference_correlation_{LONG}"] == pytest.approx(expected, abs=4 * ERROR)
    assert found[f"reference_residual_{LONG}"] == pytest.approx(1e-3 * rest[-1], abs=4e-4)


def test_an_instrument_that_follows_shows_at_the_lag_it_follows_with(last_values):
    rng = np.random.default_rng(17)
    count = LONG + 3
    reference = rng.standard_normal(count)
    own = np.concatenate([[0.0, 0.0], reference[:-2]])
    found = last_values(own, reference)
    assert found[f"reference_lead_2_{LONG}"] == pytest.approx(1, abs=1e-9)
    for lag in (1, 3):
        assert found[f"reference_lead_{lag}_{LONG}"] == pytest.approx(0, abs=4 * ERROR)
