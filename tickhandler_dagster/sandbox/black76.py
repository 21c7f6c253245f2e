"""Black's model of an option on a forward, undiscounted, on whole arrays.

What belongs here: the formula, its derivatives and its inverse in volatility. What does not: any
venue's units.

Source: F. Black, The pricing of commodity contracts, Journal of Financial Economics 3 (1976).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.sandbox.seeds import Flags, Floats

_BISECTIONS = 45
_LARGEST_VOLATILITY = 5.0
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE = 0.3275911


def normal_cdf(x: Floats) -> Floats:
    """Standard normal distribution function, to 1.5e-7.

    numpy has no error function and a dependency for one formula is not worth its weight.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.

    Example:
        >>> bool(abs(normal_cdf(np.array([1.959964]))[0] - 0.975) < 1e-6)
        True
    """
    scaled = np.abs(x) / np.sqrt(2)
    t = 1 / (1 + _ERF_SCALE * scaled)
    polynomial = np.zeros_like(t)
    for coefficient in reversed(_ERF):
        polynomial = (polynomial + coefficient) * t
    erf = 1 - polynomial * np.exp(-(scaled**2))
    return np.asarray(0.5 * (1 + np.sign(x) * erf))


@dataclass(frozen=True, slots=True)
class OptionState:
    """What a premium depends on, one entry per point.

    Attributes:
        forward: Forward price of the underlying for the expiry.
        strike: Strike.
        years: Time to expiry, > 0.
        is_call: Call or put.
    """

    forward: Floats
    strike: Floats
    years: Floats
    is_call: Flags

    @property
    def intrinsic(self) -> Floats:
        """Worth at once."""
        return np.maximum(np.where(self.is_call, 1.0, -1.0) * (self.forward - self.strike), 0.0)


@dataclass(frozen=True, slots=True)
class Greeks:
    """Derivatives of the premium: vega per volatility point, theta per day, rho per rate point."""

    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    rho: Floats


def _d1(state: OptionState, volatility: Floats) -> Floats:
    width = volatility * np.sqrt(state.years)
    return np.asarray(np.log(state.forward / state.strike) / width + width / 2)


def premium(state: OptionState, volatility: Floats) -> Floats:
    """Premium in the strike's currency. Puts come from parity, so that parity is exact."""
    d1 = _d1(state, volatility)
    d2 = d1 - volatility * np.sqrt(state.years)
    call = np.maximum(
        state.forward * normal_cdf(d1) - state.strike * normal_cdf(d2),
        np.maximum(state.forward - state.strike, 0.0),
    )
    return np.asarray(np.where(state.is_call, call, call - state.forward + state.strike))


def greeks(state: OptionState, volatility: Floats) -> Greeks:
    """The derivatives of `premium`."""
    d1 = _d1(state, volatility)
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    root = np.sqrt(state.years)
    value = premium(state, volatility)
    return Greeks(
        delta=np.asarray(normal_cdf(d1) - np.where(state.is_call, 0.0, 1.0)),
        gamma=np.asarray(density / (state.forward * volatility * root)),
        vega=np.asarray(state.forward * density * root / 100),
        theta=np.asarray(-state.forward * density * volatility / (2 * root) / 365),
        rho=np.asarray(-value * state.years / 100),
    )


def implied_volatility(state: OptionState, price: Floats) -> Floats:
    """The volatility at which `premium` is `price`, by bisection.

    Nulls: NaN where the price is missing or not above the intrinsic worth: no volatility gives it.
    """
    low = np.full(price.shape, 1e-4)
    high = np.full(price.shape, _LARGEST_VOLATILITY)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_below = premium(state, middle) < price
        low = np.where(is_below, middle, low)
        high = np.where(is_below, high, middle)
    has_none = ~(price > state.intrinsic) | (high >= _LARGEST_VOLATILITY - 1e-6)
    return np.asarray(np.where(has_none, np.nan, (low + high) / 2))
