"""The smile of one expiry: volatility by strike, and what is read off it.

What belongs here: the volatility at the money and at 25 deltas, and the model-free variance. Which
options count is `chain.py`.

At each strike stands the option out of the money; where it does not count, the other one of the
strike, which by parity has the same volatility. Nothing is discounted: margins and premiums of
these venues earn no interest, and the forward carries what there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array
from tickhandler_dagster.market.options import black76
from tickhandler_dagster.market.options.chain import Snapshot
from tickhandler_dagster.market.options.columnwise import bracketed, sums

WING_DELTA = 0.25
LEAST_STRIKES_PER_SIDE = 6
"""Strikes below and above the forward that a model-free variance needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Smile:
    """Volatility by strike and moment.

    Attributes:
        strike: Rising. Shape: (strikes, 1).
        forward: Shape: (moments,).
        years: Time to expiry. Shape: (moments,).
        volatility: NaN where no option of the strike counts. Shape: (strikes, moments).
    """

    strike: Float64Array
    forward: Float64Array
    years: Float64Array
    volatility: Float64Array

    def state(self, *, is_call: bool) -> black76.OptionState:
        """An option of every strike at every moment."""
        shape = self.volatility.shape
        return black76.OptionState(
            forward=np.broadcast_to(self.forward, shape),
            strike=np.broadcast_to(self.strike, shape),
            years=np.broadcast_to(self.years, shape),
            is_call=np.full(shape, is_call),
        )


def smile_of(chain: Snapshot) -> Smile:
    """The smile of an expiry's snapshot."""
    strike, at = np.unique(chain.strike, return_inverse=True)
    shape = (len(strike), len(chain.forward))
    call, put = np.full(shape, np.nan), np.full(shape, np.nan)
    call[at[chain.is_call]] = chain.volatility[chain.is_call]
    put[at[~chain.is_call]] = chain.volatility[~chain.is_call]
    column = strike[:, np.newaxis]
    is_above = column >= chain.forward
    first, second = np.where(is_above, call, put), np.where(is_above, put, call)
    return Smile(column, chain.forward, chain.years, np.where(np.isnan(first), second, first))


def at_the_money(smile: Smile) -> Float64Array:
    """Total variance at strike = forward: linear in ln(K/F) between the strikes around it.

    Nulls: NaN where no strikes that count lie on both sides.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        moneyness = np.log(smile.strike / smile.forward)
    return bracketed(moneyness, smile.volatility**2 * smile.years, 0.0)[0]


def at_wing_delta(smile: Smile) -> tuple[Float64Array, Float64Array]:
    """Total variances of the put and the call of 25 deltas: volatility linear in delta.

    Black-76 deltas of the forward, not the venue's: those of inverse options may be adjusted for
    the premium. The bracket is the one nearest to the money.

    Nulls: NaN where no strikes that count lie on both sides.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        call_delta = black76.delta(smile.state(is_call=True), smile.volatility)
    # From the far strikes to the money the delta rises on either side, so that the rule of
    # `bracketed` takes the innermost bracket of both.
    put, _ = bracketed(1 - call_delta, smile.volatility, WING_DELTA)
    call, _ = bracketed(call_delta[::-1], smile.volatility[::-1], WING_DELTA)
    return put**2 * smile.years, call**2 * smile.years


def model_free(smile: Smile) -> Float64Array:
    """Total variance of the strip of options out of the money, as the VIX takes it.

    T * sigma^2 = 2 * sum(dK / K^2 * Q(K)) - (F / K0 - 1)^2, with K0 the last strike at or below the
    forward, Q there the mean of put and call, dK half the distance of the neighbours. Q is the mark
    premium in the quote asset at the moment's forward: the mark's volatility put into the formula,
    so that a mark of some minutes ago does not carry the forward of then.

    Nulls: NaN with fewer than six strikes on a side of the forward.
    Source: Cboe, Volatility Index Methodology: Cboe Volatility Index (2023).
    """
    is_known = ~np.isnan(smile.volatility)
    below = is_known & (smile.strike < smile.forward)
    above = is_known & (smile.strike > smile.forward)
    with np.errstate(divide="ignore", invalid="ignore"):
        call = black76.premium(smile.state(is_call=True), smile.volatility)
        put = call - smile.forward + smile.strike
        width, centre = _widths_and_centre(smile, is_known=is_known)
        strike = np.broadcast_to(smile.strike, call.shape)
        premium = np.where(strike > centre, call, np.where(strike < centre, put, (call + put) / 2))
        parts = np.where(is_known, width / strike**2 * premium, 0.0)
        strip = 2 * sums(parts) - (smile.forward / centre - 1) ** 2
    has_enough = np.minimum(below.sum(axis=0), above.sum(axis=0)) >= LEAST_STRIKES_PER_SIDE
    return np.where(has_enough, strip, np.nan)


def _widths_and_centre(
    smile: Smile, *, is_known: black76.BoolArray
) -> tuple[Float64Array, Float64Array]:
    """Width of each strike, half the way to its known neighbours, and the last strike below."""
    strike = np.where(is_known, smile.strike, np.nan)
    centre = np.fmax.reduce(np.where(smile.strike <= smile.forward, strike, np.nan), axis=0)
    before = np.fmax.accumulate(strike, axis=0)
    after = np.fmin.accumulate(strike[::-1], axis=0)[::-1]
    edge = np.full((1, strike.shape[1]), np.nan)
    lower = np.concatenate((edge, before[:-1]))
    upper = np.concatenate((after[1:], edge))
    # The first and the last strike have one neighbour: the whole distance to it.
    inner = (upper - lower) / 2
    outer = np.where(np.isnan(lower), upper - smile.strike, smile.strike - lower)
    return np.where(np.isnan(inner), outer, inner), centre
