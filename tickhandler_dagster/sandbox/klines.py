"""Klines as the venue's public API would serve them, added up from the very files the sandbox has.

What belongs here: minutes in exact decimals, and the venue's JSON row. What does not: HTTP
(`kline_host.py`) and what goes wrong (`kline_faults.py`). Nothing is shared with the bars of the
platform: the sums are plain Python over the text of the files.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any, TypeAlias

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import day_span_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.source import Source

MINUTE_US = 60_000_000
_DIGITS = 50
_EIGHT_PLACES = Decimal("1e-8")
_LARGE_CONTRACT, _CONTRACT = Decimal(100), Decimal(10)

Row: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class _Trade:
    time: int
    id: int
    price: Decimal
    amount: Decimal
    is_buy: bool


class DayKlines:
    """The klines of a source's days. Called from several threads.

    Args:
        source: Where the files of trades come from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.rows = lru_cache(maxsize=64)(self._rows)
        self._trades = lru_cache(maxsize=8)(self._read)

    def knows(self, venue: VenueId, symbol: str) -> bool:
        """The venue lists the symbol."""
        details = self._source.exchange(venue.value)
        entries = [] if details is None else details["datasets"]["symbols"]
        return any(entry["id"] == symbol for entry in entries)

    def _rows(self, venue: VenueId, symbol: str, day: dt.date) -> dict[int, Row]:
        """The day's rows by the microsecond they open at; none before the first trade known."""
        start, end = day_span_us(day)
        around = [
            trade
            for days in (-1, 0, 1)
            for trade in self._trades(venue, symbol, day + dt.timedelta(days=days))
            if trade.time < end
        ]
        around.sort(key=lambda trade: (trade.time, trade.id))
        by_minute: dict[int, list[_Trade]] = {}
        for trade in around:
            by_minute.setdefault(trade.time // MINUTE_US * MINUTE_US, []).append(trade)
        close = next((trade.price for trade in reversed(around) if trade.time < start), None)
        rows = {}
        for minute in range(start, end, MINUTE_US):
            trades = by_minute.get(minute, [])
            if trades or close is not None:
                rows[minute] = _row(venue, symbol, minute, trades, close)
                close = trades[-1].price if trades else close
        return rows

    def _read(self, venue: VenueId, symbol: str, day: dt.date) -> tuple[_Trade, ...]:
        body = self._source.dataset(venue.value, DataType.TRADES, day, symbol)
        return tuple(_parsed(body)) if body else ()


def _parsed(body: bytes) -> Iterator[_Trade]:
    lines = csv.DictReader(io.StringIO(gzip.decompress(body).decode()))
    for line in lines:
        yield _Trade(
            int(line["timestamp"]),
            int(line["id"]),
            Decimal(line["price"]),
            Decimal(line["amount"]),
            line["side"] == "buy",
        )


def _row(
    venue: VenueId, symbol: str, minute: int, trades: list[_Trade], close: Decimal | None
) -> Row:
    prices = [trade.price for trade in trades] or [close or Decimal(0)]
    amounts, others = _sums(venue, symbol, trades)
    bought = _sums(venue, symbol, [trade for trade in trades if trade.is_buy])
    return [
        minute // 1_000,
        *(_text(price) for price in (prices[0], max(prices), min(prices), prices[-1])),
        _text(amounts),
        (minute + MINUTE_US) // 1_000 - 1,
        _text(others),
        len(trades),
        *(_text(value) for value in bought),
        "0",
    ]


def _sums(venue: VenueId, symbol: str, trades: list[_Trade]) -> tuple[Decimal, Decimal]:
    """Amounts, and the other asset of every trade: quote, or base where contracts are traded."""
    with localcontext() as context:
        context.prec = _DIGITS
        amounts = sum((trade.amount for trade in trades), Decimal(0))
        if venue is VenueId.BINANCE_DELIVERY:
            size = _LARGE_CONTRACT if symbol.startswith("BTCUSD_") else _CONTRACT
            worth = [trade.amount * size / trade.price for trade in trades]
        else:
            worth = [trade.amount * trade.price for trade in trades]
        return amounts, sum(worth, Decimal(0)).quantize(_EIGHT_PLACES)


def _text(value: Decimal) -> str:
    return f"{value:f}"
