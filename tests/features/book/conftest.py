"""Feeds of a book with every odd state, and bars of one family as a frame.

What belongs here: what several tests of the book share. What does not: the slow references, which
stand beside the tests that use them.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import fields

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.levels import LevelTicks, level_ticks
from tickhandler_dagster.market.bars.quotes import TopTicks, top_ticks
from tickhandler_dagster.market.bars.units import ContractTerms
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.features.family import DayGrid, family_columns
from tickhandler_dagster.market.features.feature import Merge
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import BASE_TIMEFRAME

START_US = 19_943 * US_PER_DAY
COINS = ContractTerms(1.0)
SECOND = 1_000_000
NAN = math.nan
TICK = 0.25
TRADES = 7


class Feeds:
    """Makes states of a book."""

    start_us = START_US
    tick = TICK
    trades = TRADES
    coins = COINS
    unknown = ContractTerms(None)

    def grid(self, timeframe=BASE_TIMEFRAME):
        return DayGrid(START_US, timeframe)

    def top(self, *rows, starts=()):
        """States from rows of (seconds into the day, bid, bid size, ask, ask size)."""
        at, bid, bid_size, ask, ask_size = (
            np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)
        )
        timestamp = START_US + np.round(at * SECOND).astype(np.int64)
        is_start = np.isin(np.arange(len(rows)), list(starts))
        return TopTicks(timestamp, timestamp + 1_000, bid, ask, bid_size, ask_size, is_start)

    def levels(self, *rows, starts=()):
        """States from rows of (seconds into the day, [(bid, size), …], [(ask, size), …])."""
        depth = 5
        timestamp = START_US + np.array([round(row[0] * SECOND) for row in rows])
        cells = np.full((4, len(rows), depth), NAN)
        for number, (_, bids, asks) in enumerate(rows):
            for side, levels in enumerate((bids, asks)):
                for level, (price, size) in enumerate(levels):
                    cells[side, number, level] = price
                    cells[side + 2, number, level] = size
        is_start = np.isin(np.arange(len(rows)), list(starts))
        return LevelTicks(timestamp, timestamp + 1_000, *cells, is_start)

    def random_levels(self, seed, rows=400):
        """A feed of five levels in order of arrival, with all that can go wrong in one."""
        rng = np.random.default_rng(seed)
        seconds = _seconds(rng, rows)
        count = len(seconds)
        timestamp = START_US + np.floor(seconds * 200).astype(np.int64) * 5_000
        arrival = timestamp + rng.integers(-40_000, 90_000, count) // 100 * 100
        book = [_state(rng) for _ in range(count)]
        # half of the states repeat a side of the state before, as real ones do
        for number in range(1, count):
            for side in (0, 1):
                if rng.random() < 0.6:
                    old = book[number - 1][side]
                    book[number][side] = _changed(rng, old) if rng.random() < 0.7 else old
        feed = self.levels(*((0, *state) for state in book))
        ticks = LevelTicks(
            timestamp, arrival, feed.bids, feed.asks, feed.bid_sizes, feed.ask_sizes,
            rng.random(count) < 0.02,
        )  # fmt: skip
        return ticks.take(np.argsort(arrival, kind="stable"))

    def scaled(self, ticks, price, size):
        changes = {"bid": price, "ask": price, "bids": price, "asks": price} | dict.fromkeys(
            ("bid_size", "ask_size", "bid_sizes", "ask_sizes"), size
        )
        values = (
            getattr(ticks, one.name) * changes.get(one.name, 1)
            if one.name in changes
            else getattr(ticks, one.name)
            for one in fields(ticks)
        )
        return type(ticks)(*values)

    def slices(self, ticks, width_us):
        """The feed cut into spans of that width by exchange time, each in order of arrival."""
        number = (ticks.timestamp - START_US) // width_us
        return [ticks.take(np.flatnonzero(number == one)) for one in np.unique(number)]

    def frame(self, day, features, timeframe, *, is_direct=False):
        """The columns of a family's day with the derived ones, one row per bar of `timeframe`."""
        columns = (_direct if is_direct else family_columns)(day, features, timeframe)
        grid = DayGrid(START_US, timeframe)
        bars = pl.DataFrame(columns).with_columns(
            ts_open=pl.Series(grid.opens).cast(TIMESTAMP),
            ts_close=pl.Series(grid.closes).cast(TIMESTAMP),
            covered_us=pl.lit(timeframe.us),
            trade_count=pl.lit(TRADES),
        )
        return _with_derived(bars, features)

    def rows_of(self, ticks):
        """States as plain tuples of Python numbers in time order, None for what is missing."""
        columns = [getattr(ticks, one.name).tolist() for one in fields(ticks)]
        rows = [tuple(_plain(cell) for cell in row) for row in zip(*columns, strict=True)]
        return sorted(rows, key=lambda row: (row[0], row[1]))

    def same(self, actual, expected):
        """Both undefined, or both the same number up to rounding."""
        if actual is None or expected is None:
            return actual is None and expected is None
        return math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-9)

    def of_day(self, ticks):
        """States before the day, in it and after it."""
        day = (ticks.timestamp - START_US) // US_PER_DAY
        return tuple(ticks.take(np.flatnonzero(day == which)) for which in (-1, 0, 1))


def _seconds(rng, rows):
    """Bursts, lulls, a hole of more than a minute, the day's edges and beyond them."""
    spans = [(-20, 0), (0, 40), (100, 131), (131, 133), (300, 700), (3_590, 3_610),
             (86_380, 86_400), (86_400, 86_410)]  # fmt: skip
    per_span = rng.multinomial(rows, [1 / len(spans)] * len(spans))
    parts = [rng.uniform(*span, count) for span, count in zip(spans, per_span, strict=True)]
    return np.sort(np.concatenate(parts))


def _state(rng):
    mid = int(rng.integers(1_998, 2_003))
    draw = rng.random()
    width = -1 if draw < 0.03 else 0 if draw < 0.06 else int(rng.integers(1, 5))
    bid, ask = mid - width // 2, mid - width // 2 + width
    sides = [
        [((best + step * far) * TICK, float(rng.integers(1, 64)) / 16) for far in _steps(rng)]
        for best, step in ((bid, -1), (ask, 1))
    ]
    for side in sides:
        draw = rng.random()
        del side[0 if draw < 0.03 else int(rng.integers(1, 6)) if draw < 0.2 else 5 :]
    return sides


def _steps(rng):
    return [0, *np.cumsum(rng.integers(1, 3, 4)).tolist()]


def _changed(rng, side):
    """Another size somewhere, mostly at the touch."""
    side = list(side)
    if side:
        level = int(rng.integers(0, min(len(side), 2)))
        side[level] = (side[level][0], float(rng.integers(1, 64)) / 16)
    return side


def _plain(cell):
    if isinstance(cell, list):
        return [_plain(one) for one in cell]
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _direct(day, features, timeframe):
    """A kernel run at a longer timeframe has that timeframe's bars as its smallest."""
    found = {}
    for one in features:
        if one.merge is Merge.RECOMPUTED:
            found[one.name] = day.exact[timeframe][one.name]
        elif one.merge is not Merge.DERIVED:
            found[one.name] = day.statistics[one.name]
    series = {name: pl.Series(values, nan_to_null=True) for name, values in found.items()}
    dtypes = {one.name: one.dtype for one in features}
    return {
        name: values.cast(pl.Int64).cast(dtypes[name])
        if dtypes[name].is_temporal()
        else values.cast(dtypes[name])
        for name, values in series.items()
    }


def _with_derived(bars, features):
    waiting = [one for one in features if one.expression is not None]
    while waiting:
        ready = [
            one for one in waiting if set(one.expression.meta.root_names()) <= set(bars.columns)
        ]
        assert ready
        bars = bars.with_columns(
            pl.when(one.expression.is_finite()).then(one.expression).alias(one.name)
            if one.dtype.is_float()
            else one.expression.cast(one.dtype).alias(one.name)
            for one in ready
        )
        waiting = [one for one in waiting if one not in ready]
    return bars


class Recorded:
    """The first rows of recorded files as ticks."""

    def __init__(self, folder, slow_reader):
        self._folder = folder
        self._slow_reader = slow_reader

    def _rows(self, venue, data_type, symbol, count):
        path = self._folder / venue / str(data_type) / "2024" / "08" / "08" / f"{symbol}.csv.gz"
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        return self._slow_reader(gzip.compress(b"".join(lines[: count + 1])), data_type)

    def quotes(self, venue="binance-futures", symbol="BTCUSDT", count=15_000):
        return top_ticks(self._rows(venue, DataType.BOOK_TICKER, symbol, count), COINS)

    def snapshots(self, venue="binance-futures", symbol="BTCUSDT", count=3_000):
        frame = self._rows(venue, DataType.BOOK_SNAPSHOT_5, symbol, count)
        return level_ticks(frame, COINS, depth=5)


@pytest.fixture(scope="session")
def feeds():
    return Feeds()


@pytest.fixture(scope="session")
def recorded_books(recorded, slow_reader):
    return Recorded(recorded, slow_reader)
