"""The other channels of the measured day: a five-level book and a derivative ticker.

What belongs here: a book around the long tape of trades (`data.py`), of any number of rows. What
does not: the trades themselves, and measuring.

States of the book are drawn in blocks from a short tape like the trades, but only their shape is
kept (distances from the best bid, sizes, times between states, delays). Each is put where the last
trade before it was: at the ask where the taker bought, at the bid where the taker sold. Drawn with
its own prices, the book would have nothing to do with the trades and no spread would be measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import data
import numpy as np
import polars as pl
from data import DAY, TRADES_SYMBOL, VENUE, Dataset

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND, day_span_us

BOOK_SHARE = 0.3
"""States of the book per trade."""

TICKER_ROWS = 86_400
"""One row a second, whatever the number of trades."""

_SEED = 11
_BLOCK = 256
_CHUNK = 262_144
_LEVELS = 5
_TICKS_PER_UNIT = 10
_US_PER_MS = 1_000
_DELAYS_US = (2_000, 1_000_000)
_QUIET_END_US = 2 * US_PER_SECOND
_FUNDING_US = 8 * 3_600 * US_PER_SECOND
_START = day_span_us(DAY)[0]


def channels(rows: int, folder: Path, recorded: Path) -> Mapping[DataType, Dataset]:
    """The files of a busy instrument-day; made once for each number of rows.

    Args:
        rows: Number of trades; there are `BOOK_SHARE` times as many states of the book.
        folder: Where they are kept.
        recorded: Recorded data sets in the vendor's layout, or where there are none.
    """
    trades = data.trades(rows, folder, recorded)
    short, origin = data.short_tape(DataType.BOOK_SNAPSHOT_5, recorded)
    count = round(rows * BOOK_SHARE)
    book = folder / f"book-{origin}-{count}-of-{rows}.csv.gz"
    ticker = folder / f"ticker-made-{TICKER_ROWS}-of-{rows}.csv.gz"
    if not (book.exists() and ticker.exists()):
        tape = _Path.of(trades.path)
        data.write(book, _long_book(short(), tape, count))
        data.write(ticker, [_ticker(tape)])
    return {
        DataType.TRADES: trades,
        DataType.BOOK_SNAPSHOT_5: _like(trades, book),
        DataType.DERIVATIVE_TICKER: _like(trades, ticker),
    }


def _like(trades: Dataset, path: Path) -> Dataset:
    return Dataset(path, trades.catalog, VENUE, TRADES_SYMBOL, trades.origin)


@dataclass(frozen=True, slots=True)
class _Path:
    """When and where the day's trades were, by exchange time."""

    times: np.ndarray
    ticks: np.ndarray
    is_buy: np.ndarray

    @classmethod
    def of(cls, trades: Path) -> _Path:
        rows = pl.read_csv(trades.read_bytes(), columns=["timestamp", "side", "price"])
        ticks = (rows["price"] * _TICKS_PER_UNIT).round().cast(pl.Int64)
        is_buy = (rows["side"] == "buy").to_numpy()
        return cls(rows["timestamp"].to_numpy(), ticks.to_numpy(), is_buy)

    def last_before(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Price in ticks and side of the last trade before each time, else of the first."""
        place = np.maximum(np.searchsorted(self.times, times) - 1, 0)
        return self.ticks[place], self.is_buy[place]


def _long_book(short: pl.DataFrame, path: _Path, rows: int) -> Iterator[pl.DataFrame]:
    rng = np.random.default_rng(_SEED)
    shape = _Shape.of(short)
    starts = rng.integers(0, short.height - _BLOCK, -(-rows // _BLOCK))
    index = (starts[:, None] + np.arange(_BLOCK)).ravel()[:rows]
    elapsed = np.cumsum(shape.gaps_ms[index])
    stretch = (US_PER_DAY - _QUIET_END_US) / _US_PER_MS / elapsed[-1]
    times = _START + (elapsed * stretch).astype(np.int64) * _US_PER_MS
    arrivals = np.maximum.accumulate(times + shape.delays_us[index])
    for start in range(0, rows, _CHUNK):
        part = slice(start, start + _CHUNK)
        yield shape.placed(index[part], times[part], arrivals[part], path)


@dataclass(frozen=True, slots=True)
class _Shape:
    """States of the short book without their place."""

    gaps_ms: np.ndarray
    delays_us: np.ndarray
    below: np.ndarray
    above: np.ndarray
    amounts: pl.DataFrame

    @classmethod
    def of(cls, short: pl.DataFrame) -> _Shape:
        times, arrivals = short["timestamp"].to_numpy(), short["local_timestamp"].to_numpy()
        delays = arrivals - times
        least_us, most_us = _DELAYS_US
        bids, asks = (_ticks(short, side) for side in ("bids", "asks"))
        amounts = [
            f"{side}[{level}].amount" for side in ("asks", "bids") for level in range(_LEVELS)
        ]
        return cls(
            gaps_ms=np.maximum(np.diff(times, prepend=times[0]), 0) // _US_PER_MS,
            delays_us=np.clip(
                delays - np.quantile(delays, 0.01) + least_us, least_us, most_us
            ).astype(np.int64),
            below=bids[:, :1] - bids,
            above=asks - bids[:, :1],
            amounts=short.select(amounts),
        )

    def placed(
        self, index: np.ndarray, times: np.ndarray, arrivals: np.ndarray, path: _Path
    ) -> pl.DataFrame:
        """States of the short book at those times, around the trades."""
        ticks, is_buy = path.last_before(times)
        above = self.above[index]
        best = ticks - np.where(is_buy, above[:, 0], 0)
        best = np.maximum(best, self.below[index].max(axis=1) + 1)
        bids = (best[:, None] - self.below[index]) / _TICKS_PER_UNIT
        asks = (best[:, None] + above) / _TICKS_PER_UNIT
        prices = {
            f"{side}[{level}].price": values[:, level]
            for side, values in (("asks", asks), ("bids", bids))
            for level in range(_LEVELS)
        }
        return (
            pl.DataFrame({"timestamp": times, "local_timestamp": arrivals} | prices)
            .hstack(self.amounts[index])
            .select(
                pl.lit(VENUE.value).alias("exchange"),
                pl.lit(TRADES_SYMBOL).alias("symbol"),
                "timestamp",
                "local_timestamp",
                *(
                    f"{side}[{level}].{field}"
                    for level in range(_LEVELS)
                    for side in ("asks", "bids")
                    for field in ("price", "amount")
                ),
            )
        )


def _ticks(short: pl.DataFrame, side: str) -> np.ndarray:
    prices = short.select(f"{side}[{level}].price" for level in range(_LEVELS)).to_numpy()
    return np.rint(prices * _TICKS_PER_UNIT).astype(np.int64)


def _ticker(path: _Path) -> pl.DataFrame:
    """A row a second: mark and index beside the last trade, interest in steps."""
    rng = np.random.default_rng(_SEED)
    times = _START + np.arange(TICKER_ROWS) * US_PER_SECOND
    last = path.last_before(times)[0] / _TICKS_PER_UNIT
    following = (times // _FUNDING_US + 1) * _FUNDING_US
    steps = rng.normal(0, 20, TICKER_ROWS) * (rng.random(TICKER_ROWS) < 0.1)
    rates = 1e-4 + rng.normal(0, 1e-6, TICKER_ROWS)
    return pl.DataFrame(
        {
            "exchange": VENUE.value,
            "symbol": TRADES_SYMBOL,
            "timestamp": times,
            "local_timestamp": times + 5_000,
            "funding_timestamp": following,
            "funding_rate": rates.round(8),
            "predicted_funding_rate": pl.Series([None] * TICKER_ROWS, dtype=pl.Float64),
            "open_interest": (80_000 + np.cumsum(steps)).round(3),
            "last_price": last,
            "index_price": (last * (1 - 2e-4)).round(2),
            "mark_price": (last * (1 - 1e-4)).round(2),
        }
    )
