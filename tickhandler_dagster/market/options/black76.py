"""Black's model of an option on a forward, undiscounted, on whole arrays.

What belongs here: the formula, its derivatives and its inverse in volatility. What does not: any
venue's units.

Source: F. Black, The pricing of commodity contracts, Journal of Financial Economics 3 (1976).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tickhandler_dagster.market.bars.ticks import Float64Array

BoolArray: TypeAlias = npt.NDArray[np.bool_]

_BISECTIONS = 45
_LARGEST_VOLATILITY = 5.0
_NUMERATOR = (
    3.52624965998911e-02,
    0.700383064443688,
    6.37396220353165,
    33.912866078383,
    112.079291497871,
    221.213596169931,
    220.206867912376,
)
_DENOMINATOR = (
    8.83883476483184e-02,
    1.75566716318264,
    16.064177579207,
    86.7807322029461,
    296.564248779674,
    637.333633378831,
    793.826512519948,
    440.413735824752,
)
_TAIL = 7.07106781186547
_TAIL_TERMS = (0.65, 4.0, 3.0, 2.0, 1.0)


def normal_cdf(x: Float64Array) -> Float64Array:
    """Standard normal distribution function, to the last digits of a double.

    numpy has no error function and a dependency for one formula is not worth its weight.

    Source: G. West, Better approximations to cumulative normal functions, Wilmott Magazine (2005),
        after J. F. Hart, Computer Approximations (1968), algorithm 5666.

    Example:
        >>> bool(abs(normal_cdf(np.array([1.959963984540054]))[0] - 0.975) < 1e-15)
        True
    """
    distance = np.abs(x)
    numerator, denominator = np.zeros_like(distance), np.zeros_like(distance)
    for coefficient in _NUMERATOR:
        numerator = numerator * distance + coefficient
    for coefficient in _DENOMINATOR:
        denominator = denominator * distance + coefficient
    ratio = numerator / denominator
    is_far = distance >= _TAIL
    if is_far.any():
        ratio = np.where(is_far, _tail_ratio(distance), ratio)
    below = np.exp(-(distance**2) / 2) * ratio
    return np.asarray(np.where(x > 0, 1 - below, below))


def _tail_ratio(distance: Float64Array) -> Float64Array:
    """Distribution over density far from 0, by a continued fraction."""
    fraction = distance + _TAIL_TERMS[0]
    for term in _TAIL_TERMS[1:]:
        fraction = distance + term / fraction
    return np.asarray(1 / (fraction * np.sqrt(2 * np.pi)))


@dataclass(frozen=True, slots=True)
class OptionState:
    """What a premium depends on, one entry per point.

    Attributes:
        forward: Forward price of the underlying for the expiry.
        strike: Strike.
        years: Time to expiry, > 0.
        is_call: Call or put.
    """

    forward: Float64Array
    strike: Float64Array
    years: Float64Array
    is_call: BoolArray

    @property
    def intrinsic(self) -> Float64Array:
        """Worth at once."""
        return np.maximum(np.where(self.is_call, 1.0, -1.0) * (self.forward - self.strike), 0.0)


@dataclass(frozen=True, slots=True)
class Greeks:
    """Derivatives of the premium: vega per volatility point, theta per day, rho per rate point."""

    delta: Float64Array
    gamma: Float64Array
    vega: Float64Array
    theta: Float64Array
    rho: Float64Array


def _d1(state: OptionState, volatility: Float64Array) -> Float64Array:
    width = volatility * np.sqrt(state.years)
    return np.asarray(np.log(state.forward / state.strike) / width + width / 2)


def delta(state: OptionState, volatility: Float64Array) -> Float64Array:
    """Derivative of the premium by the forward: 0 to 1 for calls, -1 to 0 for puts."""
    return np.asarray(normal_cdf(_d1(state, volatility)) - np.where(state.is_call, 0.0, 1.0))


def gamma(state: OptionState, volatility: Float64Array) -> Float64Array:
    """Second derivative of the premium by the forward."""
    d1 = _d1(state, volatility)
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(density / (state.forward * volatility * np.sqrt(state.years)))


def premium(state: OptionState, volatility: Float64Array) -> Float64Array:
    """Premium in the strike's currency. Puts come from parity, so that parity is exact."""
    d1 = _d1(state, volatility)
    d2 = d1 - volatility * np.sqrt(state.years)
    call = np.maximum(
        state.forward * normal_cdf(d1) - state.strike * normal_cdf(d2),
        np.maximum(state.forward - state.strike, 0.0),
    )
    return np.asarray(np.where(state.is_call, call, call - state.forward + state.strike))


def greeks(state: OptionState, volatility: Float64Array) -> Greeks:
    """The derivatives of `premium`."""
    d1 = _d1(state, volatility)
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    root = np.sqrt(state.years)
    value = premium(state, volatility)
    return Greeks(
        delta=delta(state, volatility),
        gamma=gamma(state, volatility),
        vega=np.asarray(state.forward * density * root / 100),
        theta=np.asarray(-state.forward * density * volatility / (2 * root) / 365),
        rho=np.asarray(-value * state.years / 100),
    )


def implied_volatility(state: OptionState, price: Float64Array) -> Float64Array:
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
