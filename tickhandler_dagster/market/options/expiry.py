"""One expiry at every bar's end: its smile in a few numbers, its open interest, its quality.

What belongs here: what one expiry gives. What is made of several is `surface.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.options import black76
from tickhandler_dagster.market.options.chain import (
    US_PER_YEAR,
    ExpiryChain,
    JoinedRows,
    Snapshot,
    snapshot,
    together,
)
from tickhandler_dagster.market.options.columnwise import sums
from tickhandler_dagster.market.options.smile import (
    Smile,
    at_the_money,
    at_wing_delta,
    model_free,
    smile_of,
)

LEAST_OPTIONS = 5
"""Options that count without which an expiry is not used."""

LEAST_LEFT_US = 3_600_000_000
"""In its last hour an expiry is not used: it settles against a mean of the index over the last half
hour, so that its options stop being options on the forward."""

_MOVE = 0.01
_BLOCK = 1_440


@dataclass(frozen=True, slots=True, eq=False)
class ExpirySurface:
    """An expiry at each moment. Shape: (moments,).

    Attributes:
        years: Time to expiry; NaN where the expiry is not used.
        forward: Price of the underlying for the expiry; NaN where the expiry is not used.
        atm: Total variance at the money.
        put: Total variance of the put of 25 deltas.
        call: Total variance of the call of 25 deltas.
        model_free: Total variance of the strip.
        options: Options that count.
        stale: Options whose last row is too old.
        invalid: Options whose volatility is none.
        crossed: Options whose bid is not below their ask.
        age_us: Largest age of a row that counts; 0 where none does.
        delta_gap_sum: Sum of absolute distances of the venue's deltas from the formula's.
        delta_gap_max: Largest of them.
        delta_gap_count: How many.
        premium_gap_sum: Sum of absolute distances of mark premiums from the formula's, over the
            forward.
        premium_gap_count: How many.
        put_interest: Open interest of the puts, in the venue's unit.
        call_interest: Open interest of the calls, in the venue's unit.
        strike_interest: Sum of strike times open interest.
        put_interest_base: Open interest of the puts in base asset; NaN where a size is unknown.
        call_interest_base: Open interest of the calls in base asset.
        gamma: Quote asset of delta that a move of 1 % adds or takes, all options alike.
        max_pain: Strike at which all open options are worth least.
    """

    years: Float64Array
    forward: Float64Array
    atm: Float64Array
    put: Float64Array
    call: Float64Array
    model_free: Float64Array
    options: Float64Array
    stale: Float64Array
    invalid: Float64Array
    crossed: Float64Array
    age_us: Float64Array
    delta_gap_sum: Float64Array
    delta_gap_max: Float64Array
    delta_gap_count: Float64Array
    premium_gap_sum: Float64Array
    premium_gap_count: Float64Array
    put_interest: Float64Array
    call_interest: Float64Array
    strike_interest: Float64Array
    put_interest_base: Float64Array
    call_interest_base: Float64Array
    gamma: Float64Array
    max_pain: Float64Array


def expiry_surface(chain: ExpiryChain, moments: Int64Array) -> ExpirySurface:
    """The expiry at each moment, from rows that arrived before it.

    A column's numbers depend on its own moment alone, so that cutting the day into blocks bounds
    the memory and changes nothing.
    """
    rows = together(chain)
    blocks = [_block(rows, part) for part in _cut(moments)]
    return ExpirySurface(
        **{
            field.name: np.concatenate([getattr(block, field.name) for block in blocks])
            for field in fields(ExpirySurface)
        }
    )


def _cut(moments: Int64Array) -> Iterator[Int64Array]:
    for start in range(0, max(len(moments), 1), _BLOCK):
        yield moments[start : start + _BLOCK]


def _block(rows: JoinedRows, moments: Int64Array) -> ExpirySurface:
    chain = snapshot(rows, moments)
    counts = ~np.isnan(chain.volatility)
    options = sums(counts)
    is_used = (
        (options >= LEAST_OPTIONS)
        & ~np.isnan(chain.forward)
        & (chain.years >= LEAST_LEFT_US / US_PER_YEAR)
    )
    smile = smile_of(chain)
    put, call = at_wing_delta(smile)
    return ExpirySurface(
        years=_where(is_used, chain.years),
        forward=_where(is_used, chain.forward),
        atm=_where(is_used, at_the_money(smile)),
        put=_where(is_used, put),
        call=_where(is_used, call),
        model_free=_where(is_used, model_free(smile)),
        options=options,
        stale=sums(chain.is_stale),
        invalid=sums(chain.is_invalid),
        crossed=sums(chain.is_crossed),
        age_us=np.where(counts, chain.age_us, 0).max(axis=0, initial=0).astype(np.float64),
        **_gaps(chain, counts=counts),
        **_interest(chain, smile),
    )


def _gaps(chain: Snapshot, *, counts: black76.BoolArray) -> dict[str, Float64Array]:
    """How far the venue's own numbers are from the formula's."""
    delta = np.where(counts, np.abs(chain.delta_gap), np.nan)
    premium = np.where(counts, np.abs(chain.premium_gap), np.nan)
    return {
        "delta_gap_sum": sums(np.nan_to_num(delta)),
        "delta_gap_max": np.nan_to_num(delta).max(axis=0, initial=0.0),
        "delta_gap_count": sums(~np.isnan(delta)),
        "premium_gap_sum": sums(np.nan_to_num(premium)),
        "premium_gap_count": sums(~np.isnan(premium)),
    }


def _interest(chain: Snapshot, smile: Smile) -> dict[str, Float64Array]:
    """Sums over open interest; an option without a recent row has none that is known."""
    lots = np.nan_to_num(chain.open_interest)
    size = chain.contract_size[:, np.newaxis]
    # A contract of unknown size makes the sum unknown only where some are open.
    base = np.where(lots > 0, lots * size, 0.0)
    strike, is_call = chain.strike[:, np.newaxis], chain.is_call[:, np.newaxis]
    at = np.searchsorted(smile.strike[:, 0], chain.strike)
    state = smile.state(is_call=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_strike = black76.gamma(state, smile.volatility) * smile.forward**2 * _MOVE
    gamma = per_strike[at] * base
    return {
        "put_interest": sums(np.where(is_call, 0.0, lots)),
        "call_interest": sums(np.where(is_call, lots, 0.0)),
        "strike_interest": sums(lots * strike),
        "put_interest_base": sums(np.where(is_call, 0.0, base)),
        "call_interest_base": sums(np.where(is_call, base, 0.0)),
        # Open interest whose volatility is not known has no gamma that is.
        "gamma": sums(np.where(np.isnan(per_strike[at]) | (lots == 0), 0.0, gamma)),
        "max_pain": _max_pain(smile.strike[:, 0], lots, strike, is_call=is_call),
    }


def _max_pain(
    settlements: Float64Array,
    lots: Float64Array,
    strike: Float64Array,
    *,
    is_call: black76.BoolArray,
) -> Float64Array:
    """The listed strike at which the options would be worth least at expiry; the lowest of equals.

    Nulls: NaN where no interest is open.
    """
    moments = lots.shape[1]
    least, found = np.full(moments, np.inf), np.full(moments, np.nan)
    for settlement in settlements:
        distance = settlement - strike
        worth = np.maximum(np.where(is_call, distance, -distance), 0.0)
        total = sums(lots * worth)
        is_less = total < least
        least, found = np.where(is_less, total, least), np.where(is_less, settlement, found)
    return np.where(sums(lots) > 0, found, np.nan)


def _where(condition: black76.BoolArray, values: Float64Array) -> Float64Array:
    return np.where(condition, values, np.nan)
