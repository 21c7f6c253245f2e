"""Klines: the venue's own bars of one minute, in one form whatever they are read from.

What belongs here: the frame, which venues publish klines, and how the venue's columns become it.
What does not: comparing them (`kline_comparison.py`) and fetching them (`adapters/klines`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl

from tickhandler_dagster.market.days import US_PER_SECOND, VenueDay, day_span_us
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.venues import VenueId

MINUTE = dt.timedelta(minutes=1)
MINUTES_PER_DAY = 1_440
PRICES = ("open", "high", "low", "close")
VOLUMES = ("volume", "quote_volume", "amount", "buy_volume")
COUNT = "trade_count"
FIELDS = (*PRICES, *VOLUMES, COUNT)

KLINE_SCHEMA = pl.Schema(
    {"ts_open": TIMESTAMP, **dict.fromkeys((*PRICES, *VOLUMES), pl.Float64()), COUNT: pl.Int64()}
)
"""One row per minute `[ts_open, ts_open + 1 min)`, by exchange time.

`volume` counts base asset, `quote_volume` quote asset, `amount` the venue's unit, `buy_volume` base
asset that takers bought. What the source does not give is null; prices and the volume it counts in
are always there. A minute without trades repeats the price before it and has no volume.
"""

COIN_MARGINED = frozenset({VenueId.BINANCE_DELIVERY})
"""Venues whose klines count contracts, with the base asset where others have the quote asset."""

KLINE_VENUES: tuple[VenueId, ...] = (
    VenueId.BINANCE,
    VenueId.BINANCE_FUTURES,
    VenueId.BINANCE_DELIVERY,
)
"""Venues with public klines that count trades."""

RAW_VALUES = (*PRICES, "volume", "quote_volume", COUNT, "buy_volume", "buy_quote_volume")
"""The venue's columns after the open time, by their meaning on a venue that counts coins."""


@dataclass(frozen=True, slots=True)
class KlineInstrument:
    """An instrument whose klines are wanted.

    Attributes:
        instrument_key: Canonical key.
        symbol: As the venue's own API spells it, in upper case.
        is_inverse: Its base volume is a quotient that the venue rounds.
    """

    instrument_key: str
    symbol: str
    is_inverse: bool = False


@dataclass(frozen=True, slots=True)
class FetchedKlines:
    """What a source gave.

    Attributes:
        frames: Klines of the day by instrument key, of `KLINE_SCHEMA`.
        absent: Why there are none, by the keys of the other instruments.
        requests: Requests sent, repeated ones too; 0 for files.
    """

    frames: Mapping[str, pl.DataFrame]
    absent: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    requests: int = 0


def klines_of(raw: pl.DataFrame, cell: VenueDay, *, subject: str) -> pl.DataFrame:
    """The klines of a day, in order, from the venue's columns.

    Args:
        raw: `ts_open` in microseconds since the epoch, `RAW_VALUES`, and nothing else; nulls where
            the source has no such column. Rows of other days are left out.
        cell: The day, and the venue whose columns they are.
        subject: What an error is about: a file, a request.

    Shape: at most 1,440 rows of `KLINE_SCHEMA`.

    Raises:
        CorruptData: a row opens inside a minute, two rows open together, a price is missing or not
            positive, or a row has a negative volume.
    """
    start, end = day_span_us(cell.date)
    inside = raw.filter(pl.col("ts_open").is_between(start, end, closed="left")).sort("ts_open")
    _check(inside, subject)
    volume, other = pl.col("volume"), pl.col("quote_volume")
    if cell.venue in COIN_MARGINED:
        base, quote, bought = other, pl.lit(None), pl.col("buy_quote_volume")
    else:
        base, quote, bought = volume, other, pl.col("buy_volume")
    return inside.select(
        pl.col("ts_open").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        *PRICES,
        base.alias("volume"),
        quote.alias("quote_volume"),
        volume.alias("amount"),
        bought.alias("buy_volume"),
        COUNT,
    ).cast(KLINE_SCHEMA)


def _is_number(name: str, above: pl.Expr) -> pl.Expr:
    # Polars counts NaN as greater than every number.
    return pl.col(name).is_finite().fill_null(value=False) & above.fill_null(value=False)


_FAULTS: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "a row opens inside a minute": pl.col("ts_open") % (60 * US_PER_SECOND) != 0,
        "two rows open together": pl.col("ts_open").is_duplicated(),
        "a price is missing or not positive": ~pl.all_horizontal(
            *(_is_number(name, pl.col(name) > 0) for name in PRICES)
        ),
        "a volume is missing or negative": ~_is_number("volume", pl.col("volume") >= 0),
    }
)


def _check(raw: pl.DataFrame, subject: str) -> None:
    for fact, is_broken in _FAULTS.items():
        broken = raw.filter(is_broken)
        if broken.height:
            raise CorruptData(
                subject,
                fact,
                was=f"{broken.row(0)}, and {broken.height - 1} more rows",
                expected="klines of one minute",
                remedy="Check what KLINES_SOURCE names",
            )
