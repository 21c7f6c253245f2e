"""The nine raw tick tables: CSV columns, stored columns and the rule of each.

What belongs here: names, types, units and bounds of the vendor's format. How a block of CSV is read
is `tick_csv.py`; which rows are kept out is `quality/`.

Source: https://docs.tardis.dev/downloadable-csv-files/data-types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, Table

TRADE_SIDES = ("buy", "sell", "unknown")
BOOK_SIDES = ("bid", "ask")
OPTION_TYPES = ("put", "call")

VENUE_PRICE = "the venue's price unit"
VENUE_AMOUNT = "the venue's amount unit (coins, contracts or quote currency)"


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A stored column and the CSV column it comes from.

    Attributes:
        csv_name: The vendor's header text.
        stored: The column in the lake.
    """

    csv_name: str
    stored: Column


@dataclass(frozen=True, slots=True)
class RawTable:
    """A data type's file format and stored form.

    Attributes:
        data_type: Which type.
        columns: CSV columns after `exchange` and `symbol`, in file order.
        positive: Stored columns that must be > 0; a row that breaks this is quarantined.
        has_ids: There is an `id` column that identifies an event where it is not empty.
    """

    data_type: DataType
    columns: tuple[RawColumn, ...]
    positive: tuple[str, ...] = ()
    has_ids: bool = False

    @property
    def header(self) -> tuple[str, ...]:
        """The exact CSV header, in order."""
        return ("exchange", "symbol", *(column.csv_name for column in self.columns))

    @property
    def stored(self) -> Table:
        """The lake table: one file per instrument and day, rows in file (arrival) order."""
        return Table(
            name=f"raw_ticks_{self.data_type.value.lower()}",
            grain=f"one {self.data_type} row of the vendor's file, in order of arrival",
            columns=tuple(column.stored for column in self.columns),
            sorted_by="local_timestamp",
        )


def _raw(
    csv_name: str,
    dtype: pl.DataType,
    description: str,
    *,
    name: str | None = None,
    unit: str = "",
    is_nullable: bool = False,
    bounds: Bounds = Bounds(),  # noqa: B008  (an immutable value)
) -> RawColumn:
    return RawColumn(
        csv_name,
        Column(
            name or csv_name, dtype, description, unit=unit, is_nullable=is_nullable, bounds=bounds
        ),
    )


_F64 = pl.Float64()
_STRING = pl.String()

_CLOCKS = (
    _raw(
        "timestamp",
        TIMESTAMP,
        "Exchange time of the event; equal to local_timestamp where the venue gives none.",
        unit="UTC",
    ),
    _raw(
        "local_timestamp",
        TIMESTAMP,
        "Time of arrival at the vendor's recorder; files are cut by it.",
        unit="UTC",
    ),
)


def _number(
    csv_name: str,
    description: str,
    *,
    name: str | None = None,
    unit: str = "",
    bounds: Bounds = Bounds(),  # noqa: B008
) -> RawColumn:
    return _raw(csv_name, _F64, description, name=name, unit=unit, is_nullable=True, bounds=bounds)


def _taker_columns(side_meaning: str) -> tuple[RawColumn, ...]:
    return (
        _raw(
            "id",
            _STRING,
            "The venue's id of the event; null where the venue gives none.",
            is_nullable=True,
        ),
        _raw("side", _STRING, side_meaning, bounds=Bounds(one_of=TRADE_SIDES)),
        _raw("price", _F64, "Price of the fill.", unit=VENUE_PRICE, bounds=Bounds(gt=0)),
        _raw("amount", _F64, "Size of the fill.", unit=VENUE_AMOUNT, bounds=Bounds(gt=0)),
    )


def _top_of_book(origin: str) -> tuple[RawColumn, ...]:
    return (
        _number(
            "ask_amount",
            f"Amount at the best ask; {origin}.",
            unit=VENUE_AMOUNT,
            bounds=Bounds(ge=0),
        ),
        _number("ask_price", "Best ask; null where that side is empty.", unit=VENUE_PRICE),
        _number("bid_price", "Best bid; null where that side is empty.", unit=VENUE_PRICE),
        _number(
            "bid_amount",
            f"Amount at the best bid; {origin}.",
            unit=VENUE_AMOUNT,
            bounds=Bounds(ge=0),
        ),
    )


def _levels(depth: int) -> tuple[RawColumn, ...]:
    return tuple(
        _number(
            f"{side}s[{level}].{csv_field}",
            f"{field.capitalize()} of {side} level {level + 1}; null where the book ends before.",
            name=f"{side}_{field}_{level + 1}",
            unit=unit,
            bounds=Bounds(ge=0) if field == "volume" else Bounds(),
        )
        for level in range(depth)
        for side in ("ask", "bid")
        for csv_field, field, unit in (
            ("price", "price", VENUE_PRICE),
            ("amount", "volume", VENUE_AMOUNT),
        )
    )


def _options_chain() -> tuple[RawColumn, ...]:
    premium = "the venue's premium unit (coin or quote currency)"
    volatility = "the venue's volatility unit (percent on Deribit, a fraction elsewhere)"
    return (
        _raw("type", _STRING, "Kind of option.", bounds=Bounds(one_of=OPTION_TYPES)),
        _raw("strike_price", _F64, "Strike.", unit="quote currency", bounds=Bounds(gt=0)),
        _raw("expiration", TIMESTAMP, "Time of expiry.", unit="UTC"),
        _number("open_interest", "Open interest.", unit=VENUE_AMOUNT, bounds=Bounds(ge=0)),
        _number("last_price", "Last traded premium.", unit=premium),
        _number("bid_price", "Best bid premium.", unit=premium),
        _number("bid_amount", "Amount at the best bid.", unit=VENUE_AMOUNT, bounds=Bounds(ge=0)),
        _number("bid_iv", "Implied volatility at the best bid.", unit=volatility),
        _number("ask_price", "Best ask premium.", unit=premium),
        _number("ask_amount", "Amount at the best ask.", unit=VENUE_AMOUNT, bounds=Bounds(ge=0)),
        _number("ask_iv", "Implied volatility at the best ask.", unit=volatility),
        _number("mark_price", "The venue's mark premium.", unit=premium),
        _number("mark_iv", "Implied volatility of the mark premium.", unit=volatility),
        _raw(
            "underlying_index",
            _STRING,
            "The venue's name of the underlying used.",
            is_nullable=True,
        ),
        _number("underlying_price", "Price of that underlying.", unit="quote currency"),
        _number("delta", "The venue's delta."),
        _number("gamma", "The venue's gamma."),
        _number("vega", "The venue's vega."),
        _number("theta", "The venue's theta."),
        _number("rho", "The venue's rho; only Deribit gives it."),
    )


_AGGRESSOR = "Side of the taker: buy, sell, or unknown where the venue does not say."
_LIQUIDATED = (
    "buy = a short was liquidated (forced buy), sell = a long was liquidated (forced sell)."
)

RAW_TABLES: Mapping[DataType, RawTable] = MappingProxyType(
    {
        table.data_type: table
        for table in (
            RawTable(
                DataType.TRADES,
                (*_CLOCKS, *_taker_columns(_AGGRESSOR)),
                positive=("price", "amount"),
                has_ids=True,
            ),
            RawTable(
                DataType.INCREMENTAL_BOOK_L2,
                (
                    *_CLOCKS,
                    _raw(
                        "is_snapshot",
                        pl.Boolean(),
                        "The row belongs to a full snapshot of the book.",
                    ),
                    _raw("side", _STRING, "Side of the level.", bounds=Bounds(one_of=BOOK_SIDES)),
                    _raw("price", _F64, "Price that identifies the level.", unit=VENUE_PRICE),
                    _raw(
                        "amount",
                        _F64,
                        "New amount at the level, not a change; 0 removes the level.",
                        unit=VENUE_AMOUNT,
                        bounds=Bounds(ge=0),
                    ),
                ),
            ),
            RawTable(
                DataType.QUOTES,
                (*_CLOCKS, *_top_of_book("rebuilt by the vendor from the book feed")),
            ),
            RawTable(DataType.BOOK_SNAPSHOT_5, (*_CLOCKS, *_levels(5))),
            RawTable(DataType.BOOK_SNAPSHOT_25, (*_CLOCKS, *_levels(25))),
            RawTable(
                DataType.DERIVATIVE_TICKER,
                (
                    *_CLOCKS,
                    _raw(
                        "funding_timestamp",
                        TIMESTAMP,
                        "Time of the next funding event.",
                        unit="UTC",
                        is_nullable=True,
                    ),
                    _number("funding_rate", "Rate of the next funding event.", unit="fraction"),
                    _number(
                        "predicted_funding_rate",
                        "Estimate for the event after the next.",
                        unit="fraction",
                    ),
                    _number(
                        "open_interest", "Open interest.", unit=VENUE_AMOUNT, bounds=Bounds(ge=0)
                    ),
                    _number(
                        "last_price",
                        "Last trade price; can be negative on combos.",
                        unit=VENUE_PRICE,
                    ),
                    _number("index_price", "Index price.", unit=VENUE_PRICE),
                    _number("mark_price", "Mark price.", unit=VENUE_PRICE),
                ),
            ),
            RawTable(
                DataType.LIQUIDATIONS,
                (*_CLOCKS, *_taker_columns(_LIQUIDATED)),
                positive=("price", "amount"),
                has_ids=True,
            ),
            RawTable(
                DataType.OPTIONS_CHAIN, (*_CLOCKS, *_options_chain()), positive=("strike_price",)
            ),
            RawTable(
                DataType.BOOK_TICKER, (*_CLOCKS, *_top_of_book("the venue's own best-price feed"))
            ),
        )
    }
)
