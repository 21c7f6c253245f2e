"""The option chain: quotes, premiums, volatilities and greeks at each change of book or mark.

What belongs here: a venue's units and empty cells. The formula is
`market/options/black76.py`, the smile `fair_value.py`, the quotes come from the option's own book.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.options import black76
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.book import BookDay
from tickhandler_dagster.sandbox.csv_file import Cells, csv_frame, venue_time
from tickhandler_dagster.sandbox.derivative_state import open_interest
from tickhandler_dagster.sandbox.fair_value import FairValues
from tickhandler_dagster.sandbox.instrument_day import InstrumentDay
from tickhandler_dagster.sandbox.listing import Listing, decimals_of
from tickhandler_dagster.sandbox.seeds import Floats, Ints
from tickhandler_dagster.sandbox.ticker_frames import last_prices

_VOLATILITY_UNIT: Mapping[VenueId, tuple[float, int]] = MappingProxyType(
    {VenueId.DERIBIT: (100.0, 2), VenueId.OKEX_OPTIONS: (1.0, 4)}
)
"""Factor on a fraction and decimals shown."""

_QUARTER_MONTHS = (3, 6, 9, 12)
_MARK_DECIMALS = 6
_GREEK_DECIMALS = 5


def _underlying_index(listing: Listing) -> str:
    """The venue's name of the underlying: the future that expires with it, or a synthetic one."""
    if listing.venue is not VenueId.DERIBIT:
        return f"{listing.base}-{listing.quote}"
    prefix, expiry_text, *_ = listing.raw_id.split("-")
    expiry = dt.datetime.strptime(expiry_text, "%d%b%y").replace(tzinfo=dt.UTC).date()
    is_quarterly = (
        expiry.month in _QUARTER_MONTHS and (expiry + dt.timedelta(days=7)).month != expiry.month
    )
    has_future = is_quarterly and prefix == "BTC"
    return f"{prefix}-{expiry_text}" if has_future else f"SYN.{prefix}-{expiry_text}"


def _row_times(book: BookDay, marks: Ints) -> tuple[Ints, Ints]:
    """Times of the rows, changes of the book and of the mark, and the book's state at each."""
    if not book.times.size:
        return book.times, book.steps
    times = np.union1d(book.times, marks[marks > book.times[0]])
    return times, np.searchsorted(book.times, times, side="right") - 1


def _quote_cells(day: InstrumentDay, state: black76.OptionState, states: Ints) -> dict[str, Cells]:
    """Best prices from the book, and the volatilities at which the formula gives them."""
    book = day.book
    factor, decimals = _VOLATILITY_UNIT[day.listing.venue]
    unit = state.forward if day.listing.is_inverse else np.ones(states.shape)
    cells: dict[str, Cells] = {}
    for side, (name, all_levels) in enumerate((("bid", book.bids), ("ask", book.asks))):
        levels = all_levels[states]
        prices = book.prices(levels)
        lots = book.lots(side, levels, book.steps[states])
        volatility = black76.implied_volatility(state, prices * unit)
        cells[f"{name}_price"] = prices
        cells[f"{name}_amount"] = np.where(lots > 0, book.amounts(lots), np.nan)
        cells[f"{name}_iv"] = np.round(volatility * factor, decimals)
    return cells


def _greek_cells(
    listing: Listing, state: black76.OptionState, volatility: Floats
) -> dict[str, Cells]:
    values = black76.greeks(state, volatility)
    names = ["delta", "gamma", "vega", "theta", "rho"]
    if listing.venue is not VenueId.DERIBIT:
        names.remove("rho")
    return {name: np.round(getattr(values, name), _GREEK_DECIMALS) for name in names}


def chain_frame(
    day: InstrumentDay, fair: FairValues, marks: Ints, arrivals_of: Callable[[Ints], Ints]
) -> pl.DataFrame:
    """The rows of one option in the chain's file.

    Args:
        day: The option's day.
        fair: Fair prices.
        marks: Times at which the venue says the mark anew.
        arrivals_of: When events of the day arrive.
    """
    listing, book = day.listing, day.book
    times, states = _row_times(book, marks)
    arrivals = arrivals_of(times)
    state = fair.option_state(listing, times)
    volatility = fair.volatility(listing, times, state)
    factor, decimals = _VOLATILITY_UNIT[listing.venue]
    height = times.size
    decimals_of_strike = decimals_of(float(state.strike[0])) if height else 0
    underlying = np.round(state.forward, 2 + 2 * int(decimals_of_strike > 0))
    cells: dict[str, Cells] = {
        "timestamp": venue_time(listing.venue, times),
        "local_timestamp": arrivals,
        "type": pl.repeat(
            "call" if listing.option and listing.option.is_call else "put", height, eager=True
        ),
        "strike_price": state.strike,
        "expiration": np.full(height, listing.expiry_us or 0, dtype=np.int64),
        "open_interest": open_interest(fair, book, times),
        "last_price": last_prices(day, arrivals),
        "mark_price": np.round(fair.mid(listing, times), _MARK_DECIMALS),
        "mark_iv": np.round(volatility * factor, decimals),
        "underlying_index": pl.repeat(_underlying_index(listing), height, eager=True),
        "underlying_price": underlying,
    }
    cells |= _quote_cells(day, state, states) | _greek_cells(listing, state, volatility)
    return csv_frame(listing, DataType.OPTIONS_CHAIN, cells)
