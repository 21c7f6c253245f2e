"""The chain of one expiry at each bar's end: which options count, and the forward.

What belongs here: the last row of each option before a moment, its age and its validity. What is
read off the smile is `expiry.py`.

A row counts for a moment t when it arrived before t. It is stale after five minutes near the money
and after thirty in the wings, where quotes change slowly; near the money is a strike within half a
standard deviation of the forward, since that width scales with time and volatility as the smile
does. Ages come before validity: an old row says nothing about what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.bars.ticks import Float64Array, Int64Array
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.options import black76
from tickhandler_dagster.market.options.black76 import BoolArray
from tickhandler_dagster.market.options.units import in_quote, is_sane

US_PER_YEAR = 365 * US_PER_DAY
NEAR_AGE_US = 5 * 60_000_000
WING_AGE_US = 30 * 60_000_000
NEAR_WIDTH = 0.5
"""Standard deviations of the log price to expiry within which a strike is near the money."""

_LEAST_YEARS = 1 / (365 * 86_400)


@dataclass(frozen=True, slots=True, eq=False)
class OptionRows:
    """Rows of one option in order of arrival; of rows in one bar only the last is needed.

    Attributes:
        strike: In the quote asset.
        is_call: Call or put.
        contract_size: Base asset per unit of open interest; NaN where unknown.
        arrival: Arrival at the recorder, microseconds since the epoch.
        volatility: Of the mark, as a fraction; as the venue gave it, also where it is none.
        underlying: Price of the underlying.
        bid: Best bid premium in the venue's unit.
        ask: Best ask premium in the venue's unit.
        mark: Mark premium in the venue's unit.
        delta: The venue's delta.
        open_interest: In the venue's unit.
    """

    strike: float
    is_call: bool
    contract_size: float
    arrival: Int64Array
    volatility: Float64Array
    underlying: Float64Array
    bid: Float64Array
    ask: Float64Array
    mark: Float64Array
    delta: Float64Array
    open_interest: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class ExpiryChain:
    """The options of one underlying that expire together.

    Attributes:
        expiry_us: Expiry, microseconds since the epoch.
        pays_coin: Premiums are counted in the base asset.
        options: Ordered by strike, puts before calls.
    """

    expiry_us: int
    pays_coin: bool
    options: Sequence[OptionRows]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The chain at some moments. Shape: (options, moments), or (moments,) for the first three.

    Attributes:
        years: Time to expiry; 0 from the expiry on.
        forward: Price of the underlying for the expiry; NaN where unknown.
        is_alive: The moment lies before the expiry.
        strike: Strike of each option. Shape: (options,).
        is_call: Right of each option. Shape: (options,).
        contract_size: Base asset per unit of open interest. Shape: (options,).
        age_us: Time since the row's arrival; meaningless where there is no row.
        volatility: Of the mark; NaN where the option does not count.
        open_interest: In the venue's unit; NaN where unknown or older than a wing may be.
        delta_gap: Venue's delta minus the formula's, at the row's own time.
        premium_gap: Mark premium minus the formula's, over the forward, at the row's own time.
        is_stale: Too old to count.
        is_invalid: Fresh, and the volatility is none.
        is_crossed: Fresh and sane, and the bid is not below the ask.
    """

    years: Float64Array
    forward: Float64Array
    is_alive: BoolArray
    strike: Float64Array
    is_call: BoolArray
    contract_size: Float64Array
    age_us: Int64Array
    volatility: Float64Array
    open_interest: Float64Array
    delta_gap: Float64Array
    premium_gap: Float64Array
    is_stale: BoolArray
    is_invalid: BoolArray
    is_crossed: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class JoinedRows:
    """The rows of all options of an expiry one after the other, with what follows from each row.

    Made once per expiry; `snapshot` looks into it for any moments.
    """

    chain: ExpiryChain
    starts: Int64Array
    arrival: Int64Array
    volatility: Float64Array
    underlying: Float64Array
    bid: Float64Array
    ask: Float64Array
    mark: Float64Array
    open_interest: Float64Array
    delta_gap: Float64Array
    premium_gap: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class _Latest:
    """The last row of each option before each moment, as a position in the joined rows."""

    rows: JoinedRows
    position: Int64Array
    is_there: BoolArray
    age_us: Int64Array

    def of(self, values: Float64Array) -> Float64Array:
        return np.where(self.is_there, values[self.position], np.nan)


def together(chain: ExpiryChain) -> JoinedRows:
    """The rows of the chain joined, with the venue's deltas and marks held against the formula."""

    def joined(name: str) -> Float64Array:
        return np.concatenate([np.empty(0), *(getattr(one, name) for one in chain.options)])

    counts = [len(one.arrival) for one in chain.options]
    arrival = np.concatenate([np.empty(0, dtype=np.int64), *(one.arrival for one in chain.options)])
    volatility, underlying, mark = joined("volatility"), joined("underlying"), joined("mark")
    state = black76.OptionState(
        forward=underlying,
        strike=np.repeat([one.strike for one in chain.options], counts),
        years=np.maximum((chain.expiry_us - arrival) / US_PER_YEAR, _LEAST_YEARS),
        is_call=np.repeat(np.array([one.is_call for one in chain.options], dtype=bool), counts),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(is_sane(volatility), volatility, np.nan)
        delta_gap = joined("delta") - black76.delta(state, width)
        given = in_quote(mark, underlying, pays_coin=chain.pays_coin)
        premium_gap = (given - black76.premium(state, width)) / underlying
    return JoinedRows(
        chain=chain,
        starts=np.cumsum([0, *counts])[:-1].astype(np.int64),
        arrival=arrival,
        volatility=volatility,
        underlying=underlying,
        bid=joined("bid"),
        ask=joined("ask"),
        mark=mark,
        open_interest=joined("open_interest"),
        delta_gap=delta_gap,
        premium_gap=premium_gap,
    )


def snapshot(rows: JoinedRows, moments: Int64Array) -> Snapshot:
    """The chain at each moment, from rows that arrived before it.

    Args:
        rows: Of one expiry.
        moments: Microseconds since the epoch, rising.
    """
    chain = rows.chain
    latest = _latest(rows, moments)
    is_alive = moments < chain.expiry_us
    years = np.maximum((chain.expiry_us - moments) / US_PER_YEAR, 0.0)
    strike = np.array([one.strike for one in chain.options])
    forward = _forward(latest, is_alive)
    volatility = latest.of(rows.volatility)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(strike[:, np.newaxis] / forward))
        is_near = distance <= NEAR_WIDTH * volatility * np.sqrt(years)
    is_known = latest.is_there & is_alive
    is_stale = is_known & (latest.age_us > np.where(is_near, NEAR_AGE_US, WING_AGE_US))
    is_fresh = is_known & ~is_stale
    is_usable = is_fresh & is_sane(volatility)
    bid, ask = latest.of(rows.bid), latest.of(rows.ask)
    is_crossed = is_usable & (bid > 0) & (ask > 0) & (bid >= ask)
    counts = is_usable & ~is_crossed & ~np.isnan(forward)
    is_recent = is_known & (latest.age_us <= WING_AGE_US)
    return Snapshot(
        years=years,
        forward=forward,
        is_alive=is_alive,
        strike=strike,
        is_call=np.array([one.is_call for one in chain.options], dtype=bool),
        contract_size=np.array([one.contract_size for one in chain.options]),
        age_us=latest.age_us,
        volatility=np.where(counts, volatility, np.nan),
        open_interest=np.where(is_recent, latest.of(rows.open_interest), np.nan),
        delta_gap=latest.of(rows.delta_gap),
        premium_gap=latest.of(rows.premium_gap),
        is_stale=is_stale,
        is_invalid=is_fresh & ~is_sane(volatility),
        is_crossed=is_crossed,
    )


def _latest(rows: JoinedRows, moments: Int64Array) -> _Latest:
    found = [np.searchsorted(one.arrival, moments, side="left") - 1 for one in rows.chain.options]
    shape = (len(found), len(moments))
    within = np.asarray(found, dtype=np.int64).reshape(shape)
    is_there = within >= 0
    position = np.where(is_there, within + rows.starts[:, np.newaxis], 0)
    if not len(rows.arrival):
        return _Latest(rows, position, is_there, np.zeros(shape, dtype=np.int64))
    return _Latest(rows, position, is_there, moments - rows.arrival[position])


def _forward(latest: _Latest, is_alive: BoolArray) -> Float64Array:
    """The venue's price of the underlying in the freshest row, else put-call parity."""
    if not latest.position.size:
        return np.full(is_alive.shape, np.nan)
    price = latest.of(latest.rows.underlying)
    is_recent = latest.is_there & (latest.age_us <= NEAR_AGE_US)
    freshest = np.where(is_recent & (price > 0), -latest.age_us, -NEAR_AGE_US - 1).argmax(axis=0)
    column = np.arange(price.shape[1])
    is_given = (is_recent & (price > 0))[freshest, column]
    given = np.where(is_given, price[freshest, column], _parity(latest, is_recent))
    return np.where(is_alive, given, np.nan)


def _parity(latest: _Latest, is_recent: BoolArray) -> Float64Array:
    """The forward that put and call of one strike imply, at the strike where they are closest.

    Premiums are mids, or marks where a side is missing. With premiums in coin
    F = K / (1 - (C - P)), else F = K + C - P.
    """
    rows = latest.rows
    bid, ask = latest.of(rows.bid), latest.of(rows.ask)
    has_mid = (bid > 0) & (bid < ask)
    premium = np.where(has_mid, (bid + ask) / 2, latest.of(rows.mark))
    premium = np.where(is_recent, premium, np.nan)
    options = rows.chain.options
    calls = {one.strike: number for number, one in enumerate(options) if one.is_call}
    pairs = [
        (one.strike, calls[one.strike], number)
        for number, one in enumerate(options)
        if not one.is_call and one.strike in calls
    ]
    if not pairs:
        return np.full(premium.shape[1], np.nan)
    strikes, call, put = (np.array(part) for part in zip(*pairs, strict=True))
    difference = premium[call] - premium[put]
    strike = strikes[:, np.newaxis]
    with np.errstate(divide="ignore", invalid="ignore"):
        implied = strike / (1 - difference) if rows.chain.pays_coin else strike + difference
    distance = np.where(np.isnan(implied), np.inf, np.abs(difference))
    return np.asarray(implied[distance.argmin(axis=0), np.arange(premium.shape[1])])
