"""The surface of an underlying: its expiries put together at each bar's end.

What belongs here: constant maturities, the term structure, the front expiry and sums over the
chain. What one expiry gives is `expiry.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.options.chain import US_PER_YEAR
from tickhandler_dagster.market.options.columnwise import bracketed, sums
from tickhandler_dagster.market.options.expiry import ExpirySurface

MATURITIES = (7, 30, 60, 90)
SKEW_MATURITY = 30
FRONT_LEFT_US = 86_400_000_000
"""The front expiry is the first with a day left: closer ones jump with every tick."""

SURFACE_VERSION = "1"
"""Raised whenever the same rows would give another value."""

_DAYS_PER_YEAR = 365
_BPS = 10_000
_TOTALS = MappingProxyType(
    {
        "option_count": "options",
        "stale_option_count": "stale",
        "invalid_option_count": "invalid",
        "crossed_option_count": "crossed",
        "put_open_interest": "put_interest_base",
        "call_open_interest": "call_interest_base",
        "gross_gamma_1pct": "gamma",
    }
)


class _Expiries:
    """The expiries of a chain as matrices. Shape: (expiries, moments)."""

    def __init__(self, expiries: Sequence[ExpirySurface], moments: int) -> None:
        self._expiries = expiries
        self._moments = moments

    def of(self, name: str) -> Float64Array:
        """The attribute of `ExpirySurface` of every expiry."""
        rows = [getattr(one, name) for one in self._expiries]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self._moments)

    def total(self, name: str) -> Float64Array:
        """Its sum over the expiries."""
        return sums(self.of(name))

    def variance_at(self, name: str, days: int) -> Float64Array:
        """Its annualised variance at a maturity: total variance linear in time between expiries."""
        years = days / _DAYS_PER_YEAR
        return bracketed(self.of("years"), self.of(name), years)[0] / years


def surface_columns(expiries: Sequence[ExpirySurface], moments: int) -> dict[str, Float64Array]:
    """The columns of the surface.

    Args:
        expiries: Of one underlying, the earliest first.
        moments: Number of moments.

    Shape: one element per moment.
    Nulls: NaN where undefined; counts are 0 where nothing counts.
    """
    chain = _Expiries(expiries, moments)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_front(chain, moments),
            **_constant_maturities(chain),
            **_totals(chain),
            **_quality(chain),
        }


def _constant_maturities(chain: _Expiries) -> dict[str, Float64Array]:
    variance = {days: chain.variance_at("atm", days) for days in MATURITIES}
    atm = {days: np.sqrt(value) for days, value in variance.items()}
    put = np.sqrt(chain.variance_at("put", SKEW_MATURITY))
    call = np.sqrt(chain.variance_at("call", SKEW_MATURITY))
    model_free = chain.variance_at("model_free", SKEW_MATURITY)
    return {
        **{f"atm_iv_{days}d": value for days, value in atm.items()},
        "put_iv_25d_30d": put,
        "call_iv_25d_30d": call,
        "risk_reversal_25d_30d": call - put,
        "butterfly_25d_30d": (call + put) / 2 - atm[SKEW_MATURITY],
        "put_call_ratio_25d_30d": put / call,
        "term_slope": atm[90] - atm[7],
        "term_slope_7d_30d": atm[30] - atm[7],
        **{
            f"forward_variance_{near}d_{far}d": (variance[far] * far - variance[near] * near)
            / (far - near)
            for near, far in ((7, 30), (30, 60), (60, 90))
        },
        "model_free_variance_30d": model_free,
        "model_free_volatility_30d": np.sqrt(np.where(model_free >= 0, model_free, np.nan)),
    }


def _front(chain: _Expiries, moments: int) -> dict[str, Float64Array]:
    """What is read off the first expiry that is used and has a day left."""
    years = chain.of("years")
    is_candidate = years >= FRONT_LEFT_US / US_PER_YEAR
    has_front = is_candidate.any(axis=0)
    column = np.arange(moments)

    def of(name: str) -> Float64Array:
        if not len(years):
            return np.full(moments, np.nan)
        return np.where(has_front, chain.of(name)[is_candidate.argmax(axis=0), column], np.nan)

    left, forward, max_pain = of("years"), of("forward"), of("max_pain")
    return {
        "atm_mark_iv": np.sqrt(of("atm") / left),
        "skew_25d_put_call_ratio": np.sqrt(of("put") / of("call")),
        "front_days": left * _DAYS_PER_YEAR,
        "front_forward": forward,
        "max_pain_strike": max_pain,
        "max_pain_distance": np.log(max_pain / forward),
    }


def _totals(chain: _Expiries) -> dict[str, Float64Array]:
    put, call = chain.total("put_interest"), chain.total("call_interest")
    return {
        **{name: chain.total(source) for name, source in _TOTALS.items()},
        "option_open_interest_ratio": np.where(call > 0, put / call, np.nan),
        "open_interest_weighted_strike": np.where(
            put + call > 0, chain.total("strike_interest") / (put + call), np.nan
        ),
    }


def _quality(chain: _Expiries) -> dict[str, Float64Array]:
    """How the chain itself is: what it stands on and how far the venue is from the formula."""
    counted, priced = chain.total("delta_gap_count"), chain.total("premium_gap_count")
    has_options = chain.total("options") > 0
    largest = chain.of("delta_gap_max").max(axis=0, initial=0.0)
    return {
        "expiry_count": np.asarray(
            np.add.reduce(~np.isnan(chain.of("years")), axis=0), dtype=float
        ),
        "calendar_violation_count": _calendar_violations(chain),
        "chain_age_max_ms": np.where(
            has_options, chain.of("age_us").max(axis=0, initial=0.0) / 1_000, np.nan
        ),
        "venue_delta_gap_mean": chain.total("delta_gap_sum") / counted,
        "venue_delta_gap_max": np.where(counted > 0, largest, np.nan),
        "mark_premium_gap_bps": chain.total("premium_gap_sum") / priced * _BPS,
    }


def _calendar_violations(chain: _Expiries) -> Float64Array:
    """Expiries with less total variance at the money than a nearer one."""
    total = chain.of("atm")
    highest = np.fmax.accumulate(total, axis=0)[:-1]
    return sums(total[1:] < highest)
