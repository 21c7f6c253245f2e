"""The venues: one row each, total over `VenueId`, in the append-only order of the grid.

What belongs here: facts that hold for a whole venue and do not change from day to day. What a venue
listed on a day comes from its catalogue (`catalog.py`); how it spells its symbols from `symbols/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.nearest import did_you_mean


class VenueId(StrEnum):
    """A Tardis exchange id. `okex*` is the venue OKX; the vendor kept its old name."""

    BINANCE = "binance"
    BINANCE_FUTURES = "binance-futures"
    BINANCE_DELIVERY = "binance-delivery"
    DERIBIT = "deribit"
    BYBIT = "bybit"
    BYBIT_SPOT = "bybit-spot"
    OKEX = "okex"
    OKEX_FUTURES = "okex-futures"
    OKEX_SWAP = "okex-swap"
    OKEX_OPTIONS = "okex-options"
    UPBIT = "upbit"
    COINBASE = "coinbase"
    HYPERLIQUID = "hyperliquid"
    BITMEX = "bitmex"


@dataclass(frozen=True, slots=True)
class Venue:
    """What holds for a venue as a whole.

    Attributes:
        id: Tardis exchange id; the venue part of a partition key.
        key_name: The venue part of an instrument key.
        data_types: Types that can exist there. A (date, venue) cell exists only for these.
        has_dense_trade_ids: Trade ids are integers that count up by one per symbol, so that they
            order trades that share a time stamp and a hole in them is a lost trade.
    """

    id: VenueId
    key_name: str
    data_types: frozenset[DataType]
    has_dense_trade_ids: bool


_BOOKS_AND_TRADES = frozenset(
    {
        DataType.TRADES,
        DataType.INCREMENTAL_BOOK_L2,
        DataType.QUOTES,
        DataType.BOOK_SNAPSHOT_5,
        DataType.BOOK_SNAPSHOT_25,
    }
)
_SPOT = _BOOKS_AND_TRADES | {DataType.BOOK_TICKER}
_DERIVATIVES = _SPOT | {DataType.DERIVATIVE_TICKER, DataType.LIQUIDATIONS}

VENUES: Mapping[VenueId, Venue] = MappingProxyType(
    {
        venue.id: venue
        for venue in (
            Venue(VenueId.BINANCE, "BINANCE", _SPOT, has_dense_trade_ids=True),
            Venue(
                VenueId.BINANCE_FUTURES, "BINANCE-FUTURES", _DERIVATIVES, has_dense_trade_ids=True
            ),
            Venue(
                VenueId.BINANCE_DELIVERY, "BINANCE-DELIVERY", _DERIVATIVES, has_dense_trade_ids=True
            ),
            Venue(
                VenueId.DERIBIT,
                "DERIBIT",
                _DERIVATIVES | {DataType.OPTIONS_CHAIN},
                has_dense_trade_ids=False,
            ),
            Venue(VenueId.BYBIT, "BYBIT", _DERIVATIVES, has_dense_trade_ids=False),
            Venue(VenueId.BYBIT_SPOT, "BYBIT-SPOT", _SPOT, has_dense_trade_ids=False),
            Venue(VenueId.OKEX, "OKX", _SPOT, has_dense_trade_ids=True),
            Venue(VenueId.OKEX_FUTURES, "OKX-FUTURES", _DERIVATIVES, has_dense_trade_ids=True),
            Venue(VenueId.OKEX_SWAP, "OKX-SWAP", _DERIVATIVES, has_dense_trade_ids=True),
            Venue(
                VenueId.OKEX_OPTIONS,
                "OKX-OPTIONS",
                _SPOT | {DataType.OPTIONS_CHAIN},
                has_dense_trade_ids=True,
            ),
            Venue(VenueId.UPBIT, "UPBIT", _BOOKS_AND_TRADES, has_dense_trade_ids=False),
            Venue(VenueId.COINBASE, "COINBASE", _SPOT, has_dense_trade_ids=True),
            Venue(
                VenueId.HYPERLIQUID,
                "HYPERLIQUID",
                _SPOT | {DataType.DERIVATIVE_TICKER},
                has_dense_trade_ids=False,
            ),
            Venue(VenueId.BITMEX, "BITMEX", _DERIVATIVES, has_dense_trade_ids=False),
        )
    }
)

_BY_NAME = {
    name.lower(): venue.id for venue in VENUES.values() for name in (venue.id, venue.key_name)
}


def parse_venue(text: str) -> VenueId:
    """The venue of that name: a Tardis id or a key name, in any letter case.

    Raises:
        InvalidInput: no such venue; the message lists them all.

    Example:
        >>> parse_venue("okx-swap"), parse_venue("okex-swap")
        (<VenueId.OKEX_SWAP: 'okex-swap'>, <VenueId.OKEX_SWAP: 'okex-swap'>)
    """
    found = _BY_NAME.get(text.strip().lower())
    if found is None:
        raise InvalidInput(
            f"'{text}'",
            "not a venue",
            expected=f"one of {', '.join(VenueId)}",
            remedy=did_you_mean(text, _BY_NAME, otherwise="Use a name from the list"),
        )
    return found


def venues_with(data_type: DataType) -> tuple[VenueId, ...]:
    """The venues on which `data_type` can exist, in grid order."""
    return tuple(venue.id for venue in VENUES.values() if data_type in venue.data_types)
