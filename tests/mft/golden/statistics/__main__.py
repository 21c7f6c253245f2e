"""Golden vectors of rolling statistics: `python tests/mft/golden/statistics` with the libraries.

The prices of two instruments and what the libraries say of each window that ends on some bars. The
libraries are no dependencies of the project: the numbers are kept, with the versions they are from.
"""

import json
from pathlib import Path

import arch
import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from arch.unitroot import VarianceRatio
from scipy import stats
from statsmodels.regression.rolling import RollingOLS
from statsmodels.tsa.stattools import acf

BARS = 241
ENDS = tuple(range(130, BARS, 10))


def simulated():
    """Heavy-tailed returns with some memory, and a second instrument with beta near 1.4."""
    rng = np.random.default_rng(20240808)
    noise = rng.standard_t(4, (2, BARS - 1)) * 6e-4
    reference = noise[0].copy()
    reference[1:] += 0.2 * noise[0][:-1]
    own = 1.4 * reference + noise[1]
    own[1:] += 0.3 * reference[:-1]
    walk = np.exp(np.cumsum(np.stack([own, reference]), axis=1))
    levels = (3.25, 61_000.0)
    return [np.concatenate([[at], at * row]) for at, row in zip(levels, walk, strict=True)]


def window(values, end, count):
    return values[end + 1 - count : end + 1]


def main():
    price, reference_price = simulated()
    returns, reference = (
        np.concatenate([[np.nan], np.diff(np.log(row))]) for row in (price, reference_price)
    )
    golden = {}
    for count in (60, 120):
        for lag in (1, 2, 3):
            golden[f"autocorrelation_{lag}_{count}"] = [
                acf(window(returns, end, count), nlags=3, adjusted=False, fft=False)[lag]
                for end in ENDS
            ]
        beta = RollingOLS(returns[1:], sm.add_constant(reference[1:]), window=count).fit().params
        golden[f"reference_beta_{count}"] = [beta[end - 1, 1] for end in ENDS]
    for lag, count in ((2, 60), (5, 120)):
        golden[f"variance_ratio_{lag}_{count}"] = [
            VarianceRatio(
                np.log(window(price, end, count + 1)), lags=lag, overlap=True, debiased=True
            ).vr
            for end in ENDS
        ]
    golden["return_skewness_60"] = [stats.skew(window(returns, end, 60)) for end in ENDS]
    golden["return_kurtosis_60"] = [
        stats.kurtosis(window(returns, end, 60), fisher=False) for end in ENDS
    ]
    content = {
        "made_with": {module.__name__: module.__version__ for module in (arch, statsmodels, scipy)},
        "price": price.tolist(),
        "reference_price": reference_price.tolist(),
        "ends": ENDS,
        "values": {name: [float(value) for value in row] for name, row in golden.items()},
    }
    Path(__file__).with_name("golden.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
