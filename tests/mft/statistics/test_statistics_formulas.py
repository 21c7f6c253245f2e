"""Rolling statistics against plain Python written from the formulas, bar by bar."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest

from tickhandler_dagster.market.mft.evaluation import evaluated


class Window:
    """What a slow formula sees: closes and the reference's closes up to a bar, oldest first."""

    def __init__(self, price, reference, end):
        self._price = price
        self._reference = reference
        self._end = end

    def closes(self, count):
        return self._price[self._end + 1 - count : self._end + 1]

    def returns(self, count):
        return _returns(self.closes(count + 1))

    def reference_returns(self, count, lag=0):
        last = self._end - lag
        return _returns(self._reference[last - count : last + 1])


def _returns(closes):
    return [math.log(after / before) for before, after in pairwise(closes)]


def _mean(values):
    return math.fsum(values) / len(values)


def _central(values, power):
    mean = _mean(values)
    return _mean([(value - mean) ** power for value in values])


def _comoment(left, right):
    means = _mean(left), _mean(right)
    return _mean([(x - means[0]) * (y - means[1]) for x, y in zip(left, right, strict=True)])


def _is_constant(values):
    return min(values) == max(values)


def _pearson(left, right):
    if _is_constant(left) or _is_constant(right):
        return None
    return _comoment(left, right) / math.sqrt(_central(left, 2) * _central(right, 2))


def slow_autocorrelation(lag, count, window):
    returns = window.returns(count)
    if _is_constant(returns):
        return None
    mean = _mean(returns)
    pairs = zip(returns[lag:], returns[:-lag], strict=True)
    above = math.fsum((later - mean) * (earlier - mean) for later, earlier in pairs)
    return above / math.fsum((value - mean) ** 2 for value in returns)


def slow_variance_ratio(q, count, window):
    returns = window.returns(count)
    if _is_constant(returns):
        return None
    mean = _mean(returns)
    single = math.fsum((value - mean) ** 2 for value in returns) / (count - 1)
    sums = [math.fsum(returns[start : start + q]) for start in range(count - q + 1)]
    unbiased = q * (count - q + 1) * (1 - q / count)
    return math.fsum((value - q * mean) ** 2 for value in sums) / unbiased / single


def slow_hurst(count, window):
    logs = [math.log(close) for close in window.closes(count)]
    points = []
    for lag in (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64):
        moves = [logs[start + lag] - logs[start] for start in range(count - lag)]
        if _is_constant(moves):
            return None
        points.append((math.log(lag), math.log(math.sqrt(_central(moves, 2)))))
    x, y = [point[0] for point in points], [point[1] for point in points]
    return _comoment(x, y) / _central(x, 2)


def slow_moment(power, count, window):
    returns = window.returns(count)
    if _is_constant(returns):
        return None
    return _central(returns, power) / _central(returns, 2) ** (power / 2)


def slow_drawdown(count, window):
    high, deepest = 0.0, 0.0
    for close in window.closes(count):
        high = max(high, close)
        deepest = min(deepest, close / high - 1)
    return deepest


def slow_beta(count, window):
    reference = window.reference_returns(count)
    if _is_constant(reference):
        return None
    return _comoment(window.returns(count), reference) / _central(reference, 2)


def slow_correlation(count, window):
    return _pearson(window.returns(count), window.reference_returns(count))


def slow_residual(count, window):
    beta = slow_beta(count, window)
    if beta is None:
        return None
    return window.returns(1)[0] - beta * window.reference_returns(1)[0]


def slow_lead(lag, count, window):
    return _pearson(window.returns(count), window.reference_returns(count, lag))


def _slow_statistics():
    """The formula of each column, and how many bars before its own it may read."""
    found = {"hurst_256": (255, partial(slow_hurst, 256))}
    for count in (60, 120):
        for lag in (1, 2, 3):
            found[f"autocorrelation_{lag}_{count}"] = (
                count,
                partial(slow_autocorrelation, lag, count),
            )
            found[f"reference_lead_{lag}_{count}"] = (count + lag, partial(slow_lead, lag, count))
        found[f"reference_beta_{count}"] = (count, partial(slow_beta, count))
        found[f"reference_correlation_{count}"] = (count, partial(slow_correlation, count))
        found[f"reference_residual_{count}"] = (count, partial(slow_residual, count))
    for q, count in ((2, 60), (5, 120)):
        found[f"variance_ratio_{q}_{count}"] = (count, partial(slow_variance_ratio, q, count))
    return found | {
        "return_skewness_60": (60, partial(slow_moment, 3, 60)),
        "return_kurtosis_60": (60, partial(slow_moment, 4, 60)),
        "max_drawdown_60": (59, partial(slow_drawdown, 60)),
    }


SLOW = _slow_statistics()
COUNT = 900
FIRST_FLAT, LAST_FLAT = 400, 540
GAP, SILENT, REFERENCE_GAP = 20, 560, 575


@pytest.fixture(scope="module")
def paths(price_paths):
    """A jump of 5 % before a quiet stretch, then bars where neither price moves."""
    price, reference = price_paths(COUNT)
    price[300:] *= 1.05
    price[310:400] = price[310] * (price[310:400] / price[310]) ** 0.02
    price[FIRST_FLAT:LAST_FLAT] = price[FIRST_FLAT - 1]
    reference[FIRST_FLAT + 60 : LAST_FLAT + 60] = reference[FIRST_FLAT + 59]
    return price, reference


@pytest.fixture(scope="module")
def values(series_of, features_of, paths):
    series = series_of(*paths, gaps=(GAP,), untraded=(SILENT,), reference_gaps=(REFERENCE_GAP,))
    return evaluated(series, features_of())


def _slow_values(name, paths):
    look_back, formula = SLOW[name]
    price, reference = (path.tolist() for path in paths)
    # A bar without trades has the close before it.
    price[SILENT] = price[SILENT - 1]
    reference[REFERENCE_GAP] = reference[REFERENCE_GAP - 1]
    excluded = {GAP, SILENT} | ({REFERENCE_GAP} if name.startswith("reference") else set())
    return [
        None
        if end < look_back or excluded & set(range(end - look_back, end + 1))
        else formula(Window(price, reference, end))
        for end in range(COUNT)
    ]


def test_every_entry_has_a_slow_formula_and_every_formula_an_entry(features_of):
    declared = {feature.name: feature.look_back for feature in features_of()}
    assert declared == {name: look_back for name, (look_back, _) in SLOW.items()}


@pytest.mark.parametrize("name", SLOW)
def test_a_statistic_is_its_formula_at_every_bar(values, paths, name):
    found, expected = values[name].to_list(), _slow_values(name, paths)
    assert [value is None for value in found] == [value is None for value in expected]
    known = [pair for pair in zip(found, expected, strict=True) if pair[1] is not None]
    assert len(known) > 200
    assert [pair[0] for pair in known] == pytest.approx(
        [pair[1] for pair in known], rel=1e-9, abs=1e-12
    )
