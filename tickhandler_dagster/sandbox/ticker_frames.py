"""Fills, liquidations and the derivative ticker as rows, with the cells each venue leaves empty.

What belongs here: which venue publishes what. The values come from `tape.py` and
`derivative_state.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.csv_file import Cells, csv_frame, venue_time
from tickhandler_dagster.sandbox.derivative_state import derivative_state, has_funding
from tickhandler_dagster.sandbox.fair_value import FairValues
from tickhandler_dagster.sandbox.instrument_day import InstrumentDay
from tickhandler_dagster.sandbox.seeds import Floats, Ints, hashed_uniform
from tickhandler_dagster.sandbox.tape import Tape
from tickhandler_dagster.sandbox.trade_ids import IdScope, trade_ids

UNKNOWN_SIDE_SHARE: Mapping[VenueId, float] = MappingProxyType({VenueId.UPBIT: 0.02})
"""Venues that do not say who the taker was in some of their trades."""

_LIQUIDATION_IDS = frozenset({VenueId.DERIBIT, VenueId.BITMEX})
_NO_FUNDING_TIME = frozenset({VenueId.DERIBIT, VenueId.HYPERLIQUID})
_PREDICTED = frozenset({VenueId.OKEX_SWAP, VenueId.OKEX_FUTURES, VenueId.BITMEX})
_POLLED_INTEREST = frozenset({VenueId.BINANCE_FUTURES, VenueId.BINANCE_DELIVERY})
_CLOCKLESS = frozenset({VenueId.HYPERLIQUID})
_LATER = 0x1234567


def _sides(day: InstrumentDay, tape: Tape, unknown_share: float) -> pl.Series:
    words = pl.Series(["sell", "buy", "unknown"])
    codes = tape.is_buy.astype(np.int64)
    if unknown_share:
        codes[hashed_uniform(day.book.key ^ _LATER, tape.numbers) < unknown_share] = 2
    return words.gather(codes)


def _fill_cells(day: InstrumentDay, tape: Tape) -> dict[str, Cells]:
    return {
        "timestamp": venue_time(day.listing.venue, tape.times),
        "local_timestamp": tape.arrivals,
        "price": day.book.prices(tape.levels),
        "amount": day.book.amounts(tape.lots),
    }


def trade_frame(day: InstrumentDay, scope: IdScope) -> pl.DataFrame:
    """The fills of a day."""
    cells = _fill_cells(day, day.tape)
    cells["id"] = trade_ids(scope, day.tape.numbers, day.tape.times)
    cells["side"] = _sides(day, day.tape, UNKNOWN_SIDE_SHARE.get(day.listing.venue, 0.0))
    return csv_frame(day.listing, DataType.TRADES, cells)


def liquidation_frame(day: InstrumentDay, scope: IdScope) -> pl.DataFrame:
    """The liquidations of a day; ids only where the venue gives them."""
    cells = _fill_cells(day, day.forced)
    if day.listing.venue in _LIQUIDATION_IDS:
        # Deribit's are the ids of the trades they are taken from; the others have a counter of
        # their own.
        numbers = day.forced.numbers
        own = scope if day.listing.venue is VenueId.DERIBIT else _own_counter(scope)
        cells["id"] = trade_ids(own, numbers, day.forced.times)
    cells["side"] = _sides(day, day.forced, 0.0)
    return csv_frame(day.listing, DataType.LIQUIDATIONS, cells)


def _own_counter(scope: IdScope) -> IdScope:
    return IdScope(
        scope.listing, scope.day, scope.key ^ _LATER, scope.place, scope.day.toordinal() * 100_000
    )


def last_prices(day: InstrumentDay, arrivals: Ints) -> Floats:
    """Price of the last fill at or before each arrival; NaN before the first of the day."""
    if day.tape.times.size == 0:
        return np.full(arrivals.shape, np.nan)
    position = np.searchsorted(day.tape.arrivals, arrivals, side="right") - 1
    prices = day.book.prices(day.tape.levels)
    return np.where(position >= 0, prices[np.maximum(position, 0)], np.nan)


def ticker_frame(day: InstrumentDay, fair: FairValues, times: Ints, arrivals: Ints) -> pl.DataFrame:
    """The derivative ticker at the given event times."""
    venue = day.listing.venue
    state = derivative_state(fair, day.book, times)
    cells: dict[str, Cells] = {
        "timestamp": arrivals if venue in _CLOCKLESS else venue_time(venue, times),
        "local_timestamp": arrivals,
        "open_interest": state.open_interest,
        "last_price": last_prices(day, arrivals),
        "index_price": state.index_prices,
        "mark_price": state.mark_prices,
    }
    if venue in _POLLED_INTEREST:
        # The poll comes after the socket: the first rows of a connection do not have it yet.
        cells["open_interest"] = np.where(np.arange(times.size) < 2, np.nan, state.open_interest)  # noqa: PLR2004  (two rows)
    if has_funding(day.listing):
        cells["funding_rate"] = state.funding_rates
        if venue not in _NO_FUNDING_TIME:
            cells["funding_timestamp"] = state.funding_times
        if venue in _PREDICTED:
            cells["predicted_funding_rate"] = state.predicted_rates
    return csv_frame(day.listing, DataType.DERIVATIVE_TICKER, cells)
