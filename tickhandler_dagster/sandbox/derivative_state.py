"""What a venue tells of a derivative besides book and trades: funding, interest, liquidations.

What belongs here: these quantities as functions of the fair price and the tape. Which cells a venue
leaves empty is `ticker_frames.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND
from tickhandler_dagster.sandbox.book import BookDay, grid_step
from tickhandler_dagster.sandbox.fair_value import FairValues
from tickhandler_dagster.sandbox.listing import Kind, Listing
from tickhandler_dagster.sandbox.seeds import Floats, Ints, stream
from tickhandler_dagster.sandbox.tape import Tape

FUNDING_PERIOD_US = US_PER_DAY // 3
_INTEREST = 1e-4
_LARGEST_RATE = 0.0075
_LOOK_BACK_US = 60 * US_PER_SECOND
_OPEN_INTEREST_DAYS = 3.0


@dataclass(frozen=True, slots=True)
class DerivativeState:
    """State of a derivative at each time of the ticker."""

    times: Ints
    funding_times: Ints
    funding_rates: Floats
    predicted_rates: Floats
    open_interest: Floats
    index_prices: Floats
    mark_prices: Floats


def funding_rate(fair: FairValues, listing: Listing, funding_times: Ints) -> Floats:
    """The rate settled at each funding time: interest plus the premium over the index."""
    premium = fair.basis(listing, funding_times - FUNDING_PERIOD_US // 2)
    rates = np.clip(_INTEREST + 0.5 * premium, -_LARGEST_RATE, _LARGEST_RATE)
    return np.round(rates, 8).astype(np.float64)


def open_interest(fair: FairValues, book: BookDay, times: Ints) -> Floats:
    """Open interest in the venue's unit: grows with the price and drifts slowly."""
    listing = book.listing
    index = fair.index(listing, times)
    calm = listing.reference_usd / listing.unit_quote_usd
    worth_usd = listing.activity.trades * listing.activity.level_usd * _OPEN_INTEREST_DAYS
    drift = np.exp(0.1 * fair.wave(times, "interest", listing.venue, listing.raw_id))
    usd = worth_usd * drift * np.sqrt(index / calm)
    return book.amounts(
        np.maximum(np.rint(usd / listing.unit_usd(index, book.day) / listing.lot), 1).astype(
            np.int64
        )
    )


def derivative_state(fair: FairValues, book: BookDay, times: Ints) -> DerivativeState:
    """The state at each of the times."""
    listing = book.listing
    following = (times // FUNDING_PERIOD_US + 1) * FUNDING_PERIOD_US
    decimals = grid_decimals(listing)
    return DerivativeState(
        times=times,
        funding_times=following,
        funding_rates=funding_rate(fair, listing, following),
        predicted_rates=funding_rate(fair, listing, following + FUNDING_PERIOD_US),
        open_interest=open_interest(fair, book, times),
        index_prices=np.round(fair.index(listing, times), decimals),
        mark_prices=np.round(fair.mid(listing, times), decimals),
    )


def grid_decimals(listing: Listing) -> int:
    """Decimals of computed prices (index, mark): two finer than the book's grid."""
    return max(0, 2 - int(np.floor(np.log10(grid_step(listing)))))


def liquidations(seed: int, fair: FairValues, book: BookDay, count: int) -> Tape:
    """Forced orders where the price moved most in a minute: shorts on a rise, longs on a fall."""
    rng = stream(seed, "liquidations", book.listing.venue, book.listing.raw_id, book.day)
    states = np.arange(1, book.times.size)
    moves = np.log(fair.index(book.listing, book.times[states])) - np.log(
        fair.index(book.listing, book.times[states] - _LOOK_BACK_US)
    )
    weights = np.abs(moves) ** 3
    if count == 0 or weights.sum() == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Tape(nothing, nothing, nothing, nothing.astype(bool), nothing, nothing)
    picked = np.sort(rng.choice(states.size, count, p=weights / weights.sum()))
    chosen = states[picked]
    is_buy = moves[picked] > 0
    levels = np.where(is_buy, book.asks[chosen], book.bids[chosen])
    shown = np.where(
        is_buy, book.lots(1, levels, book.steps[chosen]), book.lots(0, levels, book.steps[chosen])
    )
    lots = np.maximum(np.ceil(rng.random(count) * shown), 1).astype(np.int64)
    return Tape(book.times[chosen], book.arrivals[chosen], np.arange(count), is_buy, levels, lots)


def liquidated_trades(fair: FairValues, book: BookDay, tape: Tape, count: int) -> Tape:
    """Trades that were liquidations, where the venue flags them: same id, the side of the move."""
    moves = fair.index(book.listing, tape.times) - fair.index(
        book.listing, tape.times - _LOOK_BACK_US
    )
    is_candidate = (moves > 0) == tape.is_buy
    strength = np.where(is_candidate, np.abs(moves), -1.0)
    strongest = np.argsort(-strength, kind="stable")[:count]
    return tape.taken(np.sort(strongest[strength[strongest] > 0]))


def has_funding(listing: Listing) -> bool:
    """Only perpetuals pay funding."""
    return listing.kind is Kind.PERPETUAL
